package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// manifests reads the peers' manifests.
func manifests(t *testing.T) []*peer {
	t.Helper()
	peers, err := readPeers("peers")
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

// find is the contestant with a name.
func find(t *testing.T, name string) *contestant {
	t.Helper()
	for _, p := range manifests(t) {
		for i := range p.Contestants {
			if p.Contestants[i].Name == name {
				return &p.Contestants[i]
			}
		}
	}
	t.Fatalf("no contestant %s", name)
	return nil
}

// sockload and every server that is installed understand each other: nothing is lost, repeated or out of order.
func TestPeers(t *testing.T) {
	t.Parallel()
	b := builtBench(t)
	for _, p := range manifests(t) {
		for i := range p.Contestants {
			c := &p.Contestants[i]
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				if err := c.installed(t.Context(), ""); err != nil {
					t.Skip(err)
				}
				s, err := b.start(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.Stop)
				got := load(t, b, append([]string{
					"--target", "ws://" + s.Addr + c.Path, "--protocol", string(c.Protocol),
					"--connections", "20", "--rate", "10000", "--window", "500ms",
				}, c.Load...)...)
				sent := 250
				if slices.Contains(c.Load, "--echo") { // each hears itself alone
					sent = 5000
				}
				if got.Sent != sent || got.Received != 5000 ||
					got.Lost+got.Duplicated+got.Reordered+got.Foreign+got.NotCompleted != 0 {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// Every suite has its contestants, and only names that are there may be picked.
func TestSuites(t *testing.T) {
	t.Parallel()
	peers := manifests(t)
	for name, s := range suites {
		all, err := s.contestants(peers, nil)
		if err != nil || len(all) < 2 {
			t.Errorf("%s: %d contestants, %v", name, len(all), err)
		}
		names := map[string]bool{}
		for _, c := range all {
			names[c.Name] = true
		}
		for _, want := range slices.Concat(s.full, s.with, s.sampled, []string{s.base}) {
			if !names[want] {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		if s.names == nil && (names["fixed"] || names["sockloop-eventsource"] || len(names) < 15) {
			t.Errorf("%s has %v", name, names)
		}
	}
	s := suites["servers"]
	if got, err := s.contestants(peers, []string{"goroutine"}); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	_, err := s.contestants(peers, []string{"bun"})
	if err == nil || !strings.Contains(err.Error(), "the suite has sockloop, goroutine") {
		t.Error(err)
	}
}

// Of servers that the client cannot outread a sample is compared, of all others everything.
func TestSampleOfSome(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"sockloop": true, "goroutine-batched": true, "bun": false} {
		s := suites["peers"]
		if got := s.args(&contestant{Name: name}); slices.Equal(got, verifySample) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestManifestsThatAreWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"about: x\nfoo: 1\n":                        "field foo not found",
		"contestants: [{name: x, protocol: morse}]": "want a name, a command",
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x", "peer.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readPeers(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := readPeers(t.TempDir()); err == nil || !strings.Contains(err.Error(), "repository's root") {
		t.Error(err)
	}
}

// A peer that cannot be installed or run says why.
func TestPeersThatAreMissing(t *testing.T) {
	t.Parallel()
	p := &peer{dir: t.TempDir(), Needs: []string{"no-such-program"}, Install: []string{"true"}}
	if err := p.install(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-program is not there") {
		t.Error(err)
	}
	p.Needs, p.Install = nil, []string{"sh", "-c", "echo one; echo the reason >&2; exit 3"}
	if err := p.install(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "the reason") {
		t.Error(err)
	}
	p.Version = []string{"sh", "-c", "echo 1.0"}
	c := &contestant{peer: p, Run: []string{"./server"}}
	if err := c.installed(t.Context(), ""); err != errNotInstalled { //nolint:errorlint // it is that one
		t.Error(err)
	}
	b := builtBench(t)
	ours := &contestant{peer: &peer{Version: []string{"{bin}/sockloop", "--version"}}, Run: []string{"{bin}/sockloop"}}
	if err := ours.installed(t.Context(), b.Bin); err != nil || ours.version == "" {
		t.Errorf("%q %v", ours.version, err)
	}
	if err := ours.installed(t.Context(), t.TempDir()); err != errNotBuilt { //nolint:errorlint // it is that one
		t.Error(err)
	}
	c.Run = []string{"sh", "-c", "echo out of memory >&2; exit 1"}
	if _, err := b.start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Error(err)
	}
}
