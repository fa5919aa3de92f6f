// Command sockloop is a SockJS and WebSocket broadcast server.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/internal/cli"
	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
	"github.com/sockloop/sockloop/server/conformance"
	"github.com/sockloop/sockloop/server/demo"
	"github.com/sockloop/sockloop/tuning"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(os.Stderr, "sockloop:", line)
		}
		os.Exit(1)
	}
}

// startGCPercent is the garbage collector's pace until the server sets it: what starting it leaves behind is collected
// before it has spread over 4 MB, which the server's sessions would then share with it for good.
const startGCPercent = 25

type commands struct {
	Config  string           `help:"YAML file with flags, under the name of their command." placeholder:"FILE" type:"path"`
	Version kong.VersionFlag `help:"Print the version."`

	Serve      serve          `cmd:"" default:"withargs" help:"Serve broadcast at /broadcast, echo at /echo, and a page at /."`
	Check      check          `cmd:"" help:"Name all faults of flags, environment and file, and end with 1 if there are any. The flags are those of serve."`
	Settings   settings       `cmd:"" name:"config" help:"Print the configuration in force, and where each value comes from. The flags are those of serve."`
	Doctor     doctor         `cmd:"" help:"Print how this machine is set, and what to change for many connections."`
	Completion cli.Completion `cmd:"" help:"Print a script with which a shell completes commands and flags."`
	Man        cli.Man        `cmd:"" help:"Print the man page."`
}

// run reads the arguments and runs the command they name.
func run(args []string, stdout, stderr io.Writer) error {
	i, err := read(args, &streams{stdout, stderr})
	switch {
	case err != nil:
		return fmt.Errorf("%w; see sockloop --help", err)
	case i.left:
		return nil
	case len(i.faults) > 0 && i.context.Selected().Name != "check":
		return errors.Join(i.faults...)
	}
	return i.context.Run(i.to, i)
}

// streams are where a command writes: what it was asked for, and its log.
type streams struct{ out, err io.Writer }

// serve has the flags of the server. With the tag reload SIGHUP applies a changed value; field is the name of the field
// of server.Config, if it is not that of the flag.
type serve struct {
	Addr        string      `help:"Address to listen on." default:"127.0.0.1:8080"`
	CPU         tuning.CPUs `help:"CPU to run on, such as 0. One is all a loop can use." name:"cpu" placeholder:"SET"`
	SharePort   bool        `help:"Share the port with other sockloop processes: one process a core."`
	Conformance bool        `help:"Serve what the SockJS protocol's test suite expects: /echo, /disabled_websocket_echo, /cookie_needed_echo and /close, with a response limit of 4096 and messages of 16 MiB."`

	SockJS  sockJS      `embed:""`
	Admin   adminPlane  `embed:""`
	Broker  brokerFlags `embed:""`
	Proxies proxies     `embed:""`

	ConnectionsMax     int           `help:"Connections at a time. Default: what the descriptors allow." placeholder:"N" reload:""`
	SessionsMax        int           `help:"Sessions over HTTP at a time. Default: twice the connections." placeholder:"N" reload:""`
	MessageBytesMax    int           `help:"Largest message from a SockJS client. Default: ${default}." default:"65536" placeholder:"BYTES" reload:""`
	BodyBytesMax       int           `help:"Largest request body, which may be many messages. Default: 1048576, or the largest message." placeholder:"BYTES" reload:""`
	RawMessageBytesMax int           `help:"Largest message on a raw WebSocket. Default: ${default}." default:"65536" placeholder:"BYTES" reload:""`
	HandshakeTimeout   time.Duration `help:"Time to a whole request." default:"10s"`
	KeepAliveTimeout   time.Duration `help:"Time between two requests on a connection." default:"75s"`
	PongTimeout        time.Duration `help:"Time to answer a ping." default:"10s"`
	CloseTimeout       time.Duration `help:"Time to answer a close." default:"3s"`
	LogBytesMax        int           `help:"Size of a topic's log; it grows to four times that for readers that take something. Default: ${default}." default:"16777216" placeholder:"BYTES"`
	MemoryMax          size          `help:"All memory that is kept on behalf of clients, such as 256M or 1G: near it newcomers are refused, at it the largest holders are ended. Default: 256M, or a quarter of the machine's or cgroup's memory if that is less." placeholder:"SIZE" reload:"" field:"MemoryBytesMax"`
	Compress           bool          `help:"Let WebSocket clients have permessage-deflate: a batch is compressed once for all of them."`
	CompressLevel      int           `help:"1, the fastest, to 6, the smallest. Default: ${default}." default:"1" placeholder:"LEVEL"`
	CompressMin        int           `help:"Smallest batch that is compressed. Default: ${default}." default:"256" placeholder:"BYTES" field:"CompressBytesMin"`
	PublishRate        int           `help:"Messages a second of one session; whoever sends more is read more slowly. Default: no limit." placeholder:"N" reload:""`
	PublishBytes       size          `help:"Bytes a second of one session, likewise, such as 100K. Default: no limit." placeholder:"SIZE" reload:""`
	ReaderRate         size          `help:"Bytes a second of the slowest reader that a full log waits for, by reading its publishers more slowly. 0 waits for nobody. Default: ${default}." default:"4M" placeholder:"SIZE" field:"ReaderBytesPerSecond"`
	TurnBytesMax       size          `help:"What one turn publishes, as it is sent and counted for each subscriber: beyond it publishers wait for the next turn. Less is shorter round trips under overload, and less throughput. Default: ${default}." default:"256M" placeholder:"SIZE"`
	Gather             gather        `help:"How long messages are gathered after some have left, before the next leave, such as 5ms. 0 is until the turn ends; off sends each message at once, in a frame of its own, which is for comparisons." default:"0" placeholder:"TIME"`
	TurnTarget         time.Duration `help:"How long a turn of the loop may take: when turns take longer for --overload-after, newcomers are refused." default:"200ms" reload:""`
	P99                time.Duration `help:"Gather messages for as long as 99 of 100 still leave within this time, such as 50ms; instead of --gather." name:"p99" placeholder:"TIME" field:"GatherP99"`
	OverloadAfter      time.Duration `help:"How long more may be published than can be sent out before newcomers are refused." default:"1s" reload:""`
	DrainWindow        time.Duration `help:"Time over which a shutdown spreads its goodbyes." default:"1s"`
	SlowConsumer       string        `help:"What becomes of a reader that lags further: close or skip." default:"close" enum:"close,skip"`
	LogLevel           slog.Level    `help:"debug, info, warn or error." default:"info" reload:""`
	LogFormat          string        `help:"text, json, or auto: text on a terminal." default:"auto" enum:"auto,text,json"`
}

