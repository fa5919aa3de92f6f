package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/tuning"
)

// SlowConsumer is what becomes of a session that falls off the end of a topic's log.
type SlowConsumer string

const (
	SlowConsumerClose SlowConsumer = "close" // its connection is closed
	SlowConsumerSkip  SlowConsumer = "skip"  // it misses what is published until it can take something; that is counted
)

// Config holds the bounds of a server that can be set; a zero field stands for the default of DefaultConfig.
type Config struct {
	Addr string // TCP address to listen on, host:port; port 0 takes a free one

	// Prefix stands before the path of every service and page, as in "/chat"; empty by default.
	Prefix string

	// Options are the services' own, unless Handle is told otherwise for one of them.
	Options

	// SharePort lets other processes of the same user listen on the same port and share the connections
	// (SO_REUSEPORT): how one process a core is run. Without it a port in use is an error.
	SharePort bool

	ConnectionsMax      int // connections at a time; beyond it they are answered 503 and closed
	SessionsMax         int // sessions over HTTP at a time, which outlive their connections; beyond it 503
	DescriptorsReserved int // descriptors that are not for connections: ConnectionsMax may not touch them
	RequestHeadBytesMax int // size of a request head; beyond it 431
	RequestHeadersMax   int // header lines of a request; beyond it 431
	// MessageBytesMax bounds one message from a SockJS client, in its JSON form, or one WebSocket frame of several;
	// beyond it close code 1009, over HTTP 413.
	MessageBytesMax int
	// BodyBytesMax bounds one request body, in which a client sends everything that waited for the last; beyond it 413.
	BodyBytesMax       int
	RawMessageBytesMax int           // one message on the raw WebSocket endpoint; beyond it close code 1009
	HandshakeTimeout   time.Duration // from the connect, or the first byte of a request or PROXY header, to its last
	KeepAliveTimeout   time.Duration // from a response to the first byte of the next request
	PongTimeout        time.Duration // from a ping to the next sign of life
	CloseTimeout       time.Duration // from our close frame, or last response, to the peer's end
	FrameBytesMax      int           // elements of one outgoing frame, unless a single message is longer
	BatchBytesMax      int           // messages of one turn; beyond it they leave within the turn
	// TurnBytesMax bounds what one turn publishes, as it is sent and counted for each subscriber; beyond it publishers
	// wait for the next.
	TurnBytesMax int
	// TurnTarget is how long a turn may take: a loop whose turns take longer for OverloadAfter takes no newcomers,
	// until they take less than four fifths of it.
	TurnTarget time.Duration
	// Gather is how long the messages of a topic are gathered after some have left, before the next leave; the first
	// after a pause leaves at once, and so does a batch of BatchBytesMax. With 0 they leave when the turn ends; then
	// the loop is busy all the time from some hundred thousand deliveries a second on, with nearly empty batches. More
	// buys CPU with latency. Topics may differ: TopicOptions.
	Gather time.Duration
	// GatherP99 has topics gather as long as they can while 99 of 100 messages leave within that time of their arrival:
	// what is left of it when the turns of the last second are taken off. It replaces Gather; 0 is off.
	GatherP99   time.Duration
	LogBytesMax int // log of one topic and wire
	// OutboxBytesMax is what waits for one session alone; beyond it the session is a slow consumer. Default: 1 MiB, or
	// four of the largest message if that is more.
	OutboxBytesMax int
	// UnsentBytesMax is what the kernel holds unsent for one connection (TCP_NOTSENT_LOWAT); the rest stays in the log.
	UnsentBytesMax int
	MailboxMax     int // functions posted and not yet run

	// MemoryBytesMax bounds the sum of everything that is kept on behalf of clients. From seven eighths of it on
	// newcomers are refused; beyond it the largest holders are ended. Default: 256 MiB, or a quarter of the memory of
	// the machine or its cgroup if that is less.
	MemoryBytesMax int

	// Compress lets WebSocket clients that offer it have permessage-deflate (RFC 7692): a batch is compressed once for
	// all of them, if it has CompressBytesMin bytes, with CompressLevel: 1, the fastest, to 6. Messages to one session
	// alone are not compressed.
	Compress         bool
	CompressLevel    int
	CompressBytesMin int

	PublishRate  int // messages a second of one session, 0 is no limit: whoever sends more is not read until it may
	PublishBytes int // bytes a second of one session, likewise

	// ReaderBytesPerSecond is the pace of the slowest reader that a full log waits for, by not reading its publishers;
	// readers that are slower, or stalled, are slow consumers. Where there are more than 128 readers, each has to take
	// its part of 512 MiB/s only. Default: 4 MiB/s. A negative one waits for nobody.
	ReaderBytesPerSecond int

	// OverloadAfter is for how long sessions may publish more than the loop can send out, without a pause, before
	// newcomers are refused. What is too much waits unread; open sessions that publish nothing are not slowed.
	OverloadAfter time.Duration

	// TrustedProxies are the addresses whose word is believed about whom they speak for: in X-Forwarded-For, of which
	// the last address that is not among them is the client's, and in PROXY headers. Nobody else's is.
	TrustedProxies []netip.Prefix
	// ProxyProtocol has each connection from one of them begin with a header of the PROXY protocol, version 1 or 2; one
	// that does not is cut. Connections from elsewhere begin with HTTP.
	ProxyProtocol bool

	DrainWindow  time.Duration // over which a shutdown spreads its goodbyes
	SlowConsumer SlowConsumer

	// Broker carries the topics of this process to others, which have the same topics by name; nil by default. Its
	// server opens and closes it.
	Broker Broker

	Logger *slog.Logger // nil is silent
}

