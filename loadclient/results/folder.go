package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Measurement has all records of a measurement: of several servers, perhaps several times in turn.
type Measurement struct {
	Manifest Manifest
	Servers  []Server
	Ceilings []Ceiling
	// KernelWalls are what the kernel took from one thread, by block, level and size of a send.
	KernelWalls []Wall
	Controls    *Measurement // of the folder's subfolder with that name, which check the instrument; nil without
}

// Server has the records of one server.
type Server struct {
	ManifestServer
	Trials   []Trial
	Searches []Saturation // in the order in which they were made
	Ramp     []IdleStep   // of connections that did nothing

	file     string
	ceilings []Ceiling
}

// Options say what is read.
type Options struct {
	// AllowOld reads records without versions and blocks: as if one version had made them, a block a search.
	AllowOld bool
}

// Load reads result files, and folders of them with their manifest. The name of a file is its server's. Records of
// several versions of a server, or of the load client, are refused.
func Load(o Options, paths ...string) (*Measurement, error) {
	m := &Measurement{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if err := m.loadFile(o, path); err != nil {
				return nil, err
			}
			continue
		}
		if err := m.loadFolder(o, path); err != nil {
			return nil, err
		}
	}
	m.finish()
	return m, m.oneVersion()
}

func (m *Measurement) loadFolder(o Options, dir string) error {
	manifest, err := ReadManifest(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		m.Manifest = manifest
		for _, s := range manifest.Servers {
			m.Servers = append(m.Servers, Server{ManifestServer: s})
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no result files (*.jsonl)", dir)
	}
	for _, file := range files {
		if err := m.loadFile(o, file); err != nil {
			return err
		}
	}
	controls := filepath.Join(dir, "controls")
	if _, err := os.Stat(controls); err != nil {
		return nil
	}
	m.Controls, err = Load(o, controls)
	return err
}

func (m *Measurement) loadFile(o Options, path string) error {
	records, err := ReadFile(path)
	if err != nil {
		return err
	}
	if err := date(o, path, records); err != nil {
		return err
	}
	s := m.server(path)
	for _, x := range records {
		switch {
		case x.Machine != nil && m.Manifest.Machine.Time.IsZero():
			m.Manifest.Machine = *x.Machine
		case x.Trial != nil:
			s.Trials = append(s.Trials, *x.Trial)
		case x.Idle != nil:
			s.Ramp = append(s.Ramp, *x.Idle)
		case x.Wall != nil:
			m.KernelWalls = append(m.KernelWalls, *x.Wall)
		case x.Ceiling != nil:
			m.Ceilings = append(m.Ceilings, *x.Ceiling)
		}
	}
	for _, f := range Searches(records) {
		for _, g := range s.Searches {
			if g.Connections == f.Connections && g.Block == f.Block {
				return fmt.Errorf("%s has two searches at %d connections in block %d: give each run its own --block",
					path, f.Connections, f.Block)
			}
		}
		s.Searches = append(s.Searches, f)
		s.Protocol = f.Protocol
	}
	return nil
}

// server is the one that a file is of.
func (m *Measurement) server(path string) *Server {
	name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
	i := slices.IndexFunc(m.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		i = len(m.Servers)
		m.Servers = append(m.Servers, Server{ManifestServer: ManifestServer{Name: name}})
	}
	m.Servers[i].file = path
	return &m.Servers[i]
}

// date refuses old records; or, where they are allowed, counts their blocks: a search that counts is one at its level.
func date(o Options, path string, records []Record) error {
	searched := map[int]int{}
	for i, x := range records {
		var p *Provenance
		block := 1
		switch {
		case x.Trial != nil:
			p, block = &x.Trial.Provenance, searched[x.Trial.Connections]+1
		case x.Saturation != nil:
			searched[x.Saturation.Connections]++
			p, block = &x.Saturation.Provenance, searched[x.Saturation.Connections]
		case x.Discarded != nil:
			searched[x.Discarded.Connections]--
		}
		if p == nil || !p.old() {
			continue
		}
		if !o.AllowOld {
			return fmt.Errorf("%s: record %d does not say which versions of client and server made it, or in which "+
				"block: measure again with this sockload, or read it all the same with --allow-old", path, i+1)
		}
		p.fill(block)
	}
	return nil
}

// finish drops what has no results, and lets servers know the ceilings.
func (m *Measurement) finish() {
	m.Servers = slices.DeleteFunc(m.Servers, func(s Server) bool { return len(s.Trials)+len(s.Searches)+len(s.Ramp) == 0 })
	for i := range m.Servers {
		m.Servers[i].ceilings = m.Ceilings
	}
	if m.Manifest.Started.IsZero() {
		m.Manifest.Started = m.Manifest.Machine.Time
	}
	if m.Manifest.Base == "" && len(m.Servers) > 0 {
		m.Manifest.Base = m.Servers[0].Name
	}
}

// Trials is the number of trials.
func (m *Measurement) Trials() (n int) {
	for i := range m.Servers {
		n += len(m.Servers[i].Trials)
	}
	return n
}

// ClientVersion is the load client's; empty of nothing.
func (m *Measurement) ClientVersion() string {
	for i := range m.Servers {
		for _, p := range m.Servers[i].provenances() {
			return p.ClientVersion
		}
	}
	return ""
}

// ServerVersion is the server's.
func (s *Server) ServerVersion() string {
	for _, p := range s.provenances() {
		return p.ServerVersion
	}
	return s.Version
}

func (s *Server) provenances() []Provenance {
	var all []Provenance
	for i := range s.Searches {
		all = append(all, s.Searches[i].Provenance)
	}
	for i := range s.Trials {
		all = append(all, s.Trials[i].Provenance)
	}
	for i := range s.Ramp {
		all = append(all, s.Ramp[i].Provenance)
	}
	return all
}

// oneVersion refuses what several versions have measured: nobody could tell a change of the server from one of the
// client.
func (m *Measurement) oneVersion() error {
	clients := versions{}
	for i := range m.Servers {
		s := &m.Servers[i]
		servers := versions{}
		for _, p := range s.provenances() {
			clients.add(p.ClientVersion, s.file, p.Block)
			servers.add(p.ServerVersion, s.file, p.Block)
		}
		if len(servers) > 1 {
			return fmt.Errorf("several versions of the server %s are mixed: %s; keep the lines of one of them, "+
				"or measure all blocks again with one", s.Name, servers)
		}
	}
	if len(clients) > 1 {
		return fmt.Errorf("several versions of sockload have measured: %s; "+
			"measure again with one of them what the others have, into an empty folder or with benchmarks --fresh",
			clients)
	}
	c := m.Controls
	if c == nil || m.ClientVersion() == c.ClientVersion() || c.ClientVersion() == "" || m.ClientVersion() == "" {
		return nil
	}
	return fmt.Errorf("the controls were measured by sockload %s and the servers by %s: measure the controls again "+
		"(benchmarks --suite controls --fresh)", c.ClientVersion(), m.ClientVersion())
}

// versions has where each version is found: the blocks by file.
type versions map[string]map[string][]int

func (v versions) add(version, file string, block int) {
	if v[version] == nil {
		v[version] = map[string][]int{}
	}
	if blocks := v[version][file]; !slices.Contains(blocks, block) {
		v[version][file] = append(blocks, block)
	}
}

// String is such as "7131663 in a.jsonl (blocks 1, 2); 8a3c3e1 in a.jsonl (block 3)".
func (v versions) String() string {
	var all []string
	for _, version := range sortedKeys(v) {
		var files []string
		for _, file := range sortedKeys(v[version]) {
			files = append(files, fmt.Sprintf("%s (%s)", file, blockNumbers(v[version][file])))
		}
		all = append(all, version+" in "+strings.Join(files, ", "))
	}
	return strings.Join(all, "; ")
}

func blockNumbers(blocks []int) string {
	slices.Sort(blocks)
	word := "block"
	if len(blocks) > 1 {
		word = "blocks"
	}
	return word + " " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(blocks)), ", "), "[]")
}

// Levels are all numbers of connections that were searched.
func (m *Measurement) Levels() []int {
	var levels []int
	for _, s := range m.Servers {
		for _, x := range s.Searches {
			levels = append(levels, x.Connections)
		}
	}
	slices.Sort(levels)
	return slices.Compact(levels)
}

// Server is the one with a name, nil if there is none.
func (m *Measurement) Server(name string) *Server {
	for i := range m.Servers {
		if m.Servers[i].Name == name {
			return &m.Servers[i]
		}
	}
	return nil
}

// Ratio compares a server with the base at a level.
func (m *Measurement) Ratio(s *Server, level int) (Comparison, bool) {
	base := m.Server(m.Manifest.Base)
	if base == nil {
		return Comparison{}, false
	}
	as, bs := base.searchesAt(level), s.searchesAt(level)
	if len(as) == 0 || len(bs) == 0 {
		return Comparison{}, false
	}
	c, err := CompareLevel(as, bs)
	return c, err == nil
}
