package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockloop/sockloop/loadclient/report"
	"github.com/sockloop/sockloop/loadclient/results"
)

// reporting is the command that makes a page of results.
type reporting struct {
	Results  []string `arg:"" help:"Result files of run --out, one a server, and folders of them." type:"path"`
	AllowOld bool     `help:"Show records without versions and blocks too, as if one version had made them."`
	Out      string   `help:"File to write. Default: report.html in the folder of the results." placeholder:"FILE"`
}

// Run writes the report.
func (c *reporting) Run(out *console) error {
	r, err := results.Load(results.Options{AllowOld: c.AllowOld}, c.Results...)
	if err != nil {
		return err
	}
	if len(r.Levels()) == 0 && len(r.Equal()) == 0 {
		return fmt.Errorf("%s: no search was finished, so there is nothing to report", strings.Join(c.Results, ", "))
	}
	path := c.Out
	if path == "" {
		path = c.Results[0]
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			path = filepath.Dir(path)
		}
		path = filepath.Join(path, "report.html")
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("the report cannot be written: %w", err)
	}
	if err := cmp.Or(report.Write(f, r), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	out.note("the report is in %s", path)
	return nil
}
