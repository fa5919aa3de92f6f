package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// accepted are the mutants that may live, with the reason of each: no test can tell them from the program, or the
// difference is not worth one. With a reason that begins with a question mark they are not accepted: it is what a test
// would have to be about.
type accepted map[string]string

// readAccepted reads lines of "file: function: old => new -> reason". Empty lines and lines that begin with # say
// nothing.
func readAccepted(path string) (accepted, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return accepted{}, nil
	}
	if err != nil {
		return nil, err
	}
	a := accepted{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, " -> ")
		if at < 0 || strings.TrimSpace(line[at+4:]) == "" {
			return nil, fmt.Errorf("%s:%d: want \"file: function: old => new -> reason\"", path, number)
		}
		key := strings.TrimSpace(line[:at])
		if _, twice := a[key]; twice {
			return nil, fmt.Errorf("%s:%d: %s is there twice", path, number, key)
		}
		a[key] = strings.TrimSpace(line[at+4:])
	}
	return a, nil
}

// stale are the entries for a package that name no mutant, or one that is killed.
func (a accepted) stale(s *source, all []*mutant, verdicts []verdict) []string {
	named := map[string]bool{}
	for _, m := range all {
		named[m.key] = true
	}
	dead := map[string]bool{}
	for _, v := range verdicts {
		dead[v.key] = v.outcome == killed || v.outcome == timedOut || v.outcome == illegal
	}
	var stale []string
	for key := range a {
		switch {
		case !strings.HasPrefix(key, s.dir+"/"):
		case !named[key]:
			stale = append(stale, key+": there is no such mutant")
		case dead[key]:
			stale = append(stale, key+": it is killed")
		}
	}
	return stale
}
