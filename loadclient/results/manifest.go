package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ManifestName is the file in a folder of results that says how they were made.
const ManifestName = "manifest.json"

// Manifest says how a folder of results was made: a file of records for each server, and ceiling.jsonl.
type Manifest struct {
	Machine Machine `json:"machine"`
	// ClientVersion is sockload's. It and the servers' versions are what the run must go on with.
	ClientVersion string           `json:"client_version,omitempty"`
	Suite         string           `json:"suite"`
	Levels        []int            `json:"levels"`
	Blocks        int              `json:"blocks"` // times that every server was to be measured
	Base          string           `json:"base"`   // the server that the others are compared with
	ServerCPU     int              `json:"server_cpu"`
	ClientCPUs    string           `json:"client_cpus"`
	Started       time.Time        `json:"started"`
	Finished      time.Time        `json:"finished,omitzero"` // zero: it was interrupted
	Servers       []ManifestServer `json:"servers"`
}

// ManifestServer is a server that was measured, or why it was not.
type ManifestServer struct {
	Name     string   `json:"name"` // of its file
	About    string   `json:"about"`
	Protocol Protocol `json:"protocol"`
	Command  []string `json:"command"`
	Version  string   `json:"version,omitempty"`
	Skipped  string   `json:"skipped,omitempty"`  // why it was not measured
	Capacity float64  `json:"capacity,omitempty"` // of a control: what must be found, in received messages a second
	Of       string   `json:"of,omitempty"`       // the server that this is, but for the connections that send
}

// ReadManifest reads a folder's.
func ReadManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Write writes the manifest into a folder.
func (m *Manifest) Write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ManifestName), append(text, '\n'), 0o644)
}

// Continue makes m the manifest of an earlier run and of what is to be added to it: further levels, blocks and servers.
// It is an error if the machine or a version is another: what one run measures, one version of client and servers
// measures on one machine.
func (m *Manifest) Continue(old *Manifest) error {
	differ := func(thing, was, is string) error {
		return fmt.Errorf("the results there are of %s %s, and this is %s: go on with that one, "+
			"--fresh replaces them, --out another folder keeps them", thing, orOld(was), orOld(is))
	}
	if m.ClientVersion != old.ClientVersion {
		return differ("sockload", old.ClientVersion, m.ClientVersion)
	}
	if setting, was, is := old.Machine.Difference(m.Machine.Machine); setting != "" {
		return differ("a machine with "+setting, was, is)
	}
	for _, was := range old.Servers {
		i := slices.IndexFunc(m.Servers, func(s ManifestServer) bool { return s.Name == was.Name })
		switch {
		case i < 0:
			m.Servers = append(m.Servers, was)
		case m.Servers[i].Skipped != "":
			m.Servers[i] = was // what has been measured stays
		case was.Skipped == "" && was.Version != m.Servers[i].Version:
			return differ(was.Name, was.Version, m.Servers[i].Version)
		}
	}
	m.Levels = slices.Concat(m.Levels, old.Levels)
	slices.Sort(m.Levels)
	m.Levels = slices.Compact(m.Levels)
	m.Blocks = max(m.Blocks, old.Blocks)
	m.Started = old.Started
	return nil
}
