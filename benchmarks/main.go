// Command benchmarks compares servers: it starts them in turn, each on one CPU, loads them from the other CPUs with
// sockload, and prints where each saturates. The raw results go into a folder, with a manifest of the machine and the
// versions, and a report.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

type flags struct {
	Bin       string        `help:"Folder with the built programs." default:"bin"`
	Peers     string        `help:"Folder with the servers' manifests." default:"benchmarks/peers"`
	Out       string        `help:"Folder for the results. Default: one of its own below benchmarks/results." placeholder:"DIR"`
	Suite     string        `help:"${suites}." default:"servers" enum:"${suites}"`
	Only      []string      `help:"Measure only these of the suite." placeholder:"NAME,…"`
	Levels    []int         `help:"Connections. Default: the suite's." placeholder:"N,…"`
	Blocks    int           `help:"Times that every server is measured, in turn." default:"1"`
	Fresh     bool          `help:"Replace the results in --out. Without it they are added to."`
	Again     bool          `help:"Make searches again that ended because the machine was busy, each once; of suites that search."`
	Install   bool          `help:"Measure nothing: install the peers."`
	Search    []string      `help:"Further arguments of sockload run, such as --search=--profile=search." placeholder:"ARG,…"`
	Warm      time.Duration `help:"How long a server gets warm before its search." default:"3s"`
	Check     bool          `help:"Measure nothing: name the servers that cannot be run."`
	Report    bool          `help:"Measure nothing: write the summary and the report of the results in --out again."`
	AllowOld  bool          `help:"With --report: show records without versions and blocks too."`
	ServerCPU int           `help:"CPU of the servers." name:"server-cpu" default:"0"`
	CPUs      tuning.CPUs   `help:"CPUs of the load client. Default: all others, of other cores if there are any." name:"cpus" placeholder:"SET"`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Finds where servers saturate, or loads all alike, and prints the table."),
		kong.Vars{"suites": strings.Join(suiteNames(), ",")})
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1) //nolint:gocritic // cancel has nothing left to do
	}
}

// suite is what is compared.
type suite struct {
	names  []string // of the contestants; empty is all that are opponents and no variants,
	with   []string // and these
	base   string   // the contestant that the others are multiples of
	levels []int
	full   []string // contestants that are measured at the 13 levels of 2011, in the first block
	light  bool     // and under a light load before and after the search
	load   []string // further arguments for sockload

	// Contestants of which a sample of the bytes is compared, and not all: the client would be their limit otherwise.
	sampled []string

	// Each contestant is measured a second time with so many of the connections sending: what comes in is no limit
	// then.
	publishers int
	// Rates, in nominal messages a second, at which all are loaded alike. No saturation is searched then.
	rates []float64
}

// verifySample is for servers that the client cannot outread on one core otherwise.
var verifySample = []string{"--verify", "sample"}

var suites = map[string]suite{
	"servers": {
		names: []string{"sockloop", "goroutine"}, base: "goroutine", levels: results.QuickLevels, light: true,
		load: verifySample,
	},
	// What batching gives and what the loop gives: both with both.
	"batching": {
		names: []string{"sockloop", "sockloop-single", "goroutine", "goroutine-batched"}, base: "goroutine",
		levels: results.QuickLevels, load: verifySample,
	},
	// What comes in and what goes out.
	"walls": {
		names: []string{"sockloop", "goroutine-batched", "goroutine"}, base: "goroutine",
		levels: []int{100, 500, 2000}, load: verifySample, publishers: 50,
	},
	// What compressing each batch once is worth where only the fan-out is left.
	"compression": {
		names: []string{"sockloop", "sockloop-compressed", "goroutine-batched"}, base: "sockloop",
		levels: []int{500, 2000}, load: append(verifySample, "--publishers", "50"),
	},
	// What gathering for longer than a turn costs in time, and saves in CPU.
	"gather": {
		names: []string{
			"sockloop", "sockloop-gather-2ms", "sockloop-gather-5ms", "sockloop-gather-20ms", "sockloop-p99-50ms",
		}, base: "sockloop",
		levels: []int{2000}, rates: []float64{1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8}, load: verifySample,
	},
	// The same for compression, with the payload of 2011 and lines of chat.
	"equal-compressed": {
		names: []string{"sockloop", "sockloop-compressed"}, base: "sockloop",
		levels: []int{500, 2000}, rates: []float64{1e4, 1e5, 1e6, 1e7, 1e8}, load: verifySample,
	},
	// What people run.
	"equal": {
		with: []string{"sockloop-single"},
		base: "sockjs-node", levels: []int{2000}, rates: []float64{1e4, 1e5, 1e6, 1e7},
	},
	"echo": {
		names: []string{"sockloop-echo", "goroutine-echo", "sockjs-node-echo"}, base: "sockjs-node-echo",
		levels: results.QuickLevels,
	},
	"transports": {
		names: []string{"sockloop", "sockloop-xhr-streaming", "sockloop-eventsource"}, base: "sockloop",
		levels: []int{2000},
	},
	"peers": {
		with: []string{"sockloop-single"},
		base: "sockjs-node", levels: results.QuickLevels, sampled: []string{"sockloop", "goroutine-batched"},
		full: []string{"sockloop", "goroutine", "sockjs-node", "sockjs-tornado-pypy"},
	},
	"controls": {
		names: []string{"sockloop", "sockloop-again", "fixed", "fixed-batched"}, base: "sockloop",
		levels: []int{100, 2000}, sampled: []string{"sockloop", "sockloop-again", "fixed-batched"},
	},
}