// sockJS are the options of sockjs-node, under its names.
type sockJS struct {
	Prefix          string        `help:"Path before that of every service and of the page, such as /chat." placeholder:"PATH"`
	ResponseLimit   int           `help:"Payload after which a streaming response ends and the client asks anew. Default: ${default}." default:"131072" placeholder:"BYTES"`
	HeartbeatDelay  time.Duration `help:"Silence before a heartbeat or ping." default:"25s"`
	DisconnectDelay time.Duration `help:"Time that a session over HTTP may be without a receiver." default:"5s"`
	SockjsURL       string        `name:"sockjs-url" help:"The client's script, for the iframe page. Default: the copy that the server has." placeholder:"URL"`
	WebSocket       bool          `name:"websocket" help:"Offer WebSocket, raw WebSocket included." default:"true" negatable:""`
	JSessionID      bool          `name:"jsessionid" help:"Set the cookie JSESSIONID, for load balancers that are sticky by it."`
	BaseURL         string        `name:"base-url" help:"URL that clients are told to use for the service." placeholder:"URL"`
	Transports      []string      `help:"Transports that are on: ${transports}. Default: all." placeholder:"NAME"`
	Origins         []string      `help:"Origins whose pages may use the services, such as https://example.com. Default: any." placeholder:"ORIGIN" reload:""`
}

func (o *sockJS) options() server.Options {
	return server.Options{
		ResponseLimit: o.ResponseLimit, HeartbeatDelay: o.HeartbeatDelay, DisconnectDelay: o.DisconnectDelay,
		SockJSURL: o.SockjsURL, NoWebSocket: !o.WebSocket, JSessionID: o.JSessionID, BaseURL: o.BaseURL,
		Transports: o.Transports, Origins: o.Origins,
	}
}

// Run serves until a signal ends it.
func (s *serve) Run(i *invocation) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	level := &slog.LevelVar{}
	level.Set(s.LogLevel)
	events := admin.NewEvents(logHandler(i.to.err, s.LogFormat, level))
	limited := newLimited(events)
	defer limited.Close()
	log := slog.New(limited)
	for _, name := range i.strayVariables() {
		log.Warn("a variable that looks like a flag's is none's, see sockloop serve --help", "name", name)
	}
	debug.SetGCPercent(startGCPercent)
	if !s.Admin.Pprof {
		runtime.MemProfileRate = 0 // a table of 1.4 MB, whose pages fill with every sample
	}
	descriptors, err := tuning.RaiseDescriptors()
	if err != nil {
		return err
	}
	c, err := i.check(s, log)
	if err != nil {
		return err
	}
	reloads := newReloader(i, s, c, log, level)
	if err := s.pin(log); err != nil {
		return err
	}
	if err := tuning.Background(); err != nil {
		log.Warn("other threads may interrupt the loop", "error", err)
	}
	srv, err := s.server(c)
	if err != nil {
		return plain(err)
	}
	room, err := demo.Mount(srv)
	if err != nil {
		return plain(err)
	}
	adminAddr, stopAdmin, err := s.Admin.start(srv, log, events)
	if err != nil {
		return err
	}
	defer stopAdmin()
	go room.Run(ctx)
	defer notify(srv, log)()
	go func() {
		select {
		case <-srv.Ready():
			c := srv.Config()
			addr := srv.Addr().String()
			log.Info("listening", "page", "http://"+addr+c.Prefix+"/", "addr", addr, "admin", adminAddr,
				"cpu", s.CPU.String(), "connections_max", c.ConnectionsMax, "descriptors", descriptors,
				"memory_bytes_max", c.MemoryBytesMax)
			reloads.run(ctx, srv, hangUps)
		case <-ctx.Done():
		}
	}()
	debug.FreeOSMemory()
	if err := srv.Run(ctx); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port of %s is in use: stop the other server, choose another with --addr, or share it "+
				"with --share-port", s.Addr)
		}
		return plain(err)
	}
	logBroker(log, srv)
	logStopped(log, srv.FinalStats())
	return nil
}

