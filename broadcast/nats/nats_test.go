package nats

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/natstest"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// process is a broker and what it was handed.
type process struct {
	*Broker
	t       *testing.T
	batches chan string // topic and payload
}

// queueBytesMax is what a broker may have waiting, unless a test is about it.
const queueBytesMax = 8 << 20

// open runs a broker until the test ends, and waits until it is connected.
func open(t *testing.T, c Config) *process {
	t.Helper()
	p := begin(t, c)
	p.connectedAgain()
	return p
}

// begin runs a broker until the test ends.
func begin(t *testing.T, c Config) *process {
	t.Helper()
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{b, t, make(chan string, 1000)}
	if err := b.Open(p.receive, queueBytesMax); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.close() }) // tests that are about it look at its error
	return p
}

func (p *process) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.Close(ctx)
}

// receive takes what a server would take.
func (p *process) receive(topic string, batch []byte) (int, error) {
	var a codec.Array
	if err := a.Begin(batch); err != nil {
		return 0, err
	}
	n := 0
	for a.Next() != nil {
		n++
	}
	select {
	case p.batches <- topic + " " + string(batch):
		return n, nil
	default:
		return 0, errors.New("full")
	}
}

func (p *process) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		select {
		case got := <-p.batches:
			if got != w {
				p.t.Fatalf("got %.100s, want %.100s", got, w)
			}
		case <-time.After(patience):
			p.t.Fatalf("%s does not come: %+v", w, p.Stats())
		}
	}
}

func (p *process) eventually(what string, ok func(broadcast.BrokerStats) bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(p.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s: %+v", what, p.Stats())
		}
	}
}

func (p *process) connectedAgain() {
	p.t.Helper()
	p.eventually("connected", func(st broadcast.BrokerStats) bool { return st.Connected })
}

func (p *process) connection() *nats.Conn {
	p.following.Lock()
	defer p.following.Unlock()
	return p.conn
}

// follows subscribes, and waits until the server knows.
func (p *process) follows(topic string) {
	p.t.Helper()
	p.Subscribe(topic)
	p.eventually("subscribed", func(broadcast.BrokerStats) bool {
		p.following.Lock()
		defer p.following.Unlock()
		return p.subscriptions[topic] != nil
	})
	if err := p.connection().FlushTimeout(patience); err != nil {
		p.t.Fatal(err)
	}
}

// publish publishes a batch.
func (p *process) publish(topic string, texts ...string) {
	p.Publish(topic, batchOf(texts...))
}

func batchOf(texts ...string) (b codec.Batch) {
	for _, text := range texts {
		m := codec.Text([]byte(text))
		b.Append(&m)
	}
	return b
}

func TestBatchesReachTheOthers(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a := open(t, Config{URL: s.URL(), Prefix: "x."})
	b := open(t, Config{URL: s.URL(), Prefix: "x."})
	other := open(t, Config{URL: s.URL(), Prefix: "y."})
	for _, p := range []*process{a, b, other} {
		p.follows("room")
	}
	b.follows("a b")
	a.publish("room", "1", `"é"`)
	a.publish("nobody", "listens")
	b.expect(`room ["1","\"é\""]`)
	a.publish("a b", "2")
	b.publish("room", "3")
	b.expect(`a b ["2"]`)
	a.expect(`room ["3"]`) // and not its own
	for _, p := range []*process{a, b} {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}
	if len(a.batches)+len(b.batches)+len(other.batches) > 0 {
		t.Errorf("%d, %d and %d batches more", len(a.batches), len(b.batches), len(other.batches))
	}
	st := a.Stats()
	if st.BatchesOut != 3 || st.MessagesOut != 4 || st.BytesOut != uint64(len(`["1","\"é\""]["listens"]["2"]`)) ||
		st.BatchesIn != 1 || st.MessagesIn != 1 || st.BytesIn != uint64(len(`["3"]`)) || st.Disconnects != 0 {
		t.Errorf("%+v", st)
	}
}