func suiteNames() (names []string) {
	for name := range suites {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// contestants are those of the suite among all peers.
func (s *suite) contestants(peers []*peer, only []string) (all []*contestant, err error) {
	byName := map[string]*contestant{}
	var names []string
	for _, p := range peers {
		for i := range p.Contestants {
			c := &p.Contestants[i]
			byName[c.Name] = c
			if !p.Control && !c.Variant {
				names = append(names, c.Name)
			}
		}
	}
	if s.names != nil {
		names = s.names
	}
	names = slices.Concat(names, s.with)
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--only %s: the suite has %s", name, strings.Join(names, ", "))
		}
	}
	for _, name := range names {
		c := byName[name]
		if c == nil {
			return nil, fmt.Errorf("no manifest has the contestant %s", name)
		}
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		all = append(all, c)
		if s.publishers > 0 {
			all = append(all, c.with(s.publishers))
		}
	}
	return all, nil
}

// args are sockload's further arguments for a contestant.
func (s *suite) args(c *contestant) []string {
	var verify []string
	if slices.Contains(s.sampled, c.Name) {
		verify = verifySample
	}
	return slices.Concat(verify, s.load, c.Load)
}

// with is the same contestant with so many of the connections sending.
func (c *contestant) with(publishers int) *contestant {
	some := *c
	some.of = c.Name
	some.Name = fmt.Sprintf("%s-%d-publishers", c.Name, publishers)
	some.About = fmt.Sprintf("%s; %d of the connections send", c.about(), publishers)
	some.Load = append(slices.Clone(c.Load), "--publishers", strconv.Itoa(publishers))
	return &some
}

func run(ctx context.Context, f flags) error {
	peers, err := readPeers(f.Peers)
	if err != nil {
		return err
	}
	if f.Install {
		installAll(ctx, peers, f.Bin)
		return nil
	}
	if f.Check {
		checkAll(ctx, peers, f.Bin)
		return nil
	}
	if f.Blocks < 1 {
		return fmt.Errorf("--blocks %d: want at least 1", f.Blocks)
	}
	b := bench{flags: f, suite: suites[f.Suite], idle: idleTime, equal: equalTime, noisyTime: noisyTime}
	if b.cpus, err = clientCPUs(f); err != nil {
		return err
	}
	if b.Levels == nil {
		b.Levels = b.suite.levels
	}
	if b.contestants, err = b.suite.contestants(peers, f.Only); err != nil {
		return err
	}
	if b.Out == "" && (f.Report || f.Again) {
		return errors.New("--report, --again: of which results? --out names their folder")
	}
	if f.Again && f.Fresh {
		return errors.New("--again makes searches of --out again, and --fresh removes them: use one of the two")
	}
	if b.Out == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		day := time.Now().UTC().Format(time.DateOnly)
		name := filepath.Join("benchmarks", "results", day+"-"+strings.ToLower(host)+"-"+f.Suite)
		if b.Out, err = b.freeFolder(name); err != nil {
			return err
		}
	}
	if f.Report {
		return b.report(ctx)
	}
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return err
	}
	if _, err := tuning.RaiseDescriptors(); err != nil { // which the servers inherit
		return err
	}
	return b.measureAll(ctx)
}

// clientCPUs are all CPUs on other cores than the server's, unless they are named.
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
	others := allowed.Besides(f.ServerCPU)
	if len(others) == 0 {
		return nil, fmt.Errorf("this machine lends us CPU %s alone; server and load client need one each", allowed)
	}
	return others, nil
}
