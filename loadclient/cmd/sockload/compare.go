package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/sockloop/sockloop/loadclient"
)

// comparing is the command that compares two result files.
type comparing struct {
	A         string  `arg:"" help:"Result file to compare with." type:"existingfile"`
	B         string  `arg:"" help:"Result file that is compared." type:"existingfile"`
	Threshold float64 `help:"B is a regression when all of its interval is below 1 and its ratio below 1 less this share." default:"0.02"`
	JSON      bool    `help:"Print the comparison as JSON lines."`
}

var errSlower = errors.New("a regression: B is slower than A")

// Run compares level by level.
func (c *comparing) Run(out *console) error {
	if c.Threshold < 0 || c.Threshold >= 1 {
		return fmt.Errorf("--threshold %v: want a share, 0 to 1", c.Threshold)
	}
	a, err := loadclient.ReadFile(c.A)
	if err != nil {
		return err
	}
	b, err := loadclient.ReadFile(c.B)
	if err != nil {
		return err
	}
	all, err := loadclient.Compare(a, b)
	if err != nil {
		return err
	}
	slower := false
	for _, x := range all {
		slower = slower || x.Slower(c.Threshold)
	}
	if err := c.print(out, all); err != nil {
		return err
	}
	if slower {
		return errSlower
	}
	return nil
}

func (c *comparing) print(out *console, all []loadclient.Comparison) error {
	if c.JSON {
		w := json.NewEncoder(out.out)
		for _, x := range all {
			if err := w.Encode(x); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "connections\tA/s\tB/s\tB/A\t95 % interval\tpairs\t")
	for _, x := range all {
		between := "needs two pairs"
		if x.High > 0 {
			between = fmt.Sprintf("%.3f–%.3f", x.Low, x.High)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%.3f\t%s\t%d\t\n", x.Connections, human(x.A), human(x.B), x.Ratio, between, x.Pairs)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, x := range all {
		if x.Slower(c.Threshold) {
			out.note("%d connections: B is slower", x.Connections)
		}
		for _, warning := range x.Warnings {
			out.note("%d connections: %s", x.Connections, warning)
		}
	}
	return nil
}