func TestUnsubscribedTopicsAreSilent(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	b.follows("one")
	b.follows("two")
	b.Subscribe("one") // again is nothing
	b.Unsubscribe("one")
	b.eventually("unsubscribed", func(broadcast.BrokerStats) bool {
		b.following.Lock()
		defer b.following.Unlock()
		return b.subscriptions["one"] == nil
	})
	if err := b.connection().FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	a.publish("one", "1")
	a.publish("two", "2")
	b.expect(`two ["2"]`)
}

// What is larger than the server takes is split; a message that alone is, is not sent.
func TestLargeBatchesAreSplit(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, "-c", config(t, "max_payload: 1024"))
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	b.follows("t")
	x, y := strings.Repeat("x", 600), strings.Repeat("y", 600)
	fits := strings.Repeat("z", 1024-len(`[""]`))
	a.publish("t", x, y, strings.Repeat("n", 1021), fits, "last")
	b.expect(`t ["`+x+`"]`, `t ["`+y+`"]`, `t ["`+fits+`"]`, `t ["last"]`)
	a.eventually("counted", func(st broadcast.BrokerStats) bool {
		return st.MessagesNotSent == 1 && st.MessagesOut == 4 && st.BatchesOut == 4
	})
	if st := a.Stats(); !strings.Contains(st.LastError, "max_payload") {
		t.Errorf("%+v", st)
	}
	half := strings.Repeat("h", 1022/2-len(`""`))
	a.publish("t", half, half) // with brackets and a comma it is a byte too much
	b.expect(`t ["`+half+`"]`, `t ["`+half+`"]`)
	a.publish(strings.Repeat("n", subjectBytesMax+1), "to a name that is too long")
	a.eventually("counted", func(st broadcast.BrokerStats) bool { return st.MessagesNotSent == 2 })
}

