package server_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/server"
)

// docs/operation.md describes each field of Stats, and no other.
func TestOperationDescribesEveryCounter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Counters\n")
	table, _, _ = strings.Cut(table, "\n## ")
	described := map[string]bool{}
	for line := range strings.Lines(table) {
		row, ok := strings.CutPrefix(line, "| `")
		if name, what, found := strings.Cut(row, "` | "); ok && found {
			described[name] = strings.Trim(what, " |\n") != ""
		}
	}
	for field := range reflect.TypeFor[server.Stats]().Fields() {
		if !described[field.Name] {
			t.Errorf("%s is not described", field.Name)
		}
		delete(described, field.Name)
	}
	for name := range described {
		t.Errorf("%s is described, and is no counter", name)
	}
}
