package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/sockloop/sockloop/loadclient/results"
)

// comparing is the command that compares two result files.
type comparing struct {
	A         string  `arg:"" help:"Result file to compare with." type:"existingfile"`
	B         string  `arg:"" help:"Result file that is compared." type:"existingfile"`
	Threshold float64 `help:"Share by which B may be slower. A regression takes five pairs besides." default:"0.02"`
	AllowOld  bool    `help:"Compare records without versions and blocks too, in the order of the files."`
	JSON      bool    `help:"Print the comparison as JSON lines."`
}

var errSlower = errors.New("a regression: B is slower than A")

// Run compares level by level.
func (c *comparing) Run(out *console) error {
	if c.Threshold < 0 || c.Threshold >= 1 {
		return fmt.Errorf("--threshold %v: want a share, 0 to 1", c.Threshold)
	}
	all, err := results.CompareFiles(results.Options{AllowOld: c.AllowOld}, c.A, c.B)
	if err != nil {
		return err
	}
	if err := c.print(out, all); err != nil {
		return err
	}
	for i := range all {
		if all[i].Slower(c.Threshold) {
			return errSlower
		}
	}
	return nil
}

func (c *comparing) print(out *console, all []results.Comparison) error {
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
	fmt.Fprintln(w, "connections\tA/s nominal\tB/s nominal\tB/A median\tinterval\tof\tpairs\t")
	for _, x := range all {
		between, confidence := "needs two pairs", ""
		if x.Confidence > 0 {
			between, confidence = fmt.Sprintf("%.3f–%.3f", x.Low, x.High), fmt.Sprintf("%.0f %%", 100*x.Confidence)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s%.3f\t%s\t%s\t%d\t\n", x.Connections, results.Short(x.A), results.Short(x.B),
			mark(x.Bound), x.Ratio, between, confidence, len(x.Pairs))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	c.notes(out, all)
	return nil
}

// mark is what stands before a ratio that is no more than a bound.
func mark(b results.Bound) string {
	if b == results.NoBound {
		return "? "
	}
	return string(b)
}

func (c *comparing) notes(out *console, all []results.Comparison) {
	for i := range all {
		x := &all[i]
		switch {
		case x.Slower(c.Threshold):
			out.note("%d connections: B is slower", x.Connections)
		case x.LooksSlower(c.Threshold):
			out.note("%d connections: B looks slower, but %d pairs cannot tell that from chance: measure %d blocks",
				x.Connections, len(x.Pairs), results.RegressionPairs())
		}
		for _, warning := range x.Warnings {
			out.note("%d connections: %s", x.Connections, warning)
		}
	}
}