// logStopped says at the end what the server did.
func logStopped(log *slog.Logger, st server.Stats) {
	log.Info("stopped", "sessions_opened", st.SessionsOpened, "connections_accepted", st.ConnectionsAccepted,
		"messages_received", st.MessagesReceived, "messages_published", st.MessagesPublished,
		"messages_delivered", st.MessagesDelivered, "bytes_received", st.BytesReceived, "bytes_sent", st.BytesSent,
		"turns", st.Turns, "slow_consumers_closed", st.SlowConsumersClosed,
		"slow_consumers_skipped", st.SlowConsumersSkipped, "refused_for_memory", st.RefusedForMemory,
		"refused_for_load", st.RefusedForLoad, "protocol_errors", st.ProtocolErrors,
		"handler_panics", st.HandlerPanics)
}

// config is what the flags say of the server.
func (s *serve) config(log *slog.Logger) server.Config {
	c := server.Config{
		Addr: s.Addr, Prefix: s.SockJS.Prefix, Options: s.SockJS.options(), SharePort: s.SharePort,
		ConnectionsMax: s.ConnectionsMax, SessionsMax: s.SessionsMax,
		MessageBytesMax: s.MessageBytesMax, RawMessageBytesMax: s.RawMessageBytesMax, BodyBytesMax: s.BodyBytesMax,
		HandshakeTimeout: s.HandshakeTimeout, KeepAliveTimeout: s.KeepAliveTimeout,
		PongTimeout: s.PongTimeout, CloseTimeout: s.CloseTimeout,
		MemoryBytesMax: int(s.MemoryMax), LogBytesMax: s.LogBytesMax,
		Compress: s.Compress, CompressLevel: s.CompressLevel, CompressBytesMin: s.CompressMin,
		PublishRate: s.PublishRate, PublishBytes: int(s.PublishBytes),
		ReaderBytesPerSecond: cmp.Or(int(s.ReaderRate), -1), SlowConsumer: server.SlowConsumer(s.SlowConsumer),
		TurnBytesMax: int(s.TurnBytesMax), OverloadAfter: s.OverloadAfter, TurnTarget: s.TurnTarget, GatherP99: s.P99,
		DrainWindow: s.DrainWindow,
		Logger:      log,
	}
	if c.Gather = time.Duration(s.Gather); s.Gather == gatherOff {
		c.Gather, c.BatchBytesMax = 0, 1
	}
	s.Proxies.configure(&c)
	if s.Conformance {
		conformance.Configure(&c)
	}
	return c
}

// fillIn takes over what the flags left open, or --conformance has set.
func (s *serve) fillIn(c server.Config) {
	s.ConnectionsMax, s.SessionsMax, s.BodyBytesMax = c.ConnectionsMax, c.SessionsMax, c.BodyBytesMax
	s.MessageBytesMax, s.RawMessageBytesMax = c.MessageBytesMax, c.RawMessageBytesMax
	s.MemoryMax = size(c.MemoryBytesMax)
	s.SockJS.ResponseLimit, s.SockJS.Transports = c.ResponseLimit, c.Transports
}

// server makes the server with its services.
func (s *serve) server(c server.Config) (*server.Server, error) {
	var err error
	if c.Broker, err = s.Broker.broker(c.Logger); err != nil {
		return nil, err
	}
	srv, err := server.New(c)
	if err != nil {
		return nil, err
	}
	if s.Conformance {
		return srv, conformance.Handle(srv)
	}
	return srv, errors.Join(
		srv.Handle("/broadcast", srv.Broadcast()),
		srv.Handle("/echo", server.Echo()),
	)
}

// plain takes the package's name off an error: the command's own stands before it.
func plain(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "server: "))
}

// pin keeps the process on its CPUs.
func (s *serve) pin(log *slog.Logger) error {
	here, missing, err := tuning.Pin(s.CPU)
	if err != nil {
		return fmt.Errorf("--cpu: %w", err)
	}
	if len(missing) > 0 {
		log.Warn("some CPUs are not there; using the others", "missing", missing.String(), "using", here.String())
	}
	s.CPU = here
	return nil
}

type doctor struct{}

// Run prints the report.
func (doctor) Run(to *streams) error { return tuning.Examine().Print(to.out) }
