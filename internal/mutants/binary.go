package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// binary is a package's compiled tests, clean or with a mutant in them.
type binary struct {
	path string
	dir  string // the package's: tests run there
	env  []string
}

// outcome is what came of a run of tests, or of a mutant.
type outcome int

const (
	lived      outcome = iota // every test passed
	killed                    // a test failed, or the process died
	timedOut                  // killed by the clock
	notCovered                // no test reaches it: not run
	illegal                   // does not compile: no mutant at all
)

func (o outcome) String() string {
	return [...]string{"lived", "killed", "timed out", "not covered", "does not compile"}[o]
}

// errCompile is a package that does not compile.
var errCompile = errors.New("does not compile")

// build compiles the tests of s into the file path. What replaces files, by their paths, is laid over the tree, where
// nothing is touched.
func build(ctx context.Context, s *source, path string, replace map[string][]byte, flags ...string) (*binary, error) {
	args := append([]string{"test", "-c", "-vet=off", "-o", path, "-ldflags=-s -w"}, flags...)
	if len(replace) > 0 {
		overlay, err := writeOverlay(path, replace)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", overlay)
	}
	c := exec.CommandContext(ctx, "go", append(args, s.importPath)...)
	c.Dir = s.dir
	out, err := c.CombinedOutput()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w: %s", s.importPath, errCompile, bytes.TrimSpace(out))
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s has no tests", s.importPath)
	}
	return &binary{path: path, dir: s.dir}, nil
}

// writeOverlay writes the files that replace others, and the map that go reads, beside the binary that they are for.
func writeOverlay(path string, replace map[string][]byte) (string, error) {
	folder := path + ".files"
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	written := map[string]string{}
	for original, text := range replace {
		to := filepath.Join(folder, filepath.Base(original))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		written[original] = to
	}
	overlay := path + ".json"
	text, err := json.Marshal(map[string]any{"Replace": written})
	if err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// list names the tests, fuzz targets (whose seeds run as tests) and examples of the binary.
func (b *binary) list(ctx context.Context) ([]string, error) {
	c := exec.CommandContext(ctx, b.path, "-test.list", ".")
	c.Dir = b.dir
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tests in %s: %w", b.dir, err)
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example") {
			names = append(names, name)
		}
	}
	return names, nil
}

// mebibytesMax bounds what a mutant can take in a loop that does not end, before its time is over.
const mebibytesMax = 4096

// run runs the tests named until one fails, and says which.
func (b *binary) run(ctx context.Context, timeout time.Duration, names []string, flags ...string) (outcome, string) {
	bound, cancel := context.WithTimeout(ctx, timeout+10*time.Second) // for one that does not end itself
	defer cancel()
	args := []string{"-c", fmt.Sprintf(`ulimit -d %d; exec "$0" "$@"`, mebibytesMax<<10), b.path,
		"-test.run", "^(" + strings.Join(names, "|") + ")$", "-test.failfast", "-test.short", "-test.count=1",
		"-test.timeout", timeout.String()}
	c := exec.CommandContext(bound, "sh", append(args, flags...)...)
	c.Dir = b.dir
	c.Env = append(c.Environ(), b.env...)
	c.WaitDelay = time.Second // children of a killed test may hold its output open
	out, err := c.CombinedOutput()
	switch {
	case bound.Err() != nil, bytes.Contains(out, []byte("panic: test timed out after")):
		return timedOut, ""
	case err != nil:
		return killed, firstFailed(out)
	}
	return lived, ""
}

// firstFailed is the test that the output names first, if any: a process that died names none.
func firstFailed(out []byte) string {
	_, after, found := bytes.Cut(out, []byte("--- FAIL: "))
	if !found {
		return ""
	}
	name, _, _ := bytes.Cut(after, []byte(" "))
	name, _, _ = bytes.Cut(name, []byte("/"))
	return string(name)
}

// discard removes the binary and what was written for it.
func (b *binary) discard() {
	left, _ := filepath.Glob(b.path + "*")
	for _, f := range left {
		os.RemoveAll(f) //nolint:errcheck // the folder is removed at the end
	}
}
