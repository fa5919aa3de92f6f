// Command sockload finds the rate at which a SockJS or WebSocket broadcast server saturates.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/internal/cli"
	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// Exit codes.
const (
	exitUsage   = 1
	exitSlower  = 2 // a comparison found a regression
	exitInvalid = 3 // the client or the machine was the limit
	exitTarget  = 4

	exitUnexpected = 5 // a trial did not meet what was expected (--expect)
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "sockload:", err)
	os.Exit(exitCode(err)) //nolint:gocritic // cancel has nothing left to do
}

func exitCode(err error) int {
	switch {
	case loadclient.IsTargetFailure(err):
		return exitTarget
	case errors.Is(err, errUnexpected):
		return exitUnexpected
	case errors.Is(err, errInvalid):
		return exitInvalid
	case errors.Is(err, errSlower):
		return exitSlower
	}
	return exitUsage
}

var errInterrupted = errors.New("interrupted; with --out, the same command goes on with the levels that are left")

var errInvalid = errors.New("the limit was not the server: give the load client more or quieter CPUs (--cpus)")

type commands struct {
	Version kong.VersionFlag `help:"Print the version."`

	Run       search    `cmd:"" default:"withargs" help:"Find the saturation point at each level of connections."`
	Trial     trial     `cmd:"" help:"Send at one rate and print what came of it."`
	Idle      idle      `cmd:"" help:"Open connections that do nothing: how many a second, at which cost."`
	Calibrate calibrate `cmd:"" help:"Find this client's own ceiling, with a broadcaster that does nothing but send."`
	Compare   comparing `cmd:"" help:"Compare two result files: ratios with their intervals."`
	Agent     agent     `cmd:"" help:"Open connections for a coordinator on another machine: run or trial with --agents."`
	Report    reporting `cmd:"" help:"Make one HTML file of results: table, charts, machine, verdict. No network."`
	Doctor    doctor    `cmd:"" help:"Print how this machine is set, and what to change for a measurement."`

	Completion cli.Completion `cmd:"" help:"Print a script with which a shell completes commands and flags."`
	Man        cli.Man        `cmd:"" help:"Print the man page."`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c commands
	left := false
	parser, err := kong.New(&c, kong.Name("sockload"),
		kong.Description("A load client for SockJS and WebSocket servers that send each message back as it was: "+
			"to everybody, to a room (--rooms), or to its sender (--echo)."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { left = true }), kong.DefaultEnvars("SOCKLOAD"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), targetHelp, commandHelp, exportsHelp, idleHelp,
		kong.Vars{
			"version": version.Own(),
			"target":  "ws://127.0.0.1:8080/broadcast", "protocols": strings.Join(results.Protocols(), ","),
			"profiles": strings.Join(loadclient.ProfileNames(), ","), "shapes": shapes(),
			"policies": string(results.Prompt) + "," + string(results.Relaxed),
		})
	if err != nil {
		return err
	}
	k, err := parser.Parse(args)
	if left { // --help has been answered
		return nil
	}
	if err != nil {
		return misused(err, args)
	}
	k.BindTo(ctx, (*context.Context)(nil))
	if err = k.Run(&console{out: stdout, err: stderr}); errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// misused says where the help for a command line stands that could not be read, and what was meant, if that can be
// told.
func misused(err error, args []string) error {
	hint := ""
	for _, a := range args {
		if strings.Contains(err.Error(), "unexpected argument") && strings.Contains(a, "://") {
			hint = "did you mean --target " + a + "? "
		}
	}
	command := "sockload"
	if e := (*kong.ParseError)(nil); errors.As(err, &e) {
		if n := e.Context.Selected(); n != nil {
			command += " " + n.Name
		}
	}
	return fmt.Errorf("%w; %ssee %s --help", err, hint, command)
}

// client has the flags that all measuring commands share.
type client struct {
	CPUs tuning.CPUs `help:"CPUs to run on, a worker each: 1-3, not the server's." name:"cpus" placeholder:"SET"`
}

// prepare raises the limits, for so many sockets, and moves the process to its CPUs, those of them that are there.
func (c *client) prepare(out *console, connections int) error {
	if err := loadclient.CheckDescriptors(connections); err != nil {
		return err
	}
	here, missing, err := tuning.Pin(c.CPUs)
	if err != nil {
		return fmt.Errorf("--cpus: %w", err)
	}
	if len(missing) > 0 {
		out.note("CPUs %s are not there; using %s", missing, here)
	}
	c.CPUs = here
	return nil
}

// target has the flags that the commands that load a server share.
type target struct {
	client
	Target        string `help:"${target_help}" default:"${target}" placeholder:"URL"`
	Protocol      string `help:"${protocols}." default:"sockjs" enum:"${protocols}"`
	Read          string `help:"${read_help}" default:"prompt" enum:"${policies}"`
	ServerPID     int    `help:"${pid_help}" name:"server-pid" placeholder:"PID"`
	ServerVersion string `help:"${server_version_help}" placeholder:"VERSION"`
	Block         int    `help:"${block_help}" placeholder:"N"`

	WorkUS float64 `help:"${work_us_help}" name:"work-us" placeholder:"US"`

	agents
	load

	CA          string   `help:"${ca_help}" name:"ca" placeholder:"FILE"`
	Insecure    bool     `help:"${insecure_help}"`
	Header      []string `help:"${header_help}" sep:"none" placeholder:"'NAME: VALUE'"`
	Cookie      []string `help:"${cookie_help}" sep:"none" placeholder:"NAME=VALUE"`
	Subprotocol []string `help:"${subprotocol_help}" sep:"none" placeholder:"NAME"`
	BearerFile  string   `help:"${bearer_help}" placeholder:"FILE"`

	SendFirst    []string `help:"${send_first_help}" sep:"none" placeholder:"TEXT"`
	Greeting     string   `help:"${greeting_help}" placeholder:"REGEXP"`
	Payload      string   `help:"${payload_help}" placeholder:"TEMPLATE"`
	PayloadBytes string   `help:"${payload_bytes_help}" placeholder:"SIZES"`
	Compress     bool     `help:"Have the server compress (permessage-deflate). One connection's frames are inflated, those of the others compared."`
}

// load is who sends to whom, and how much of what arrives is looked at.
type load struct {
	Verify     string `help:"${verify_help}" default:"all" enum:"all,sample"`
	Publishers int    `help:"Connections that send, of all that receive. Default: all." placeholder:"N"`
	Rooms      int    `help:"${rooms_help}" placeholder:"N"`
	Echo       bool   `help:"Each connection hears itself alone: rooms of one."`
}

// apply adds that to a level's configuration.
func (l *load) apply(c *loadclient.LevelConfig) error {
	if l.Echo && l.Rooms > 1 {
		return fmt.Errorf("--echo, --rooms %d: choose one", l.Rooms)
	}
	c.Verify, c.Publishers, c.Room = loadclient.Verify(l.Verify), l.Publishers, l.Rooms
	if l.Echo {
		c.Room = 1
	}
	return c.Check()
}

// targetHelp is what the flags of a target do.
var targetHelp = kong.Vars{
	"target_help": "URL of the broadcast service: ws, wss, http or https; a query and user:password@ are sent along.",
	"read_help": "When to read: prompt (at once) or relaxed (what gathers in a millisecond). " +
		"It changes the server's cost.",
	"pid_help": "Process of the server, to read its CPU time and memory. " +
		"Default: who listens, if it is on this machine.",
	"server_version_help": "Version of the server, for the records. " +
		"Default: that of its program, if it is on this machine and Go built it.",
	"block_help": "Number of the block, when servers are measured in turn: " +
		"only what has the same number is compared. Default: the one after those in --out.",
	"work_us_help": "What the check of the CPUs' speed takes at their full speed, in us: the least work_us of the " +
		"trials that this will be compared with. On slower CPUs a trial is NOISY. " +
		"Default: that of the last two minutes alone.",
	"verify_help": "all: compare every byte; sample: count every connection's bytes and compare those of a changing " +
		"share, for servers that one core cannot outread otherwise (protocol sockjs, without TLS).",
	"rooms_help": "Size of a room, if not all connections hear each other: " +
		"{room} in the target's path or query becomes the room's number, from 0 on.",
	"ca_help":          "Of wss and https: certificates in PEM to be trusted, beside the system's.",
	"insecure_help":    "Of wss and https: check no certificate. The results say so.",
	"header_help":      "Header of every request, such as 'X-Tenant: 7'. Repeat it for more.",
	"cookie_help":      "Cookie of every request. Repeat it for more.",
	"subprotocol_help": "Subprotocol to offer; the server must choose one that is. Repeat it for more.",
	"bearer_help":      "Tokens for 'Authorization: Bearer', one a line; connections take them in turn.",
	"send_first_help": "Message of each connection before anything is measured, such as a join. " +
		"{id} is the connection's number. Repeat it for more.",
	"greeting_help": "Messages that are not ours and are expected, such as a welcome or 'x joined': " +
		"not counted as foreign.",
	"payload_help": "What a message looks like: {id} and {time}, and {seq} and {pad} where they are wanted, " +
		"in any text. Default: {id}:{time}, as in 2011.",
	"payload_bytes_help": "Size of a message at least: 100, 100-2000 (evenly), p50=100,p99=4000, " +
		"or a file with a size and a weight a line. Default: as small as it may be.",
}

// sockets is how many TCP connections so many clients need.
func (t *target) sockets(connections int) int {
	return connections * loadclient.Sockets(results.Protocol(t.Protocol))
}

// provenance is what the records say of who made them.
func (t *target) provenance(c loadclient.LevelConfig) results.Provenance {
	return results.Provenance{
		ClientVersion: version.Own(),
		ServerVersion: cmp.Or(t.ServerVersion, c.Probe.Version(), results.UnknownVersion),
		Block:         max(t.Block, 1),
	}
}

// prepare does the same for a target, and says what of it is not as it should be.
func (t *target) prepare(out *console, sockets int) error {
	to, err := t.parse()
	if err != nil {
		return err
	}
	if to.Insecure() {
		out.note("--insecure: the certificate of %s is not checked", to.Addr)
	}
	if t.WorkUS != 0 && (!(t.WorkUS >= 1 && t.WorkUS <= 1e6) || len(t.CPUs) == 0) { // and no NaN
		return fmt.Errorf("--work-us %v: want a time in µs, 1 to 1000000, and the --cpus that it was measured on",
			t.WorkUS)
	}
	if len(t.Agents) > 0 {
		return t.checkAgents(t.CPUs)
	}
	return t.client.prepare(out, sockets)
}

// parse reads the target and what is wanted of it.
func (t *target) parse() (loadclient.Target, error) {
	to, err := loadclient.ParseTarget(t.Target, results.Protocol(t.Protocol))
	if err != nil {
		return to, err
	}
	return to, loadclient.TargetOptions{
		CA: t.CA, Insecure: t.Insecure, Headers: t.Header, Cookies: t.Cookie, Subprotocols: t.Subprotocol,
		BearerFile: t.BearerFile, SendFirst: t.SendFirst, Greeting: t.Greeting,
		Payload: t.Payload, PayloadBytes: t.PayloadBytes, Compress: t.Compress,
	}.Apply(&to)
}

func (t *target) level(connections int) (loadclient.LevelConfig, error) {
	to, err := t.parse()
	if err != nil {
		return loadclient.LevelConfig{}, err
	}
	c := loadclient.LevelConfig{
		Target: to, Connections: connections, CPUs: t.CPUs, IDBase: 1, Read: results.ReadPolicy(t.Read),
		Work: time.Duration(t.WorkUS * float64(time.Microsecond)),
	}
	if c.Agents, err = t.config(); err != nil {
		return c, err
	}
	if err := t.apply(&c); err != nil {
		return c, err
	}
	pid := t.ServerPID
	if pid == 0 {
		pid, _ = loadclient.FindListener(to.Addr)
	}
	if pid != 0 {
		c.Probe, err = loadclient.NewServerProbe(pid)
	}
	return c, err
}

// shapes lists how the calibrator's messages may come.
func shapes() string {
	var all []string
	for _, s := range results.Shapes {
		all = append(all, string(s))
	}
	return strings.Join(all, ",")
}
