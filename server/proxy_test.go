package server_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// who is a service that tells each session its address.
type who struct{}

func (who) OnOpen(s *server.Session) {
	m := server.Text([]byte(s.RemoteAddr().String()))
	_ = s.Send(&m)
}
func (who) OnMessage(*server.Session, *server.Message)  {}
func (who) OnClose(*server.Session, server.CloseReason) {}

func prefixes(all ...string) (ps []netip.Prefix) {
	for _, p := range all {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// behindProxies is a server that trusts whoever is named.
func behindProxies(t *testing.T, proxyProtocol bool, trusted ...string) *running {
	t.Helper()
	return start(t, server.Config{TrustedProxies: prefixes(trusted...), ProxyProtocol: proxyProtocol}, "/who", who{})
}

// address opens a session with the given header lines and returns the address that it has, and that it is listed with;
// the connection's own is called "own".
func (c *client) address(r *running, headers string) string {
	c.t.Helper()
	c.say("GET /who/websocket HTTP/1.1\r\n" + handshakeHeaders + headers + "\r\n")
	c.response()
	_, got, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	sessions, err := r.Sessions(c.t.Context())
	if err != nil || len(sessions) != 1 || sessions[0].RemoteAddr.String() != got {
		c.t.Errorf("%s is listed as %+v, %v", got, sessions, err)
	}
	if got == c.LocalAddr().String() {
		return "own"
	}
	return got
}

// The last address that is no trusted proxy's is the client's; nothing before it is believed.
func TestForwardedFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, headers, want string }{
		{"nobody", "", "own"},
		{"the client", "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7:0"},
		{"in any case", "x-forwarded-for: 192.0.2.7\r\n", "192.0.2.7:0"},
		{"with a port", "X-Forwarded-For: 192.0.2.7:1234\r\n", "192.0.2.7:1234"},
		{"IPv6", "X-Forwarded-For: 2001:db8::7\r\n", "[2001:db8::7]:0"},
		{"IPv6 with a port", "X-Forwarded-For: [2001:db8::7]:1234\r\n", "[2001:db8::7]:1234"},
		{"IPv4 in IPv6", "X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7:0"},
		{"two proxies", "X-Forwarded-For: 192.0.2.7, 10.1.2.3\r\n", "192.0.2.7:0"},
		{"two lines", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 10.1.2.3\r\n", "192.0.2.7:0"},
		{"forged", "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7:0"},
		{"forged, in a line of its own", "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7\r\n",
			"192.0.2.7:0"},
		{"forged as a proxy", "X-Forwarded-For: 198.51.100.1, 10.9.9.9, 192.0.2.7,10.1.2.3\r\n", "192.0.2.7:0"},
		{"proxies alone", "X-Forwarded-For: 10.1.2.4, 10.1.2.3\r\n", "10.1.2.4:0"},
		{"no address", "X-Forwarded-For: unknown\r\n", "own"},
		{"no address before a proxy", "X-Forwarded-For: 192.0.2.7, unknown, 10.1.2.3\r\n", "10.1.2.3:0"},
		{"empty", "X-Forwarded-For:\r\n", "own"},
		{"empty before a proxy", "X-Forwarded-For: ,10.1.2.3\r\n", "10.1.2.3:0"},
		{"a zone", "X-Forwarded-For: fe80::1%lo\r\n", "own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := behindProxies(t, false, "127.0.0.1/32", "10.0.0.0/8")
			if got := r.dial(t).address(r, tt.headers); got != tt.want {
				t.Errorf("the session's address is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestForwardedForOfStrangers(t *testing.T) {
	t.Parallel()
	for _, trusted := range [][]string{nil, {"10.0.0.0/8"}} {
		r := behindProxies(t, false, trusted...)
		if got := r.dial(t).address(r, "X-Forwarded-For: 192.0.2.7\r\n"); got != "own" {
			t.Errorf("trusting %v: the session's address is %s", trusted, got)
		}
	}
}

// A proxy sends the requests of many clients on one connection.
func TestForwardedForOfEachRequest(t *testing.T) {
	t.Parallel()
	r := behindProxies(t, false, "127.0.0.0/8")
	c := r.dial(t)
	poll := func(session, client string) string {
		header := ""
		if client != "" {
			header = "X-Forwarded-For: " + client + "\r\n"
		}
		c.say("POST /who/0/" + session + "/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + header + "\r\n")
		_, body := c.response()
		return body
	}
	for session, tt := range map[string]struct{ client, want string }{
		"a": {"192.0.2.1", "192.0.2.1:0"}, "b": {"192.0.2.2", "192.0.2.2:0"}, "c": {"", c.LocalAddr().String()},
	} {
		if open := poll(session, tt.client); open != "o\n" {
			t.Fatalf("%q", open)
		}
		if got, want := poll(session, tt.client), fmt.Sprintf("a[%q]\n", tt.want); got != want {
			t.Errorf("of %q: %s, want %s", tt.client, got, want)
		}
	}
}

// header2 is a PROXY header from 192.0.2.7, port 56316.
const (
	header1 = "PROXY TCP4 192.0.2.7 10.0.0.1 56316 443\r\n"
	header2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\xdb\xfc\x01\xbb"
	local2  = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// A PROXY header names the client, however it is cut, and HTTP follows at once.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, header, headers, want string }{
		{"version 2", header2, "", "192.0.2.7:56316"},
		{"version 1", header1, "", "192.0.2.7:56316"},
		{"LOCAL", local2, "", "own"},
		{"LOCAL of a client that forges", local2, "X-Forwarded-For: 198.51.100.1\r\n", "own"},
		{"UNKNOWN of a client that forges", "PROXY UNKNOWN\r\n", "X-Forwarded-For: 198.51.100.1\r\n", "own"},
		{"of a client that forges", header2, "X-Forwarded-For: 198.51.100.1\r\n", "192.0.2.7:56316"},
		{"of another proxy", strings.Replace(header2, "\xc0\x00\x02\x07", "\x0a\x01\x02\x03", 1),
			"X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for cut := range len(tt.header) + 1 {
				r := behindProxies(t, true, "127.0.0.0/8", "10.0.0.0/8")
				c := r.dial(t)
				c.say(tt.header[:cut])
				if cut > 0 {
					r.eventually(t, "the piece has been read", func(s server.Stats) bool {
						return s.BytesReceived == uint64(cut)
					})
				}
				c.say(tt.header[cut:])
				if got := c.address(r, tt.headers); got != tt.want {
					t.Fatalf("cut at %d: the session's address is %s, want %s", cut, got, tt.want)
				}
			}
		})
	}
}

// Who is trusted must say whom he speaks for, in time; who is not may not, and is served as ever.
func TestProxyProtocolRefused(t *testing.T) {
	t.Parallel()
	get := "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name, trusted, says string
		answer              string // "" is a cut
		refused             uint64
	}{
		{"no header", "127.0.0.0/8", get, "", 1},
		{"broken", "127.0.0.0/8", "PROXY TCP4 localhost localhost 1 2\r\n" + get, "", 1},
		{"endless", "127.0.0.0/8", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("x", 4096), "", 1},
		{"a stranger", "10.0.0.0/8", get, "200", 0},
		{"a stranger's header", "10.0.0.0/8", header2 + get, "400", 0},
		{"a stranger's header of version 1", "10.0.0.0/8", header1 + get, "400", 0},
		{"twice", "127.0.0.0/8", header2 + header2 + get, "400", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := behindProxies(t, true, tt.trusted)
			c := r.dial(t)
			c.say(tt.says)
			answer, err := io.ReadAll(c.r)
			if isTimeout(err) || !strings.HasPrefix(strings.TrimPrefix(string(answer), "HTTP/1.1 "), tt.answer) ||
				tt.answer == "" && len(answer) > 0 {
				t.Errorf("%.60q %v, want %q", answer, err, tt.answer)
			}
			_ = c.Close()
			r.eventually(t, "refusals", func(s server.Stats) bool {
				return s.Connections == 0 && s.ProxyHeadersRefused == tt.refused && s.InputBytes == 0
			})
		})
	}
}

// A header that does not end is not waited for, and what has come of it is charged.
func TestProxyProtocolTimesOut(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{
		TrustedProxies: prefixes("127.0.0.0/8"), ProxyProtocol: true, HandshakeTimeout: 300 * time.Millisecond,
	})
	c := r.dial(t)
	c.say(header2[:20])
	c.expectCut()
	r.eventually(t, "the timeout", func(s server.Stats) bool { return s.HandshakeTimeouts == 1 && s.Connections == 0 })
}

// What comes of a header is charged, and a proxy that keeps a connection in store is let go when the server drains.
func TestProxyProtocolDrains(t *testing.T) {
	t.Parallel()
	r := behindProxies(t, true, "127.0.0.0/8")
	c := r.dial(t)
	c.say(header2[:20])
	r.eventually(t, "the charge", func(s server.Stats) bool { return s.InputBytes >= 20 })
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(t.Context()) }()
	c.expectEnd()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestProxyConfig(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]server.Config{
		"without TrustedProxies": {ProxyProtocol: true},
		"prefix that is none":    {TrustedProxies: []netip.Prefix{{}}},
		"write IPv4 as in":       {TrustedProxies: prefixes("::ffff:10.0.0.0/104")},
	} {
		if _, err := server.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}