// RawMessageBytesLimit is the most that RawMessageBytesMax can be set to.
const RawMessageBytesLimit = 16 << 20

// DefaultConfig is the configuration with every bound at its default; the reasons stand in ARCHITECTURE.md.
// ConnectionsMax is what the descriptors of the process allow.
func DefaultConfig() Config {
	return Config{
		Addr:                "127.0.0.1:8080",
		DescriptorsReserved: 256,
		RequestHeadBytesMax: 8 << 10,
		RequestHeadersMax:   64,
		MessageBytesMax:     64 << 10,
		RawMessageBytesMax:  64 << 10,
		BodyBytesMax:        1 << 20,
		HandshakeTimeout:    10 * time.Second,
		KeepAliveTimeout:    75 * time.Second,
		Options:             DefaultOptions(),
		PongTimeout:         10 * time.Second,
		CloseTimeout:        3 * time.Second,
		FrameBytesMax:       64 << 10,
		BatchBytesMax:       1 << 20,
		TurnBytesMax:        256 << 20,
		LogBytesMax:         16 << 20,
		OutboxBytesMax:      1 << 20,
		UnsentBytesMax:      128 << 10,
		MailboxMax:          64 << 10,
		MemoryBytesMax:      defaultBudget(tuning.Memory()),
		CompressLevel:       1,
		CompressBytesMin:    256,
		OverloadAfter:       time.Second,
		TurnTarget:          200 * time.Millisecond,
		DrainWindow:         time.Second,
		SlowConsumer:        SlowConsumerClose,

		ReaderBytesPerSecond: 4 << 20,
	}
}

// ConfigError is one fault of a configuration.
type ConfigError struct {
	Field string // of Config or Options
	Fault string // what is wrong with it, and what is wanted
}

// Error is the fault after the name of the package.
func (e *ConfigError) Error() string { return "server: " + e.Fault }

// faults are those that were found, each a ConfigError.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, &ConfigError{Field: field, Fault: fmt.Sprintf(format, args...)})
}

// WithDefaults fills the zero fields and checks all. The error joins every fault, each of them a *ConfigError.
func (c Config) WithDefaults() (Config, error) {
	d := DefaultConfig()
	c.Addr = cmp.Or(c.Addr, d.Addr)
	c.SlowConsumer = cmp.Or(c.SlowConsumer, d.SlowConsumer)
	c.ReaderBytesPerSecond = cmp.Or(c.ReaderBytesPerSecond, d.ReaderBytesPerSecond)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.fillIn()
	var f faults
	c.fillSizes(&d, &f)
	c.fillTimes(&d, &f)
	if c.SessionsMax == 0 {
		c.SessionsMax = max(2*c.ConnectionsMax, 1)
	}
	c.check(&f)
	return c, errors.Join(f...)
}

// fillSizes gives the numbers that are zero their defaults and checks the others.
func (c *Config) fillSizes(d *Config, faults *faults) {
	connectionsMax := descriptors() - cmp.Or(c.DescriptorsReserved, d.DescriptorsReserved)
	largest := min(max(c.MessageBytesMax, c.RawMessageBytesMax), RawMessageBytesLimit)
	for _, f := range []struct {
		name     string
		n        *int
		def, max int
	}{
		{"DescriptorsReserved", &c.DescriptorsReserved, d.DescriptorsReserved, 1 << 30},
		{"ConnectionsMax", &c.ConnectionsMax, connectionsMax, 1 << 30},
		{"RequestHeadBytesMax", &c.RequestHeadBytesMax, d.RequestHeadBytesMax, 1 << 20},
		{"RequestHeadersMax", &c.RequestHeadersMax, d.RequestHeadersMax, 1 << 16},
		{"MessageBytesMax", &c.MessageBytesMax, d.MessageBytesMax, RawMessageBytesLimit},
		{"RawMessageBytesMax", &c.RawMessageBytesMax, d.RawMessageBytesMax, RawMessageBytesLimit},
		{"BodyBytesMax", &c.BodyBytesMax, min(max(d.BodyBytesMax, c.MessageBytesMax), 1<<30), 1 << 30},
		{"FrameBytesMax", &c.FrameBytesMax, d.FrameBytesMax, 1 << 30},
		{"BatchBytesMax", &c.BatchBytesMax, d.BatchBytesMax, 1 << 30},
		{"TurnBytesMax", &c.TurnBytesMax, d.TurnBytesMax, 1 << 50},
		{"LogBytesMax", &c.LogBytesMax, d.LogBytesMax, 1 << 40},
		{"OutboxBytesMax", &c.OutboxBytesMax, max(d.OutboxBytesMax, 4*largest), 1 << 40},
		{"UnsentBytesMax", &c.UnsentBytesMax, d.UnsentBytesMax, 1 << 30},
		{"MailboxMax", &c.MailboxMax, d.MailboxMax, 1 << 30},
		{"MemoryBytesMax", &c.MemoryBytesMax, d.MemoryBytesMax, 1 << 50},
		{"CompressLevel", &c.CompressLevel, d.CompressLevel, codec.DeflateLevelMax},
		{"CompressBytesMin", &c.CompressBytesMin, d.CompressBytesMin, 1 << 30},
	} {
		if *f.n == 0 {
			*f.n = f.def
		}
		if *f.n < 1 || *f.n > f.max {
			faults.add(f.name, "%s is %d, want 1 to %d", f.name, *f.n, f.max)
		}
	}
}

