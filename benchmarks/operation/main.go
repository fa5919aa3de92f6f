// Command operation measures what it costs to operate sockloop: to have its metrics scraped every second, a broker
// beside it, and its connections divided among two and three processes that the broker joins. The same load goes to
// each setup in turn, block by block. All processes of a setup share one port and one CPU, so what they cost can be
// added up. The load client and nats-server are on another CPU.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sockloop/sockloop/benchmarks/internal/process"
	"github.com/sockloop/sockloop/benchmarks/internal/sockload"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "operation:", err)
		os.Exit(1)
	}
}

// setup is what the load goes to.
type setup struct {
	name      string
	processes int
	broker    bool
	scraped   bool // the admin plane listens, and its metrics are read every second
}

var setups = []setup{
	{name: "alone", processes: 1},
	{name: "scraped", processes: 1, scraped: true},
	{name: "with a broker", processes: 1, broker: true},
	{name: "two processes", processes: 2, broker: true},
	{name: "three processes", processes: 3, broker: true},
}

// record is one trial of a setup.
type record struct {
	Setup     string `json:"setup"`
	Block     int    `json:"block"`
	Processes int    `json:"processes"`
	// ServerCPU and BrokerCPU are what all processes of sockloop and nats-server used from before the connections were
	// opened until they were closed, in seconds.
	ServerCPU float64       `json:"server_cpu_s"`
	BrokerCPU float64       `json:"broker_cpu_s,omitempty"`
	RSS       []int         `json:"rss_bytes"` // of each process of sockloop, after that
	Trial     results.Trial `json:"trial"`
}

type bench struct {
	bin         string
	connections int
	window      time.Duration
	serverCPU   int
	clientCPU   int
	out         *os.File
}

func run(ctx context.Context) error {
	b := bench{}
	flag.StringVar(&b.bin, "bin", "bin", "folder of sockloop and sockload")
	flag.IntVar(&b.connections, "connections", 2000, "connections of the load")
	flag.DurationVar(&b.window, "window", 5*time.Second, "length of a trial")
	flag.IntVar(&b.serverCPU, "server-cpu", 0, "CPU of all processes of sockloop")
	flag.IntVar(&b.clientCPU, "client-cpu", 1, "CPU of the load client and of nats-server")
	blocks := flag.Int("blocks", 3, "times that every setup is measured at every rate, in turn")
	rates := flag.String("rates", "100000,1000000,10000000", "nominal messages a second")
	out := flag.String("out", "operation.jsonl", "file that the records are appended to")
	flag.Parse()
	if _, err := exec.LookPath("nats-server"); err != nil {
		return errors.New("there is no nats-server: install the Debian package nats-server")
	}
	if _, _, err := tuning.Pin(tuning.CPUs{b.clientCPU}); err != nil {
		return err
	}
	var err error
	if b.out, err = os.OpenFile(*out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return err
	}
	var all []record
	for block := 1; block <= *blocks; block++ {
		for rate := range strings.SplitSeq(*rates, ",") {
			for _, s := range setups {
				r, err := b.measure(ctx, s, rate)
				if err != nil {
					return fmt.Errorf("%s at %s/s: %w", s.name, rate, err)
				}
				r.Block = block
				if err := json.NewEncoder(b.out).Encode(r); err != nil {
					return err
				}
				fmt.Printf("block %d, %8s/s, %-15s  mean %7.2f ms  p99 %7.2f ms  CPU %5.2f s  broker %5.2f s  %s\n",
					block, rate, s.name, r.Trial.RTT.Mean, r.Trial.RTT.P99, r.ServerCPU, r.BrokerCPU, r.Trial.Verdict)
				all = append(all, r)
			}
		}
	}
	summarize(os.Stdout, all)
	return b.out.Close()
}

// measure starts what a setup has, loads it, and ends it.
func (b *bench) measure(ctx context.Context, s setup, rate string) (r record, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r = record{Setup: s.name, Processes: s.processes}
	var running []*process.Process
	defer func() {
		for _, p := range running {
			p.Stop()
		}
	}()
	start := func(cpu int, addr, path string, args ...string) error {
		p, err := process.Start(ctx, exec.Command(path, args...), tuning.CPUs{cpu}, addr)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		running = append(running, p)
		return nil
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return r, err
	}
	common := []string{"--addr", addr, "--cpu", strconv.Itoa(b.serverCPU), "--share-port"}
	if s.broker {
		broker, err := process.FreeAddr()
		if err != nil {
			return r, err
		}
		host, port, _ := strings.Cut(broker, ":")
		if err := start(b.clientCPU, broker, "nats-server", "-a", host, "-p", port); err != nil {
			return r, err
		}
		common = append(common, "--broker", "nats://"+broker)
	}
	brokers := len(running)
	for range s.processes {
		admin := "off"
		if s.scraped {
			if admin, err = process.FreeAddr(); err != nil {
				return r, err
			}
			go scrape(ctx, admin)
		}
		path := filepath.Join(b.bin, "sockloop")
		if err := start(b.serverCPU, addr, path, append(common, "--admin-addr", admin)...); err != nil {
			return r, err
		}
	}
	time.Sleep(settling)
	before := cpuOf(running)
	if r.Trial, err = b.load(ctx, addr, rate); err != nil {
		return r, err
	}
	for i, p := range running {
		if err := p.Ended(); err != nil { // its part of the port is another's then
			return r, err
		}
		if used := p.CPU() - before[i]; i < brokers {
			r.BrokerCPU += used
		} else {
			r.ServerCPU += used
			r.RSS = append(r.RSS, p.RSS())
		}
	}
	return r, nil
}

// cpuOf is what each has used, in seconds.
func cpuOf(running []*process.Process) (seconds []float64) {
	for _, p := range running {
		seconds = append(seconds, p.CPU())
	}
	return seconds
}

// settling is what processes have to start up and find their broker before the load begins.
const settling = time.Second

// load is one trial of sockload.
func (b *bench) load(ctx context.Context, addr, rate string) (results.Trial, error) {
	return sockload.Trial(ctx, filepath.Join(b.bin, "sockload"), "--target", "ws://"+addr+"/broadcast",
		"--connections", strconv.Itoa(b.connections), "--rate", rate,
		"--window", b.window.String(), "--cpus", strconv.Itoa(b.clientCPU))
}
