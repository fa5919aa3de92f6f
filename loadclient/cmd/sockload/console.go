package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/sockloop/sockloop/loadclient"
)

// console is what a user sees: plain lines when the output goes into a file or a pipe, and on a terminal a bar below
// them that moves while a trial runs.
type console struct {
	out, err io.Writer

	bar     *progressbar.ProgressBar
	prefix  string
	stopped chan struct{}
	stop    chan struct{}
}

// trialsExpected is what a search usually takes; the bar's guess.
const trialsExpected = 16

// level begins a level.
func (c *console) level(i, of, connections int) {
	c.prefix = fmt.Sprintf("level %d of %d: %d connections", i+1, of, connections)
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.bar = progressbar.NewOptions(trialsExpected, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(c.prefix),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20), progressbar.OptionThrottle(50*time.Millisecond))
		return
	}
	fmt.Fprintln(c.out, c.prefix)
}

// watch shows a trial while it runs.
func (c *console) watch(l *loadclient.Level, nominal float64) {
	c.unwatch()
	if c.bar == nil {
		return
	}
	c.stop, c.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(c.stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-tick.C:
				v := l.Live()
				c.bar.Describe(fmt.Sprintf("%s, %s/s, round trip %.1f ms so far", c.prefix, human(nominal), float64(v.RTT)/1e6))
			}
		}
	}()
}

func (c *console) unwatch() {
	if c.stop != nil {
		close(c.stop)
		<-c.stopped
		c.stop = nil
	}
}

// trial prints the result of a trial.
func (c *console) trial(t loadclient.Trial) {
	c.unwatch()
	if c.bar != nil {
		_ = c.bar.Clear()
		defer func() { _ = c.bar.Add(1) }()
	}
	server := ""
	if t.Server != nil {
		server = fmt.Sprintf("  server %3.0f %% %5.1f MB", 100*t.Server.CPU, float64(t.Server.RSS)/1e6)
	}
	reason := ""
	if t.Reason != "" {
		reason = ": " + t.Reason
	}
	fmt.Fprintf(c.out, "%5d connections  %7s/s nominal  %7s/s delivered  round trip mean %8.2f ms  p99 %8.2f ms%s  %s%s\n",
		t.Connections, human(t.Nominal), human(t.Delivered), t.RTT.Mean, t.RTT.P99, server, t.Verdict, reason)
}

// done ends a level.
func (c *console) done() {
	c.unwatch()
	if c.bar != nil {
		_ = c.bar.Finish()
		_ = c.bar.Clear()
		c.bar = nil
	}
}

func (c *console) saturation(s loadclient.Saturation) {
	limit := "at"
	if s.Limit == loadclient.ClientLimited {
		limit = "beyond what this client can measure, above"
	}
	fmt.Fprintf(c.out, "%5d connections: saturated %s %s messages a second\n", s.Connections, limit, human(s.Rate))
}

// table prints all levels.
func (c *console) table(found []loadclient.Saturation) {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nconnections\tsaturation/s\tdelivered/s\tmean ms\tp99 ms\tlimit\t")
	for _, s := range found {
		fmt.Fprintf(w, "%d\t%s\t%s\t%.1f\t%.1f\t%s\t\n", s.Connections, human(s.Rate), human(s.Best.Delivered), s.Best.RTT.Mean, s.Best.RTT.P99, s.Limit)
	}
	_ = w.Flush()
}

func (c *console) ceiling(x loadclient.Ceiling) {
	fmt.Fprintf(c.out, "%5d connections: this client receives %s messages a second at most, in frames of %d\n", x.Connections, human(x.Delivered), x.MessagesPerFrame)
}

func (c *console) note(format string, args ...any) {
	fmt.Fprintf(c.err, "sockload: "+format+"\n", args...)
}

// human writes a rate with three digits and a unit.
func human(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%.3gM", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.3gk", x/1e3)
	}
	return fmt.Sprintf("%.3g", x)
}