// fillTimes does the same for times.
func (c *Config) fillTimes(d *Config, faults *faults) {
	for _, f := range []struct {
		name string
		d    *time.Duration
		def  time.Duration
	}{
		{"HandshakeTimeout", &c.HandshakeTimeout, d.HandshakeTimeout},
		{"KeepAliveTimeout", &c.KeepAliveTimeout, d.KeepAliveTimeout},
		{"PongTimeout", &c.PongTimeout, d.PongTimeout},
		{"CloseTimeout", &c.CloseTimeout, d.CloseTimeout},
		{"DrainWindow", &c.DrainWindow, d.DrainWindow},
		{"OverloadAfter", &c.OverloadAfter, d.OverloadAfter},
		{"TurnTarget", &c.TurnTarget, d.TurnTarget},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
		if *f.d < time.Millisecond {
			faults.add(f.name, "%s is %v, want at least 1ms", f.name, *f.d)
		}
	}
}

// check looks at what is neither a plain number nor a time.
func (c *Config) check(f *faults) {
	if c.SlowConsumer != SlowConsumerClose && c.SlowConsumer != SlowConsumerSkip {
		f.add("SlowConsumer", "SlowConsumer is %q, want %q or %q", c.SlowConsumer, SlowConsumerClose, SlowConsumerSkip)
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		f.add("Addr", "address %q: want host:port, as in 127.0.0.1:8080", c.Addr)
	}
	if c.Prefix != "" && (!legalPath(c.Prefix) || strings.HasSuffix(c.Prefix, "/")) {
		f.add("Prefix", "prefix %q: want a path such as /chat", c.Prefix)
	}
	if c.SessionsMax < 1 {
		f.add("SessionsMax", "SessionsMax is %d, want at least 1", c.SessionsMax)
	}
	c.Options.check(f)
	c.checkProxies(f)
	if c.LogBytesMax > 0 && c.LogBytesMax < 2*c.BatchBytesMax {
		f.add("LogBytesMax", "LogBytesMax is %d, want at least twice BatchBytesMax (%d), or one turn alone "+
			"would evict its readers", c.LogBytesMax, c.BatchBytesMax)
	}
	if c.Gather < 0 || c.Gather > gatherMax {
		f.add("Gather", "Gather is %v, want 0 to %v", c.Gather, gatherMax)
	}
	if c.GatherP99 < 0 || c.GatherP99 > gatherMax || c.Gather > 0 && c.GatherP99 > 0 {
		f.add("GatherP99", "GatherP99 is %v and Gather %v, want one of them, up to %v",
			c.GatherP99, c.Gather, gatherMax)
	}
	if c.PublishRate < 0 {
		f.add("PublishRate", "PublishRate is %d, want 0 (no limit) or more", c.PublishRate)
	}
	if c.PublishBytes < 0 {
		f.add("PublishBytes", "PublishBytes is %d, want 0 (no limit) or more", c.PublishBytes)
	}
	have := descriptors()
	if c.ConnectionsMax > 0 && c.ConnectionsMax <= 1<<30 && c.ConnectionsMax > have-c.DescriptorsReserved {
		f.add("ConnectionsMax", "%d connections and %d reserved descriptors do not fit the limit of %d open files: "+
			"raise it (ulimit -n %d) or configure fewer connections",
			c.ConnectionsMax, c.DescriptorsReserved, have, c.ConnectionsMax+c.DescriptorsReserved)
	}
}

// gatherMax is the longest that messages may be gathered.
const gatherMax = time.Minute

// descriptors is the soft limit of open files.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 1 << 30
	}
	return int(l.Cur)
}

// defaultBudget is the default of MemoryBytesMax where there is so much memory, if that is known.
func defaultBudget(memory int, err error) int {
	const plenty = 256 << 20
	if err != nil {
		return plenty
	}
	return min(plenty, memory/4)
}
