package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// configFile is a file with values for the flags of serve, which stand under that name.
//
//	serve:
//	  addr: 0.0.0.0:8080
//	  connections-max: 10000
type configFile struct {
	name   string
	values map[string]fileValue // by flag
	owner  *invocation          // is told of its faults
}

// fileValue is a value of the file, as it would be written on the command line.
type fileValue struct {
	text string
	line int
}

// openConfig has the flags of the file that --config names looked up there.
func (i *invocation) openConfig(ctx *kong.Context) error {
	if i.file != nil || configPath(ctx) == "" { // it is called for each flag of the command line
		return nil
	}
	f, err := os.Open(kong.ExpandPath(configPath(ctx)))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it has been read
	i.file = &configFile{name: f.Name(), values: map[string]fileValue{}, owner: i}
	ctx.AddResolver(i.file)
	return i.file.read(f)
}

// configPath is what --config or its variable says, before the flags are set.
func configPath(ctx *kong.Context) string {
	for _, f := range ctx.Model.Flags {
		if f.Name == "config" {
			return ctx.FlagValue(f).(string)
		}
	}
	return ""
}

// read reads the file. The error is that it is no YAML; other faults go to the invocation.
func (c *configFile) read(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	for _, root := range document.Content {
		c.readRoot(root)
	}
	return nil
}

func (c *configFile) fault(n *yaml.Node, format string, args ...any) {
	c.owner.addFault(fmt.Errorf("%s:%d: %s", c.name, n.Line, fmt.Sprintf(format, args...)))
}

func (c *configFile) readRoot(root *yaml.Node) {
	if root.Kind != yaml.MappingNode {
		c.fault(root, `want flags under the name of a command, as in "serve: {addr: 127.0.0.1:8080}"`)
		return
	}
	for k := 0; k < len(root.Content); k += 2 {
		key, value := root.Content[k], root.Content[k+1]
		switch {
		case key.Value != "serve":
			c.fault(key, "%q is no command of a configuration; flags stand under serve", key.Value)
		case value.Kind == yaml.MappingNode:
			c.readFlags(value)
		case value.Tag != "!!null":
			c.fault(value, "want flags and their values under serve")
		}
	}
}

func (c *configFile) readFlags(flags *yaml.Node) {
	known := flagNames(c.owner.serveNode())
	for k := 0; k < len(flags.Content); k += 2 {
		key, value := flags.Content[k], flags.Content[k+1]
		name := key.Value
		text, ok := scalarText(value)
		_, twice := c.values[name]
		switch {
		case !slices.Contains(known, name):
			c.fault(key, "%q under serve, which is no flag%s; see sockloop serve --help", name, nearest(name, known))
		case twice:
			c.fault(key, "%s is there twice, first in line %d: remove one", name, c.values[name].line)
		case !ok:
			c.fault(value, "%s: want a value, or a list of values", name)
		default:
			c.values[name] = fileValue{text, key.Line}
		}
	}
}

// scalarText is a value as it would be written on the command line, where lists have commas.
func scalarText(n *yaml.Node) (text string, ok bool) {
	switch {
	case n.Kind == yaml.AliasNode:
		return scalarText(n.Alias)
	case n.Tag == "!!null":
		return "", true
	case n.Kind == yaml.ScalarNode:
		return n.Value, true
	case n.Kind != yaml.SequenceNode:
		return "", false
	}
	var items []string
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			return "", false
		}
		items = append(items, item.Value)
	}
	return kong.JoinEscaped(items, ','), true
}

// Validate has nothing to say: faults are found when the file is read.
func (*configFile) Validate(*kong.Application) error { return nil }

// Resolve is the value of a flag, nil if the file has none, or an empty one, or the environment has one, which wins.
func (c *configFile) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if _, ok := variable(flag); ok {
		return nil, nil
	}
	if v, ok := c.values[flag.Name]; ok && v.text != "" && parent.App == nil {
		c.owner.stage = fromFile
		return v.text, nil
	}
	return nil, nil
}

// variable is the environment variable that is set for a flag.
func variable(flag *kong.Flag) (name string, ok bool) {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return name, true
		}
	}
	return "", false
}

func flagNames(n *kong.Node) []string {
	var names []string
	for _, f := range n.Flags {
		names = append(names, f.Name)
	}
	return names
}

// nearest suggests the name that is most like a misspelt one; nothing if none is like it.
func nearest(name string, names []string) string {
	best, least := "", len(name)/2+1
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance is how many characters have to be added, removed or changed to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
