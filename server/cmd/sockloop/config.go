package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
	kongyaml "github.com/alecthomas/kong-yaml"
	"gopkg.in/yaml.v3"
)

// configFile is a file with values for flags: the flags of a command stand under its name.
//
//	serve:
//	  addr: 0.0.0.0:8080
//	  connections-max: 10000
type configFile struct {
	kong.Resolver
	values map[string]map[string]any
}

// loadConfig reads a configuration file.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	p, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	c := &configFile{}
	if err := yaml.Unmarshal(p, &c.values); err != nil {
		return nil, fmt.Errorf("the file is not flags under the name of a command, "+
			"as in \"serve: {addr: 127.0.0.1:8080}\" (yaml: %T)", err)
	}
	c.Resolver, err = kongyaml.Loader(bytes.NewReader(p))
	return c, err
}

// Validate refuses names that are no flags: a misspelt line must not be passed over.
func (c *configFile) Validate(app *kong.Application) error {
	for command, values := range c.values {
		known := map[string]bool{}
		for _, child := range app.Children {
			if child.Name == command {
				for _, f := range child.Flags {
					known[f.Name] = true
				}
			}
		}
		if len(known) == 0 {
			return fmt.Errorf("the configuration file has %q, which is no command; flags stand under serve", command)
		}
		for name := range values {
			if !known[name] {
				return fmt.Errorf("the configuration file has %q under %s, which is no flag; see sockloop %s --help",
					name, command, command)
			}
		}
	}
	return nil
}
