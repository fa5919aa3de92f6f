package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
)

// idle is the command that opens connections and leaves them alone.
type idle struct {
	target
	Connections int           `help:"Connections in all." default:"10000"`
	Step        int           `help:"Connections of a step. Default: a tenth of all." placeholder:"N"`
	Rate        float64       `help:"${idle_rate_help}" placeholder:"N"`
	Timeout     time.Duration `help:"How long one connection may take to open; 10s at most." default:"10s"`
	Hold        time.Duration `help:"How long all are to stay open in the end." default:"10s"`
	JSON        bool          `help:"Print the results as JSON lines."`
	Out         string        `help:"File to append the results to, as JSON lines." placeholder:"FILE"`
}

var idleHelp = kong.Vars{
	"idle_rate_help": "Connections to open a second. Default: as fast as the target accepts them, " +
		"32 handshakes at a time.",
}

const handshakeTimeoutMax = 10 * time.Second

func (c *idle) check() error {
	switch {
	case c.Connections < 1 || c.Step < 0:
		return fmt.Errorf("--connections %d, --step %d: want at least 1", c.Connections, c.Step)
	case c.Rate < 0:
		return fmt.Errorf("--rate %v: want connections a second, such as 500", c.Rate)
	case c.Timeout <= 0 || c.Timeout > handshakeTimeoutMax:
		return fmt.Errorf("--timeout %v: want a time up to %v", c.Timeout, handshakeTimeoutMax)
	case c.Hold < 0:
		return fmt.Errorf("--hold %v: want a time, such as 10s", c.Hold)
	}
	return c.sendsNothing()
}

// sendsNothing refuses what only those could mean who send.
func (c *idle) sendsNothing() error {
	for _, f := range []struct {
		flag  string
		given bool
	}{
		{"payload", c.Payload != ""},
		{"payload-bytes", c.PayloadBytes != ""},
		{"publishers", c.Publishers > 0},
		{"echo", c.Echo},
		{"verify", c.Verify == string(loadclient.VerifySample)},
	} {
		if f.given {
			return fmt.Errorf("--%s: idle sends nothing; trial and run do", f.flag)
		}
	}
	return nil
}

// Run opens the connections step by step.
func (c *idle) Run(ctx context.Context, out *console) error {
	if err := c.check(); err != nil {
		return err
	}
	files, err := openOutputs(c.Out, "", exports{}, false)
	if err != nil {
		return err
	}
	defer files.close()
	if err := c.prepare(out, c.sockets(c.Connections)); err != nil {
		return err
	}
	level, err := c.level(c.Connections)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.out, "%s\n", idleHead)
	}
	made := c.provenance(level)
	var failure error
	err = loadclient.Idle(ctx, loadclient.IdleConfig{
		Level: level, Step: cmp.Or(c.Step, max(1, c.Connections/10)), Rate: c.Rate, Timeout: c.Timeout, Hold: c.Hold,
	}, func(r results.Record) {
		if r.Idle != nil {
			r.Idle.Provenance = made
		} else {
			r.Hold.Provenance = made
		}
		failure = cmp.Or(failure, files.record(r))
		if c.JSON {
			out.printJSON(r)
		} else {
			out.idle(r)
		}
	})
	return cmp.Or(err, failure)
}

const idleHead = "connections  opened/s  handshake mean ms     p50     p99  server anon MB  file MB  kernel MB  " +
	"anon KB/connection  kernel KB/connection"

// idle prints a step of a ramp, or its end.
func (c *console) idle(r results.Record) {
	if h := r.Hold; h != nil {
		c.line("%d of %d connections stayed open for %.1f s%s\n",
			h.Connections-h.Lost, h.Connections, h.Hold, because(h.Failures))
		return
	}
	s := r.Idle
	c.line("%11d  %8s  %17s %7s %7s  %14s  %7s  %9s  %18s  %20s\n", s.Connections,
		orNone(s.Rate), milliseconds(s, s.Handshake.Mean), milliseconds(s, s.Handshake.P50),
		milliseconds(s, s.Handshake.P99),
		ofUsage(s.Server, func(u *results.Usage) int64 { return u.Anon }),
		ofUsage(s.Server, func(u *results.Usage) int64 { return u.File }),
		ofUsage(s.Server, func(u *results.Usage) int64 { return u.KernelSockets }),
		perConnection(s, func(m *results.ConnectionMemory) int64 { return m.Anon }),
		perConnection(s, func(m *results.ConnectionMemory) int64 { return m.KernelSockets }))
	if s.Failed+s.Lost > 0 {
		c.line("%11s  %d did not open, %d did not stay open%s\n", "", s.Failed, s.Lost, because(s.Failures))
	}
}

// none stands for what was not measured.
const none = "–"

func milliseconds(s *results.IdleStep, ms float64) string {
	if s.Opened == 0 {
		return none
	}
	return fmt.Sprintf("%.2f", ms)
}

func ofUsage(u *results.Usage, bytes func(*results.Usage) int64) string {
	if u == nil {
		return none
	}
	return fmt.Sprintf("%.1f", float64(bytes(u))/1e6)
}

func perConnection(s *results.IdleStep, bytes func(*results.ConnectionMemory) int64) string {
	if s.PerConnection == nil {
		return none
	}
	return fmt.Sprintf("%.2f", float64(bytes(s.PerConnection))/1e3)
}

// because is why connections failed.
func because(all []results.Failure) (text string) {
	for i, f := range all {
		text += fmt.Sprintf("%s %s (%d)", []string{":", ","}[min(i, 1)], f.Reason, f.Count)
	}
	return text
}