func TestWhatCannotBeTakenIsCounted(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	b.follows("t")
	for _, bad := range []string{"{}", `["a"`, "\xff", `["a",1]`} {
		if err := a.connection().Publish("t", []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("malformed", func(st broadcast.BrokerStats) bool { return st.BatchesMalformed == 4 })
	for range cap(b.batches) + 1 {
		if err := a.connection().Publish("t", []byte(`["x"]`)); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("dropped", func(st broadcast.BrokerStats) bool {
		return st.BatchesDropped == 1 && st.BatchesIn == uint64(cap(b.batches))
	})
}

// What comes faster than it is received is dropped and counted, also when the subscription has ended.
func TestWhatIsReadTooFastIsCounted(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	for _, end := range []string{"", "unsubscribe", "close"} {
		a := open(t, Config{URL: s.URL()})
		b, err := New(Config{URL: s.URL()})
		if err != nil {
			t.Fatal(err)
		}
		goOn := make(chan struct{})
		p := &process{b, t, make(chan string, 1000)}
		if err := b.Open(func(topic string, batch []byte) (int, error) {
			<-goOn
			return p.receive(topic, batch)
		}, queueBytesMax); err != nil {
			t.Fatal(err)
		}
		p.follows("t")
		large := strings.Repeat("x", 1_000_000)
		for range 20 {
			a.publish("t", large)
			a.eventually("taken", func(broadcast.BrokerStats) bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return len(a.queue) == 0
			})
		}
		a.eventually("sent", func(st broadcast.BrokerStats) bool { return st.BatchesOut == 20 })
		if err := p.connection().FlushTimeout(patience); err != nil { // everything has been read
			t.Fatal(err)
		}
		close(goOn)
		p.eventually("received", func(st broadcast.BrokerStats) bool { return st.BatchesIn+st.BatchesDropped == 20 })
		switch end {
		case "unsubscribe":
			p.Unsubscribe("t")
			p.eventually("unsubscribed", func(broadcast.BrokerStats) bool {
				p.following.Lock()
				defer p.following.Unlock()
				return len(p.subscriptions) == 0
			})
		case "close":
			if err := p.close(); err != nil {
				t.Error(err)
			}
		}
		if st := p.Stats(); st.BatchesDropped == 0 || st.BatchesIn+st.BatchesDropped != 20 {
			t.Errorf("%s: %+v", end, st)
		}
		_ = p.close()
	}
}

// While the server is away nothing waits; what was published then is counted, and does not come later.
func TestServerGoesAndComesBack(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	b.follows("t")
	a.publish("t", "before")
	b.expect(`t ["before"]`)
	a.eventually("sent", func(st broadcast.BrokerStats) bool { return st.MessagesOut == 1 })
	s.Kill()
	for _, p := range []*process{a, b} {
		p.eventually("lost", func(st broadcast.BrokerStats) bool { return !st.Connected && st.Disconnects == 1 })
	}
	a.publish("t", "into", "nothing")
	a.eventually("not sent", func(st broadcast.BrokerStats) bool { return st.MessagesNotSent == 2 })
	a.eventually("told", func(st broadcast.BrokerStats) bool { return strings.Contains(st.LastError, "connecting") })
	since := a.Stats().Since
	s.Restart()
	a.connectedAgain()
	b.connectedAgain()
	if err := b.connection().FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	a.publish("t", "after")
	b.expect(`t ["after"]`)
	if st := a.Stats(); !st.Since.After(since) || st.MessagesUnconfirmed != 0 {
		t.Errorf("%+v, disconnected since %v", st, since)
	}
}

// A broker that starts before its server serves, and connects when that is there.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	s.Kill()
	a := begin(t, Config{URL: s.URL()})
	if a.Stats().Connected {
		t.Error("it is connected to nothing")
	}
	a.Subscribe("t")
	s.Restart()
	a.connectedAgain()
	b := open(t, Config{URL: s.URL()})
	for heard := false; !heard; {
		b.publish("t", "x") // a's subscription may not have come yet
		select {
		case <-a.batches:
			heard = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if st := a.Stats(); st.Disconnects != 0 {
		t.Errorf("%+v", st)
	}
}

// An error from the server that the client does not know ends the connection: there is another, with what the first
// was subscribed to.
func TestConnectionsThatTheClientEndsAreMadeAgain(t *testing.T) {
	t.Parallel()
	file := config(t, "max_payload: 20000")
	s := natstest.Start(t, "-c", file)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	a.follows("back")
	b.follows("t")
	if err := os.WriteFile(file, []byte("max_payload: 2000"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	large := strings.Repeat("x", 10_000)
	a.eventually("ended", func(st broadcast.BrokerStats) bool {
		if st.Disconnects == 0 {
			a.publish("large", large)
		}
		return st.Disconnects == 1 && strings.Contains(st.LastError, "aximum Payload Violation")
	})
	a.connectedAgain()
	a.eventually("subscribed", func(broadcast.BrokerStats) bool {
		a.following.Lock()
		defer a.following.Unlock()
		return a.subscriptions["back"] != nil
	})
	if err := a.connection().FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	a.publish("t", "again")
	b.expect(`t ["again"]`)
	b.publish("back", "heard")
	a.expect(`back ["heard"]`)
}

// What cannot be subscribed to is wanted still.
func TestSubscriptionsThatFailAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	a.follows("one")
	a.connection().Close()
	a.Subscribe("two")
	a.eventually("subscribed", func(broadcast.BrokerStats) bool {
		a.following.Lock()
		defer a.following.Unlock()
		return a.conn != nil && !a.conn.IsClosed() && len(a.subscriptions) == 2
	})
	if err := a.connection().FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	b.publish("two", "heard")
	a.expect(`two ["heard"]`)
}

// Servers that accept connections and say nothing hold up neither the start nor the end.
func TestOpenAndCloseDoNotWaitForServers(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing is lost
	b, err := New(Config{URL: strings.Repeat("nats://"+ln.Addr().String()+",", 7) + "nats://" + ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	p := &process{b, t, nil}
	if err := b.Open(p.receive, queueBytesMax); err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept() // it is connecting
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // likewise
	p.publish("t", "x")
	p.eventually("not sent", func(st broadcast.BrokerStats) bool { return st.MessagesNotSent == 1 })
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
	if took := time.Since(begun); took >= connectTimeout {
		t.Errorf("it took %v", took)
	}
}

// Of a cluster another server takes over when one is gone, and what is published there reaches everybody.
func TestClusterGoesOnWithoutOneServer(t *testing.T) {
	t.Parallel()
	const cluster = "cluster { name: c, host: 127.0.0.1, port: -1, routes: [%s] }\n"
	first := natstest.Start(t, "-c", config(t, fmt.Sprintf(cluster, "")))
	second := natstest.Start(t, "-c", config(t, fmt.Sprintf(cluster, first.RouteURL())))
	a := open(t, Config{URL: first.URL()}) // it learns of the other from this one
	b := open(t, Config{URL: second.URL()})
	b.follows("t")
	for heard := false; !heard; { // until the servers know each other, and who subscribes
		a.publish("t", "before")
		select {
		case got := <-b.batches:
			heard = got == `t ["before"]`
		case <-time.After(50 * time.Millisecond):
		}
	}
	first.Kill()
	a.eventually("with the other", func(st broadcast.BrokerStats) bool {
		return st.Connected && st.Disconnects > 0 && a.connection().ConnectedUrl() == second.URL()
	})
	a.publish("t", "after")
	for got := ""; got != `t ["after"]`; {
		select {
		case got = <-b.batches:
		case <-time.After(patience):
			t.Fatal("what was published is not heard")
		}
	}
}

// A server that takes what it is sent and answers nothing is given up, and what it was sent is not counted as sent.
func TestServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s.Addr)
	a := open(t, Config{URL: "nats://" + proxy.Addr, roundTimeout: 50 * time.Millisecond, pingInterval: time.Hour})
	a.connectedAgain()
	proxy.Hold()
	a.publish("t", "1", "2")
	a.eventually("given up", func(st broadcast.BrokerStats) bool {
		return st.MessagesUnconfirmed == 2 && st.Disconnects == 1 && st.MessagesOut == 0
	})
	proxy.Release()
	a.connectedAgain()
}

// What was published and is not confirmed is bounded, with all that it takes; what waits for one topic is one batch.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	const more, first = len(`""`) + 9, len(`""`) + 9 + outgoingCost + len("t")
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s.Addr)
	a := open(t, Config{URL: "nats://" + proxy.Addr})
	a.queueBytesMax = 2*first + 2*more + more - 1
	b := open(t, Config{URL: s.URL()})
	b.follows("t")
	proxy.Hold()
	a.publish("t", "")
	a.eventually("taken", func(broadcast.BrokerStats) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.queue) == 0
	})
	for range 4 {
		a.publish("t", "")
	}
	if st := a.Stats(); st.MessagesNotSent != 1 || st.QueueBytes != 2*first+2*more { // the round and three more fit
		t.Errorf("%+v", st)
	}
	proxy.Release()
	b.expect(`t [""]`, `t ["","",""]`)
	a.eventually("sent", func(st broadcast.BrokerStats) bool { return st.MessagesOut == 4 && st.BatchesOut == 2 })
	a.eventually("free", func(broadcast.BrokerStats) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.bytes == 0
	})
}

