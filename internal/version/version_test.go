package version

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"testing"
)

func TestStamped(t *testing.T) {
	t.Parallel()
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	revision := setting("vcs.revision", "71316631e0a9b84d4a4f9fd1d1cbb0a0c3a0c8ae")
	for _, tt := range []struct {
		name     string
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		{"a revision", "(devel)", []debug.BuildSetting{revision, setting("vcs.modified", "false")}, "7131663"},
		{"a changed one", "(devel)", []debug.BuildSetting{setting("vcs.modified", "true"), revision}, "7131663+dirty"},
		{"a module", "v1.2.0", nil, "v1.2.0"},
		{"a commit behind a release", "v1.2.1-0.20261124151740-71316631e0a9", []debug.BuildSetting{revision},
			"7131663"},
		{"a release", "v1.2.0", []debug.BuildSetting{revision, setting("vcs.modified", "false")}, "v1.2.0"},
		{"a changed release", "v1.2.0+dirty", []debug.BuildSetting{revision, setting("vcs.modified", "true")},
			"7131663+dirty"},
		{"nothing", "(devel)", nil, ""},
	} {
		info := debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings}
		if got := stamped(&info); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Every program that Go built has a version, with a repository or without; others have none.
func TestOf(t *testing.T) {
	t.Parallel()
	if v := Own(); !regexp.MustCompile(`^([0-9a-f]{7}(\+dirty)?|build-[0-9a-f]{7})$`).MatchString(v) {
		t.Errorf("this program is %q", v)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{script, "/nonexistent"} {
		if v, err := Of(path); err == nil {
			t.Errorf("%s is %q", path, v)
		}
	}
}
