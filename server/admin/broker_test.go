package admin_test

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/broadcast/nats"
	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// natsServer is a real one, until stop is called.
func natsServer(t *testing.T) (url string, stop func()) {
	t.Helper()
	path := tool(t, "nats-server", "nats-server")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	c := exec.Command(path, "-a", "127.0.0.1", "-p", port)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	t.Cleanup(stop)
	return "nats://127.0.0.1:" + port, stop
}

// broker carries topics over a NATS server.
func broker(t *testing.T, url string) server.Broker {
	t.Helper()
	b, err := nats.New(nats.Config{URL: url, Prefix: "sockloop."})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// brokerIs waits until the broker's figures are so.
func (r *running) brokerIs(t *testing.T, what string, is func(server.BrokerStats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for st, _ := r.BrokerStats(); !is(st); st, _ = r.BrokerStats() {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain: %s: %+v", what, st)
		}
		time.Sleep(time.Millisecond)
	}
}

// The state of a broker is exported; a server that has lost it is ready and says so.
func TestBroker(t *testing.T) {
	t.Parallel()
	url, stop := natsServer(t)
	r := start(t, server.Config{Broker: broker(t, url)}, admin.Options{})
	c := r.join(t)
	r.brokerIs(t, "it connects", func(st server.BrokerStats) bool { return st.Connected })
	c.send(t, "hello")
	c.expect(t, "hello")
	r.brokerIs(t, "a message has left", func(st server.BrokerStats) bool { return st.MessagesOut == 1 })
	text := r.want(t, 200, "", "GET", "/metrics", "").body
	for _, want := range []string{
		"sockloop_broker_connected 1", `sockloop_broker_messages_total{direction="out"} 1`,
		`sockloop_broker_messages_total{direction="in"} 0`, "sockloop_broker_disconnects_total 0",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
	r.want(t, 200, `{"ready":true}`, "GET", "/readyz", "")

	stop()
	r.brokerIs(t, "it is lost", func(st server.BrokerStats) bool { return !st.Connected })
	r.want(t, 200, `{"ready":true,"degraded":["the broker is not connected, since 20`, "GET", "/readyz", "")
	r.want(t, 200, "\nsockloop_broker_connected 0\n", "GET", "/metrics", "")
}

// silent is a broker that carries nothing; its metrics are there all the same.
type silent struct{}

func (silent) Open(server.Receive, int) error { return nil }
func (silent) Publish(string, codec.Batch)    {}
func (silent) Subscribe(string)               {}
func (silent) Unsubscribe(string)             {}
func (silent) Stats() (st server.BrokerStats) { return st }
func (silent) Close(context.Context) error    { return nil }
