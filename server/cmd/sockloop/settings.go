package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/sockloop/sockloop/tuning"
)

type check struct {
	serve
}

// Run prints ok, or fails with all faults.
func (c *check) Run(i *invocation) error {
	if _, err := tuning.RaiseDescriptors(); err != nil {
		return err
	}
	if _, err := i.check(&c.serve, nil); err != nil {
		return err
	}
	if stray := i.strayVariables(); len(stray) > 0 {
		return fmt.Errorf("variables that are no flag's: %s; see sockloop serve --help", strings.Join(stray, ", "))
	}
	fmt.Fprintln(i.to.out, "ok")
	return nil
}

type settings struct {
	serve
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the configuration in a form that --config takes.
func (s *settings) Run(i *invocation) error {
	if _, err := tuning.RaiseDescriptors(); err != nil {
		return err
	}
	c, err := i.check(&s.serve, nil)
	if err != nil {
		return err
	}
	s.fillIn(c)
	if s.JSON {
		return i.printJSON()
	}
	return i.printYAML()
}

// setting is the value of a flag.
type setting struct {
	flag   *kong.Flag
	value  any // a bool, an int, a string, or a list of strings
	source string
}

// settings are the values of serve's flags, whatever command has them.
func (i *invocation) settings() []setting {
	var all []setting
	known := map[string]bool{}
	for _, name := range flagNames(i.serveNode()) {
		known[name] = true
	}
	for _, f := range i.context.Selected().Flags {
		if known[f.Name] {
			source, _ := i.source(f)
			all = append(all, setting{f, plainValue(f.Target.Interface()), source})
		}
	}
	return all
}

func plainValue(v any) any {
	switch v := v.(type) {
	case bool, int, []string:
		return v
	case []network:
		all := make([]string, 0, len(v))
		for _, n := range v {
			all = append(all, n.String())
		}
		return all
	case slog.Level:
		return strings.ToLower(v.String())
	}
	return fmt.Sprint(v)
}

// credentials are what may stand before the host of a URL.
var credentials = regexp.MustCompile(`(//|^|,)[^/,\s]+@`)

// shown is the value without the passwords and tokens of URLs.
func (s *setting) shown() any {
	if text, ok := s.value.(string); ok {
		return credentials.ReplaceAllString(text, "${1}xxxxx@")
	}
	return s.value
}

func (i *invocation) printYAML() error {
	flags := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range i.settings() {
		var value yaml.Node
		if err := value.Encode(s.shown()); err != nil {
			return err
		}
		value.Style |= yaml.FlowStyle
		value.LineComment = "# " + s.source
		flags.Content = append(flags.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s.flag.Name}, &value)
	}
	e := yaml.NewEncoder(i.to.out)
	e.SetIndent(2)
	return e.Encode(map[string]*yaml.Node{"serve": flags})
}

func (i *invocation) printJSON() error {
	type value struct {
		Value  any    `json:"value"`
		Source string `json:"source"`
	}
	flags := map[string]value{}
	for _, s := range i.settings() {
		flags[s.flag.Name] = value{s.shown(), s.source}
	}
	e := json.NewEncoder(i.to.out)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"serve": flags})
}
