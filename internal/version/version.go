// Package version names the version of a program: of this one, and of any other that Go built.
package version

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
)

// revisionDigits is how much of a revision and of a build ID's hash is shown: what git shows of a small repository.
const revisionDigits = 7

// Own is this program's.
var Own = sync.OnceValue(func() string {
	v, err := Of("/proc/self/exe")
	if err != nil {
		return "unknown"
	}
	return v
})

// Of is the version of the program in a file that Go built: of a release its tag, such as v1.2.0; else its revision,
// such as 7131663 or 7131663+dirty; else a hash of its build ID, such as build-0a1b2c3, because two programs that
// were built without a repository differ all the same.
func Of(path string) (string, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if v := stamped(info); v != "" {
		return v, nil
	}
	id, err := buildID(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(id)
	return "build-" + hex.EncodeToString(sum[:])[:revisionDigits], nil
}

// buildID is the note that the linker leaves in a program: hashes of what it was made of and of what it is.
func buildID(path string) ([]byte, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	note := f.Section(".note.go.buildid")
	if note == nil {
		return nil, errors.New("it has no build ID")
	}
	return note.Data()
}

// stamped is the version that the toolchain has left in a program; empty when it left none.
func stamped(info *debug.BuildInfo) string {
	revision, dirty, module := "", "", info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), revisionDigits)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	switch {
	case revision != "" && (dirty != "" || module == "" || module == "(devel)" || strings.Contains(module, revision)):
		return revision + dirty // of a commit without a tag the toolchain makes a version that has the revision in it
	case module != "(devel)":
		return module
	}
	return ""
}
