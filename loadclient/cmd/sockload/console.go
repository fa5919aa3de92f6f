package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
)

// console is what a user sees of a run: plain lines, and on a terminal a bar below them that moves while a trial runs;
// or only what was found; or JSON lines.
type console struct {
	out, err io.Writer
	quiet    bool // no lines about levels and trials
	json     bool // records instead of lines

	plan *plan
	live *live
}

// display is what the commands that measure have.
type display struct {
	Quiet bool `help:"Print only what was found." xor:"display"`
	JSON  bool `help:"Print everything as JSON lines, and how far the run is." xor:"display"`
}

func (d display) apply(c *console) { c.quiet, c.json = d.Quiet, d.JSON }

func (c *console) printJSON(x any) { _ = json.NewEncoder(c.out).Encode(x) }

// begin begins a run of levels that are expected to take so long each.
func (c *console) begin(expected []time.Duration) {
	c.plan = &plan{expected: expected}
	if f, ok := c.err.(*os.File); ok && !c.quiet && !c.json && term.IsTerminal(int(f.Fd())) {
		c.plan.begin(0, time.Now())
		c.live = newLive(f, c.plan)
	}
}

// level begins a level.
func (c *console) level(i, connections int) {
	now := time.Now()
	if c.live != nil {
		c.live.do(func(l *live) { l.plan.begin(i, now); l.level = nil })
		return
	}
	c.plan.begin(i, now)
	_, left := c.plan.state(now)
	of := len(c.plan.expected)
	switch {
	case c.json:
		c.printJSON(struct {
			Progress results.Progress `json:"progress"`
		}{results.Progress{
			Level: i + 1, Levels: of, Connections: connections, Left: left.Round(time.Second).Seconds(),
		}})
	case !c.quiet:
		fmt.Fprintf(c.out, "level %d of %d: %d connections, about %v left\n", i+1, of, connections,
			left.Round(time.Second))
	}
}

// levelDone ends a level.
func (c *console) levelDone() {
	now := time.Now()
	if c.live != nil {
		c.live.do(func(l *live) { l.plan.end(now); l.level = nil })
		return
	}
	c.plan.end(now)
}

// done ends a run.
func (c *console) done() {
	if c.live != nil {
		c.live.close()
		c.live = nil
	}
}

// watch shows a trial while it runs.
func (c *console) watch(level *loadclient.Level, nominal float64) {
	if c.live != nil {
		c.live.do(func(l *live) { l.level, l.nominal, l.meter.recent = level, nominal, nil })
	}
}

// line prints lines above the bar.
func (c *console) line(format string, args ...any) {
	if c.live == nil {
		fmt.Fprintf(c.out, format, args...)
		return
	}
	done := make(chan struct{})
	c.live.do(func(l *live) {
		_ = l.bar.Clear()
		fmt.Fprintf(c.out, format, args...)
		l.level = nil // its trial is over
		close(done)
	})
	<-done
}

// trial prints the result of a trial.
func (c *console) trial(t results.Trial) {
	switch {
	case c.json:
		c.printJSON(results.Record{Trial: &t})
		return
	case c.quiet:
		return
	}
	server := ""
	if t.Server != nil {
		server = fmt.Sprintf("  server %3.0f %% %5.1f MB", 100*t.Server.CPU, float64(t.Server.RSS)/1e6)
	}
	reason := ""
	if t.Reason != "" {
		reason = ": " + t.Reason
	}
	c.line("%5d connections  %-7s  %7s/s nominal  %7s/s delivered  round trip mean %8.2f ms  p99 %8.2f ms%s  %s%s\n",
		t.Connections, t.Phase, results.Short(t.Nominal), results.Short(t.Delivered), t.RTT.Mean, t.RTT.P99, server,
		t.Verdict, reason)
}

func (c *console) saturation(s results.Saturation) {
	switch {
	case c.json:
		c.printJSON(results.Record{Saturation: &s})
		return
	case c.quiet:
		return
	}
	switch s.Limit {
	case results.Overloaded:
		c.line("%5d connections: saturated at %s messages a second nominal, %s delivered at most\n",
			s.Connections, results.Short(s.Rate), results.Short(s.MaxDelivered))
	case results.TargetFailed:
		c.line("%5d connections: %s messages a second nominal, %s delivered at most; "+
			"200 ms was not reached, because beyond that the server fails: %s\n",
			s.Connections, results.Short(s.Rate), results.Short(s.MaxDelivered), s.Reason)
	default:
		c.line("%5d connections: more than %s messages a second nominal, %s delivered at most; "+
			"beyond that it could not be measured: %s\n",
			s.Connections, results.Short(s.Rate), results.Short(s.MaxDelivered), s.Reason)
	}
	for _, w := range s.Warnings {
		c.line("%5d connections: %s\n", s.Connections, w)
	}
}

// table prints all levels.
func (c *console) table(found []results.Saturation) {
	if c.json {
		return
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	if !c.quiet {
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "connections\tsaturation/s nominal\tdelivered/s at most\tsustained/s nominal\t"+
		"delivered/s\tof the client's ceiling\toverload/s\tmean ms\tp99 ms\tlimit\t")
	for _, s := range found {
		limit := string(s.Limit)
		if s.Limit == results.TargetFailed {
			limit += ", 200 ms was not reached"
		}
		delivered, mean, p99 := 0.0, "–", "–"
		if s.Best != nil { // else no rate held
			mean, p99 = fmt.Sprintf("%.1f", s.Best.RTT.Mean), fmt.Sprintf("%.1f", s.Best.RTT.P99)
			if s.Sustained > 0 {
				delivered = s.Best.Delivered
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			s.Connections, results.Short(s.Rate), results.Short(s.MaxDelivered), orNone(s.Sustained), orNone(delivered),
			share(s), orNone(s.Overload), mean, p99, limit)
	}
	_ = w.Flush()
}

// share is what a search used of the client's ceiling.
func share(s results.Saturation) string {
	if s.Ceiling == nil || s.Ceiling.Rate() == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*s.MaxDelivered/s.Ceiling.Rate())
}

// orNone writes a rate that may not have been found.
func orNone(x float64) string {
	if x == 0 {
		return "–"
	}
	return results.Short(x)
}

func (c *console) ceiling(x results.Ceiling) {
	if c.json {
		c.printJSON(results.Record{Ceiling: &x})
		return
	}
	fmt.Fprintf(c.out, "%5d connections: this client receives %s messages a second at most, %s\n", x.Connections,
		results.Short(x.Rate()), x.Shape)
}

func (c *console) note(format string, args ...any) {
	fmt.Fprintf(c.err, "sockload: "+format+"\n", args...)
}
