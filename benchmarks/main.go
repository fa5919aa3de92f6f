// Command benchmarks compares sockloop with the goroutine server, or its transports with each other: it starts the servers
// in turn, each on one CPU, loads them from the other CPUs with sockload, and prints where each saturates. The raw results
// go into a folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/tuning"
)

type flags struct {
	Bin       string      `help:"Folder with the built programs." default:"bin"`
	Out       string      `help:"Folder for the results. Default: benchmarks/results/<date>-<host>." placeholder:"DIR"`
	Suite     string      `help:"servers: sockloop and the goroutine server; transports: WebSocket, xhr-streaming and eventsource." default:"servers" enum:"servers,transports"`
	Levels    string      `help:"Connections, as for sockload. Default: quick for servers, 2000 for transports."`
	Blocks    int         `help:"Times that every server is measured, in turn." default:"1"`
	Report    bool        `help:"Measure nothing: write the summary of the results in --out again."`
	ServerCPU int         `help:"CPU of the servers." name:"server-cpu" default:"0"`
	CPUs      tuning.CPUs `help:"CPUs of the load client. Default: all others." name:"cpus" placeholder:"SET"`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Finds where sockloop and the goroutine server saturate, and prints the table."))
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1) //nolint:gocritic // cancel has nothing left to do
	}
}

// suite is what is compared.
type suite struct {
	contestants []contestant
	base        string // the contestant that the others are multiples of
	levels      string
	ceiling     bool   // the client's own, which is known for WebSockets only
	summary     string // file name
}

var suites = map[string]suite{
	"servers": {
		contestants: []contestant{{name: "sockloop", program: "sockloop", protocol: loadclient.SockJS}, {name: "goroutine", program: "goroutine", protocol: loadclient.SockJS}},
		base:        "goroutine", levels: "quick", ceiling: true, summary: "summary.md",
	},
	"transports": {
		contestants: []contestant{
			{name: "websocket", program: "sockloop", protocol: loadclient.SockJS},
			{name: "xhr-streaming", program: "sockloop", protocol: loadclient.XHRStreaming},
			{name: "eventsource", program: "sockloop", protocol: loadclient.EventSource},
		},
		base: "websocket", levels: "2000", summary: "transports.md",
	},
}

func run(ctx context.Context, f flags) error {
	cpus, err := clientCPUs(f)
	if err != nil {
		return err
	}
	if f.Out == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		f.Out = filepath.Join("benchmarks", "results", time.Now().UTC().Format("2006-01-02")+"-"+strings.ToLower(host))
	}
	if err := os.MkdirAll(f.Out, 0o755); err != nil {
		return err
	}
	b := bench{flags: f, suite: suites[f.Suite], cpus: cpus}
	if b.Levels == "" {
		b.Levels = b.suite.levels
	}
	if f.Report {
		return b.report()
	}
	if err := b.removeOld(); err != nil {
		return err
	}
	if b.suite.ceiling {
		fmt.Printf("The load client's own ceiling (CPU %s, a null broadcaster on CPU %d):\n", cpus, f.ServerCPU)
		if err := b.calibrate(ctx); err != nil {
			return err
		}
	}
	var failed error
	for block := range f.Blocks {
		for _, c := range b.suite.contestants {
			fmt.Printf("\n%s on CPU %d, block %d of %d:\n", c.name, f.ServerCPU, block+1, f.Blocks)
			if err := b.measure(ctx, c); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", c.name, err)) // the others are measured all the same
			}
		}
	}
	return errors.Join(b.report(), failed)
}

// removeOld removes the results of an earlier run of the suite.
func (b *bench) removeOld() error {
	old := b.suite.names()
	if b.suite.ceiling {
		old = append(old, "ceiling")
	}
	for _, name := range old {
		if err := os.Remove(b.file(name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func (s *suite) names() []string {
	var all []string
	for _, c := range s.contestants {
		all = append(all, c.name)
	}
	return all
}

// clientCPUs are all CPUs but the server's, unless they are named.
func clientCPUs(f flags) (tuning.CPUs, error) {
	allowed, err := tuning.Allowed()
	if err != nil {
		return nil, err
	}
	if _, _, err := (tuning.CPUs{f.ServerCPU}).Cut(allowed); err != nil {
		return nil, fmt.Errorf("--server-cpu: %w", err)
	}
	if len(f.CPUs) > 0 {
		here, _, err := f.CPUs.Cut(allowed)
		return here, err
	}
	var others tuning.CPUs
	for _, n := range allowed {
		if n != f.ServerCPU {
			others = append(others, n)
		}
	}
	if len(others) == 0 {
		return nil, fmt.Errorf("this machine lends us CPU %s alone; server and load client need one each", allowed)
	}
	return others, nil
}
