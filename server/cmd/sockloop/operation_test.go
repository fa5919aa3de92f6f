package main

import (
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// docs/operation.md describes each flag of serve with its default, and no other.
func TestOperationDescribesEveryFlag(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Flags\n")
	table, _, _ = strings.Cut(table, "\n## ")
	defaults := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `--") && len(cells) == 4 {
			defaults[strings.Trim(cells[0], "| `-")] = cells[1]
		}
	}
	parser, err := kong.New(&commands{}, kong.Vars{"transports": ""})
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range parser.Model.Node.Children[0].AllFlags(true) {
		for _, f := range flags {
			if written, ok := defaults[f.Name]; f.Name == "help" {
				continue
			} else if !ok {
				t.Errorf("--%s is not described", f.Name)
			} else if f.Default != "" && written != "`"+f.Default+"`" {
				t.Errorf("the default of --%s is given as %s, and is %s", f.Name, written, f.Default)
			}
			delete(defaults, f.Name)
		}
	}
	for name := range defaults {
		t.Errorf("--%s is described, and is no flag", name)
	}
}