// Whoever asks for the state need not wait until the broker is opened.
func TestStatsBeforeOpen(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b, err := New(Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if st := b.Stats(); st.Since.IsZero() || st.Connected {
		t.Errorf("%+v", st)
	}
	p := &process{b, t, make(chan string, 1)}
	asked := make(chan struct{})
	go func() { defer close(asked); b.Stats() }()
	if err := b.Open(p.receive, queueBytesMax); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// Close sends what was published before, and gives up when it may not wait any longer.
func TestCloseSendsEverything(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a, b := open(t, Config{URL: s.URL()}), open(t, Config{URL: s.URL()})
	b.follows("t")
	for i := range 500 {
		a.publish("t", fmt.Sprint(i))
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
	for i := 0; i < 500; {
		select {
		case got := <-b.batches:
			var texts []string
			if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "t ")), &texts); err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				if text != fmt.Sprint(i) {
					t.Fatalf("got %s, want %d", text, i)
				}
				i++
			}
		case <-time.After(patience):
			t.Fatalf("message %d does not come", i)
		}
	}
	if a.publish("t", "late"); a.Stats().MessagesNotSent != 1 {
		t.Errorf("%+v", a.Stats())
	}
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s.Addr)
	a := open(t, Config{URL: "nats://" + proxy.Addr})
	a.connectedAgain()
	proxy.Hold()
	a.publish("t", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-a.ended
	a.eventually("counted", func(st broadcast.BrokerStats) bool {
		return st.MessagesNotSent+st.MessagesUnconfirmed == 1 && st.MessagesOut == 0
	})
}

