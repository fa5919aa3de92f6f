package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sockloop/sockloop/benchmarks/internal/process"
	"github.com/sockloop/sockloop/loadclient/results"
)

// peer is a folder with a server to compare with; its manifest is peer.yaml.
type peer struct {
	dir string

	About       string       `yaml:"about"`
	Needs       []string     `yaml:"needs"`   // programs that must be there
	Install     []string     `yaml:"install"` // a command, run in the folder; none when there is nothing to install
	Version     []string     `yaml:"version"` // a command that prints what is installed, and fails when it is not
	Control     bool         `yaml:"control"` // checks the instrument, and is no opponent
	Contestants []contestant `yaml:"contestants"`
}

// contestant is a way to run a server, and what it is asked to speak.
type contestant struct {
	peer    *peer
	version string

	Name     string           `yaml:"name"`
	About    string           `yaml:"about"`
	Needs    []string         `yaml:"needs"` // beside the peer's
	Protocol results.Protocol `yaml:"protocol"`
	Path     string           `yaml:"path"`    // of the target
	Load     []string         `yaml:"load"`    // further arguments for sockload
	Variant  bool             `yaml:"variant"` // measured only by suites that name it
	of       string           // the contestant that this is, but for a part of the connections that send; or empty
	// a command, run in the folder; {bin}, {addr}, {host}, {port} and {cpu} are replaced
	Run      []string `yaml:"run"`
	Capacity float64  `yaml:"capacity"` // of a control, in received messages a second
}

// readPeers reads all manifests below a folder.
func readPeers(dir string) ([]*peer, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "peer.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no peer.yaml below %s: run it in the repository's root, or say --peers", dir)
	}
	var all []*peer
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p := &peer{dir: filepath.Dir(file)}
		d := yaml.NewDecoder(bytes.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for i := range p.Contestants {
			c := &p.Contestants[i]
			c.peer = p
			if c.Name == "" || len(c.Run) == 0 || !slices.Contains(results.Protocols(), string(c.Protocol)) {
				return nil, fmt.Errorf("%s: contestant %d: want a name, a command to run, and one of the protocols %v",
					file, i+1, results.Protocols())
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// lacks names the first program that is needed and not there.
func lacks(programs []string) error {
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is not there", name)
		}
	}
	return nil
}

// command is one of the peer's, to be run in its folder.
func (p *peer) command(ctx context.Context, args []string) (*exec.Cmd, error) {
	program := args[0]
	if strings.Contains(program, "/") { // in the folder
		path, err := filepath.Abs(filepath.Join(p.dir, program))
		if filepath.IsAbs(program) {
			path, err = program, nil
		}
		if err != nil {
			return nil, err
		}
		program = path
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Dir = p.dir
	return cmd, nil
}

// installTime bounds the installation of a peer.
const installTime = 10 * time.Minute

// install runs the peer's installation. The error says what is missing.
func (p *peer) install(ctx context.Context) error {
	if err := lacks(p.Needs); err != nil || len(p.Install) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	cmd, err := p.command(ctx, p.Install)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(p.Install, " "), err, process.LastLine(out))
	}
	return nil
}

var (
	errNotInstalled = errors.New("it is not installed (make peers)")
	errNotBuilt     = errors.New("it is not built, or tells no version (make build)") // one of ours
)

// installed finds out the version of what is installed; an error says why it cannot be run.
func (c *contestant) installed(ctx context.Context, bin string) error {
	if err := lacks(slices.Concat(c.peer.Needs, c.Needs)); err != nil {
		return err
	}
	if len(c.peer.Version) == 0 {
		return nil
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	var args []string
	for _, a := range c.peer.Version {
		args = append(args, strings.ReplaceAll(a, "{bin}", bin))
	}
	ours := args[0] != c.peer.Version[0]
	cmd, err := c.peer.command(ctx, args)
	if err != nil {
		return err
	}
	out, err := cmd.Output()
	switch {
	case err != nil && ours:
		return errNotBuilt
	case err != nil:
		return errNotInstalled
	}
	// What go list says of a module is known before it is built; the program it makes is what must be there.
	if run := c.Run[0]; strings.Contains(run, "/") && !strings.HasPrefix(run, "{bin}") {
		if _, err := os.Stat(filepath.Join(c.peer.dir, run)); err != nil {
			return errNotInstalled
		}
	}
	c.version = strings.TrimSpace(string(out))
	return nil
}

// installAll installs all peers, and says of each how that went. It is no error that some cannot be: they are skipped.
func installAll(ctx context.Context, peers []*peer, bin string) {
	for _, p := range peers {
		if len(p.Install) == 0 {
			continue
		}
		if err := p.install(ctx); err != nil {
			fmt.Printf("%-30s not installed: %v\n", filepath.Base(p.dir), err)
			continue
		}
		for i := range p.Contestants {
			state := "installed"
			if err := p.Contestants[i].installed(ctx, bin); err != nil {
				state = fmt.Sprintf("cannot be run: %v", err)
			}
			fmt.Printf("%-30s %s %s\n", p.Contestants[i].Name, state, p.Contestants[i].version)
		}
	}
}

// checkAll names the contestants that cannot be run. What is ours can, once it is built.
func checkAll(ctx context.Context, peers []*peer, bin string) {
	for _, p := range peers {
		for i := range p.Contestants {
			if err := p.Contestants[i].installed(ctx, bin); err != nil && !errors.Is(err, errNotBuilt) {
				fmt.Printf("skipped: %s, because %v\n", p.Contestants[i].Name, err)
			}
		}
	}
}
