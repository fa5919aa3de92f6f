// Package version names the version of a program: of this one, and of any other that Go built.
package version

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// revisionDigits is how much of a revision and of a program's hash is shown: what git shows of a small repository.
const revisionDigits = 7

// Own is this program's.
var Own = sync.OnceValue(func() string {
	v, err := Of("/proc/self/exe")
	if err != nil {
		return "unknown"
	}
	return v
})

// Of is the version of the program in a file that Go built: its revision, such as 7131663 or 7131663+dirty; else
// its module's version, such as v1.2.0; else the beginning of the file's SHA-256, such as build-0a1b2c3, because two
// programs that were built without a repository differ all the same.
func Of(path string) (string, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if v := stamped(info); v != "" {
		return v, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return "build-" + hex.EncodeToString(sum.Sum(nil))[:revisionDigits], nil
}

// stamped is the version that the toolchain has left in a program; empty when it left none.
func stamped(info *debug.BuildInfo) string {
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), revisionDigits)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	switch {
	case revision != "":
		return revision + dirty
	case info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return ""
}