func TestUsersTokensAndTLS(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificate(t)
	creds, operator := credentials(t)
	tls := fmt.Sprintf("tls { cert_file: %q, key_file: %q }", cert, key)
	for _, tt := range []struct {
		name, server string
		scheme, user string
		config       Config
		fails        string // what the last error says, if it cannot connect
	}{
		{"user", `authorization { user: ada, password: "p@ss" }`, "nats", "ada:p%40ss@", Config{}, ""},
		{"wrong password", `authorization { user: ada, password: "p@ss" }`, "nats", "ada:x@", Config{}, "uthorization"},
		{"token", "authorization { token: secret }", "nats", "secret@", Config{}, ""},
		{"no token", "authorization { token: secret }", "nats", "", Config{}, "uthorization"},
		{"TLS", tls, "tls", "", Config{CA: ca}, ""},
		{"TLS of whom nobody knows", tls, "tls", "", Config{}, "unknown authority"},
		{"credentials", operator, "nats", "", Config{Credentials: creds}, ""},
		{"no credentials", operator, "nats", "", Config{}, "uthorization"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, "-c", config(t, tt.server))
			tt.config.URL = tt.scheme + "://" + tt.user + s.Addr
			var log lines
			tt.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			a := begin(t, tt.config)
			if tt.fails == "" {
				a.connectedAgain()
			} else {
				a.eventually("refused", func(st broadcast.BrokerStats) bool {
					return !st.Connected && strings.Contains(st.LastError, tt.fails)
				})
			}
			if _, password, _ := strings.Cut(tt.user, ":"); password != "" && strings.Contains(log.String(), password) {
				t.Errorf("the password is logged: %s", &log)
			}
			if tt.name == "token" && strings.Contains(log.String(), "secret") {
				t.Errorf("the token is logged: %s", &log)
			}
		})
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("nothing of use"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		c    Config
		want string
	}{
		{"no scheme", Config{URL: "host:4222"}, "want nats://host:4222"},
		{"another scheme", Config{URL: "redis://secret@host"}, "want nats://host:4222"},
		{"no host", Config{URL: "nats://"}, "want nats://host:4222"},
		{"no URL", Config{URL: "nats://user:sec ret@host"}, "want nats://host:4222"},
		{"a bad one of two", Config{URL: "nats://a, b"}, "want nats://host:4222"},
		{"prefix without a dot", Config{URL: "nats://a", Prefix: "x"}, "a dot behind it"},
		{"prefix with a hole", Config{URL: "nats://a", Prefix: "x..y."}, "a dot behind it"},
		{"prefix with a star", Config{URL: "nats://a", Prefix: "x.*."}, "a dot behind it"},
		{"no credentials", Config{URL: "nats://a", Credentials: "/nonexistent"}, "no such file"},
		{"bad credentials", Config{URL: "nats://a", Credentials: bad}, "no .creds file"},
		{"no CA", Config{URL: "nats://a", CA: "/nonexistent"}, "no such file"},
		{"bad CA", Config{URL: "nats://a", CA: bad}, "failed to parse root certificate"},
		{"all is well", Config{URL: "nats://a, tls://token@b:1", Prefix: "x.y."}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			switch _, err := New(tt.c); {
			case tt.want == "" && err == nil:
			case tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v, want %q", err, tt.want)
			case strings.Contains(err.Error(), "sec"):
				t.Errorf("a secret is told: %v", err)
			case strings.Contains(err.Error(), "\n"):
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"room": "p.room", "room.42": "p.room.42", "": "p.%", ".": "p.%2E", "a..b": "p.a.%2Eb", ".a": "p.%2Ea",
		"a.": "p.a%2E", "a b": "p.a%20b", "*": "p.%2A", ">": "p.%3E", "50%": "p.50%25", "é": "p.%C3%A9",
		"\x00\xff": "p.%00%FF", "/chat?x=1": "p./chat?x=1",
	} {
		if got, ok := subject("p.", topic); got != want || !ok {
			t.Errorf("%q is %q %v, want %q", topic, got, ok, want)
		}
	}
	longest := strings.Repeat("x", subjectBytesMax-len("p."))
	if _, ok := subject("p.", longest); !ok {
		t.Error("the longest name is too long")
	}
	if _, ok := subject("p.", longest+"x"); ok {
		t.Error("a name that is too long is not")
	}
}

func FuzzSubjects(f *testing.F) {
	f.Add("a.b..c. *>%")
	f.Fuzz(func(t *testing.T, topic string) {
		s, _ := subject("", topic)
		if s == "" || slices.ContainsFunc(strings.Split(s, "."), func(word string) bool {
			return word == "" || strings.ContainsAny(word, " \t\r\n*>\x00")
		}) {
			t.Errorf("%q is %q, which is no subject", topic, s)
		}
		if back, err := url.PathUnescape(s); topic != "" && (err != nil || back != topic) {
			t.Errorf("%q is %q, and that %q %v", topic, s, back, err)
		}
	})
}

// The pauses grow to their bound, and are not the same for all.
func TestBackoff(t *testing.T) {
	t.Parallel()
	different := map[time.Duration]bool{}
	for attempts := range 100 {
		d := backoff(attempts)
		if whole := min(backoffMin<<min(max(attempts-1, 0), 20), backoffMax); d < whole/2 || d >= whole {
			t.Errorf("attempt %d: %v of %v", attempts, d, whole)
		}
		different[d] = true
	}
	if len(different) < 50 {
		t.Errorf("%d different pauses", len(different))
	}
}

// config is a configuration file of the server.
func config(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, errCert := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	der2, errKey := x509.MarshalECPrivateKey(private)
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if err := errors.Join(errCert, errKey,
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der2}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, cert, key
}

// credentials makes an operator, an account and a user: the user's file, and the server's configuration.
func credentials(t *testing.T) (file, server string) {
	t.Helper()
	operator, account, user := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateUser)
	operatorJWT := token(t, operator, public(t, operator), map[string]any{"type": "operator", "version": 2})
	accountJWT := token(t, operator, public(t, account), map[string]any{"type": "account", "version": 2,
		"limits": map[string]any{"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1,
			"exports": -1, "wildcards": true}})
	userJWT := token(t, account, public(t, user), map[string]any{"type": "user", "version": 2, "subs": -1, "data": -1,
		"payload": -1})
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.creds")
	content := "-----BEGIN NATS USER JWT-----\n" + userJWT + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }", operatorJWT,
		public(t, account), accountJWT)
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// token is a JWT as NATS has them.
func token(t *testing.T, issuer nkeys.KeyPair, subject string, claims map[string]any) string {
	t.Helper()
	part := func(x any) string {
		p, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(p)
	}
	signed := part(map[string]string{"typ": "JWT", "alg": "ed25519-nkey"}) + "." + part(map[string]any{
		"jti": "x", "iat": time.Now().Unix(), "iss": public(t, issuer), "sub": subject, "name": "x", "nats": claims})
	signature, err := issuer.Sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
