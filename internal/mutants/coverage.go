package main

import (
	"bufio"
	"context"
	"fmt"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// coverage is what each test of a package reaches, and how long it takes, in the clean package.
type coverage struct {
	seconds map[string]float64
	failing []string // tests that fail without a mutant: not used
	blocks  map[string][]*block
}

// block is a part of a file that runs as a whole.
type block struct {
	start, end place
	tests      []string
}

type place struct{ line, column int }

func (p place) before(q place) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

// cleanTimeout bounds one test of the clean package.
const cleanTimeout = 3 * time.Minute

// cover runs each test of the package alone, except for those to skip. What a test reaches in other processes does not
// count.
func cover(ctx context.Context, s *source, scratch string, skip *regexp.Regexp) (*coverage, error) {
	b, err := build(ctx, s, filepath.Join(scratch, "clean.test"), nil, "-cover")
	if err != nil {
		return nil, err
	}
	defer b.discard()
	names, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	c := &coverage{seconds: map[string]float64{}, blocks: map[string][]*block{}}
	profile := b.path + ".profile"
	for _, name := range names {
		if skip != nil && skip.MatchString(name) {
			continue
		}
		start := time.Now()
		o, _ := b.run(ctx, cleanTimeout, []string{name}, "-test.coverprofile", profile)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if o != lived {
			c.failing = append(c.failing, name)
			continue
		}
		c.seconds[name] = time.Since(start).Seconds()
		if err := c.read(profile, name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// read adds a test's profile: lines of "import/path/file.go:line.column,line.column statements count".
func (c *coverage) read(profile, test string) error {
	f, err := os.Open(profile)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, ranges, _ := strings.Cut(lines.Text(), ".go:")
		var b block
		var statements, count int
		if n, _ := fmt.Sscanf(ranges, "%d.%d,%d.%d %d %d", &b.start.line, &b.start.column, &b.end.line, &b.end.column,
			&statements, &count); n == 6 {
			c.note(path.Base(name)+".go", b, test, count > 0)
		}
	}
	return lines.Err()
}

func (c *coverage) note(file string, b block, test string, reached bool) {
	for _, known := range c.blocks[file] {
		if known.start == b.start && known.end == b.end {
			if reached {
				known.tests = append(known.tests, test)
			}
			return
		}
	}
	if reached {
		b.tests = []string{test}
	}
	c.blocks[file] = append(c.blocks[file], &b)
}

// testsOf are the tests that reach what stands at p: those of the smallest block around it.
func (c *coverage) testsOf(file string, p token.Position) []string {
	at := place{p.Line, p.Column}
	var smallest *block
	for _, b := range c.blocks[file] {
		if at.before(b.start) || !at.before(b.end) {
			continue
		}
		if smallest == nil || smallest.start.before(b.start) {
			smallest = b
		}
	}
	if smallest == nil {
		return nil
	}
	return smallest.tests
}

// timeoutOf is how long these tests may take with a mutant in them: a multiple of what they take without, and what a
// busy machine may take to start them.
func (c *coverage) timeoutOf(names []string, factor float64) time.Duration {
	seconds := 0.0
	for _, name := range names {
		seconds += c.seconds[name]
	}
	return time.Duration((4 + factor*seconds) * float64(time.Second))
}
