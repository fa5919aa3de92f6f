package loadclient

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

// target parses a URL and options for a test.
func target(t *testing.T, url string, p Protocol, o TargetOptions) Target {
	t.Helper()
	to, err := ParseTarget(url, p)
	if err == nil {
		err = o.Apply(&to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// trialOf makes a short trial at a target, and wants everything to come back.
func trialOf(t *testing.T, to Target, connections int) Trial {
	t.Helper()
	c := LevelConfig{Target: to, Connections: connections, IDBase: 1, Drain: 20 * time.Second}
	got := oneTrial(t, c, 500, 100*time.Millisecond)
	wrong := got.Foreign + got.Duplicated + got.NotCompleted + got.Stragglers
	if got.Sent != 50 || got.Received != 50*connections || wrong != 0 {
		t.Errorf("%d sent, %d received, %d foreign, %d stragglers", got.Sent, got.Received, got.Foreign, got.Stragglers)
	}
	return got
}

// file writes a file for a test.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// caOf is the certificate of a TLS server, as a file of authorities.
func caOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	return file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}

// otherCA is an authority that has signed nothing.
func otherCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// chat is a room on raw WebSocket that may want to be joined, and talks of itself.
type chat struct {
	subprotocols []string
	admit        func(*http.Request) string // why somebody is not let in
	join         string                     // what the first message begins with
	welcome      string                     // to each who joins
	announce     string                     // to all of each who joins

	mu      sync.Mutex
	aside   string // to all, once, behind the next message
	members []*websocket.Conn
	joined  []string
}

func (c *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.admit != nil {
		if why := c.admit(r); why != "" {
			http.Error(w, why, http.StatusUnauthorized)
			return
		}
	}
	up := websocket.Upgrader{Subprotocols: c.subprotocols, CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // the test has what it came for
	if c.join != "" {
		_, p, err := conn.ReadMessage()
		if err != nil || !strings.HasPrefix(string(p), c.join) {
			return
		}
		c.mu.Lock()
		c.joined = append(c.joined, string(p))
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.members = append(c.members, conn)
	if c.welcome != "" {
		_ = conn.WriteMessage(websocket.TextMessage, []byte(c.welcome))
	}
	c.mu.Unlock()
	if c.announce != "" {
		c.say([]byte(c.announce))
	}
	for {
		_, p, err := conn.ReadMessage()
		if err != nil {
			return
		}
		c.say(p)
	}
}

// say sends a message to everybody. The lock makes one order for all.
func (c *chat) say(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	texts := [][]byte{p}
	if c.aside != "" {
		texts, c.aside = append(texts, []byte(c.aside)), ""
	}
	for _, m := range c.members {
		for _, text := range texts {
			_ = m.WriteMessage(websocket.TextMessage, text)
		}
	}
}

// quiet is where servers complain about clients that do not trust them.
var quiet = log.New(io.Discard, "", 0)

// unmasked is the text of a frame that a client sends.
func unmasked(t *testing.T, frame []byte) []byte {
	t.Helper()
	r := codec.MessageReader{Role: ws.StateServerSide, BytesMax: 1 << 20}
	_, text, rest, err := r.Next(bytes.Clone(frame))
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes behind a frame, %v", len(rest), err)
	}
	return text
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func serveTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for name, insecure := range map[string]bool{"own authority": false, "insecure": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveTLS(t, &chat{})
			url := strings.Replace(s.URL, "https", "wss", 1) + "/chat"
			o := TargetOptions{Insecure: insecure}
			if !insecure {
				o.CA = caOf(t, s)
			}
			if got := trialOf(t, target(t, url, WebSocket, o), 3); got.Insecure != o.Insecure || got.Target != url {
				t.Errorf("the results say %s, insecure %v", got.Target, got.Insecure)
			}
		})
	}
}

func TestTLSThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	s, plain := serveTLS(t, &chat{}), serve(t, &chat{})
	host := strings.TrimPrefix(s.URL, "https://")
	_, port, _ := net.SplitHostPort(host)
	for _, tt := range []struct {
		name, url string
		options   TargetOptions
		want      string
	}{
		{"no authority", "wss://" + host, TargetOptions{}, "is not trusted"},
		{"another authority", "wss://" + host, TargetOptions{CA: otherCA(t)}, "--ca FILE, or --insecure"},
		{"another name", "wss://localhost:" + port, TargetOptions{CA: caOf(t, s)}, "is for another name"},
		{"no TLS there", strings.Replace(plain.URL, "http", "wss", 1), TargetOptions{}, "speak TLS: give it as ws://"},
		{"TLS there", "ws://" + host, TargetOptions{}, "it speaks TLS: give it as wss://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fails(t, target(t, tt.url, WebSocket, tt.options), tt.want)
		})
	}
}

// fails opens a level that is to fail, by the target's fault, in one line.
func fails(t *testing.T, to Target, want string) {
	t.Helper()
	l, err := OpenLevel(t.Context(), LevelConfig{Target: to, Connections: 2, IDBase: 1})
	if err == nil {
		l.Close()
	}
	if !IsTargetFailure(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one line with %q", err, want)
	}
}

// The server's name goes to it in the handshake.
func TestServerNameIndication(t *testing.T) {
	t.Parallel()
	to := target(t, "wss://example.org/x", WebSocket, TargetOptions{Headers: []string{"Host: other.example"}})
	if to.TLS.ServerName != "example.org" || to.Addr != "example.org:443" || to.host() != "other.example" {
		t.Errorf("%q at %q, host %q", to.TLS.ServerName, to.Addr, to.host())
	}
}

// A proxy may cut records anywhere. What has come of one is kept, and none waits in the tls.Conn.
func TestTLSRecordsCutAnywhere(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 7, 4000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			payload := "100"
			if size > 1000 {
				payload = "40000" // several records a message
			}
			s := serveTLS(t, &chat{})
			url := "wss://" + cutting(t, strings.TrimPrefix(s.URL, "https://"), size) + "/"
			trialOf(t, target(t, url, WebSocket, TargetOptions{Insecure: true, PayloadBytes: payload}), 2)
		})
	}
}

// cutting is a proxy that passes what the server sends on in pieces.
func cutting(t *testing.T, addr string, size int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	pass := func(dst, src net.Conn, size int) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, size))
		_ = dst.Close()
	}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				return
			}
			go pass(server, client, 32<<10)
			go pass(client, server, size)
		}
	}()
	return ln.Addr().String()
}

// SockJS over TLS, whose room sends its open frame with the handshake or behind it.
func TestSockJSOverTLS(t *testing.T) {
	t.Parallel()
	r := room.NewTLS(room.Faults{})
	defer r.Close()
	trialOf(t, target(t, r.URL(), SockJS, TargetOptions{CA: caOf(t, r.Server)}), 4)
}

func TestWhatTheHandshakeCarries(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	c := &chat{subprotocols: []string{"v2"}, admit: func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Header.Get("Authorization")]++
		cookie, _ := r.Cookie("sid")
		second, _ := r.Cookie("lang")
		switch {
		case r.URL.RequestURI() != "/chat/%2f/?room=1&user=a%20b":
			return "URI " + r.URL.RequestURI()
		case r.Header.Get("X-Tenant") != "7, of 9" || len(r.Header["X-Two"]) != 2 || r.Host != "virtual.example":
			return fmt.Sprint("headers ", r.Header, r.Host)
		case cookie == nil || cookie.Value != "a=b" || second == nil || second.Value != "de":
			return fmt.Sprint("cookies ", r.Cookies())
		}
		return ""
	}}
	s := serve(t, c)
	url := strings.Replace(s.URL, "http", "ws", 1) + "/chat/%2f/?room=1&user=a%20b"
	o := TargetOptions{
		Headers:      []string{"X-Tenant: 7, of 9", "x-two:1", "X-Two: 2", "Host: virtual.example"},
		Cookies:      []string{"sid=a=b", "lang=de"},
		Subprotocols: []string{"v3", "v2"},
		BearerFile:   file(t, "one\r\n\ntwo\nthree\n"),
	}
	trialOf(t, target(t, url, WebSocket, o), 7)
	if seen["Bearer one"] != 3 || seen["Bearer two"] != 2 || seen["Bearer three"] != 2 {
		t.Errorf("%v", seen)
	}
}

// Whoever takes a SockJS service for a raw WebSocket is told.
func TestWebSocketToASockJSService(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Welcome to SockJS!\n")
	}))
	t.Cleanup(s.Close)
	fails(t, target(t, "ws://"+strings.TrimPrefix(s.URL, "http://")+"/x", WebSocket, TargetOptions{}),
		`that is a SockJS service: --protocol sockjs, or behind it /websocket`)
}

func TestUserInTheURL(t *testing.T) {
	t.Parallel()
	s := serve(t, &chat{admit: func(r *http.Request) string {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "p@ss" {
			return "who?"
		}
		return ""
	}})
	host := strings.TrimPrefix(s.URL, "http://")
	to := target(t, "ws://me:p%40ss@"+host+"/x", WebSocket, TargetOptions{})
	trialOf(t, to, 2)
	if strings.Contains(to.String(), "p@ss") || strings.Contains(to.String(), "p%40ss") {
		t.Errorf("the password is in %s", to)
	}
	fails(t, target(t, "ws://"+host+"/x", WebSocket, TargetOptions{}),
		`answers 401 Unauthorized instead of opening a WebSocket ("who?"): it wants to know who asks`)
}

// What a handshake must not be answered with.
func TestHandshakesThatAreRefused(t *testing.T) {
	t.Parallel()
	answer := func(head string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, head)
			_ = c.Close()
		}
	}
	const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, tt := range []struct {
		name    string
		handler http.Handler
		options TargetOptions
		want    string
	}{
		{"a wrong key", answer(upgraded + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
			TargetOptions{}, "a Sec-WebSocket-Accept that is not made of our key"},
		{"no key", answer(upgraded + "\r\n"), TargetOptions{}, "Sec-WebSocket-Accept"},
		{"no upgrade", answer("HTTP/1.1 101 Switching Protocols\r\n\r\n"), TargetOptions{}, "opens no WebSocket"},
		{"no subprotocol", &chat{}, TargetOptions{Subprotocols: []string{"v1"}}, "chooses none of the subprotocols v1"},
		{"moved", http.RedirectHandler("wss://example.org/x", http.StatusFound), TargetOptions{},
			`it is at "wss://example.org/x" now`},
		{"a long refusal", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("no\n", 1000), http.StatusTeapot)
		}), TargetOptions{}, `418 I'm a teapot instead of opening a WebSocket ("no\nno`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.handler)
			fails(t, target(t, strings.Replace(s.URL, "http", "ws", 1), WebSocket, tt.options), tt.want)
		})
	}
}

// A chat greets who comes, and announces it to all; none of that is of the run.
func TestChatThatGreets(t *testing.T) {
	t.Parallel()
	c := &chat{join: "JOIN user", welcome: "welcome, stranger", announce: "somebody, joined"}
	s := serve(t, c)
	url := strings.Replace(s.URL, "http", "ws", 1)
	o := TargetOptions{SendFirst: []string{"JOIN user{id}"}, Greeting: "^(welcome|somebody)"}
	to := target(t, url, WebSocket, o)
	l, err := OpenLevel(t.Context(), LevelConfig{Target: to, Connections: 5, IDBase: 1, Drain: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.mu.Lock()
	joined := strings.Join(c.joined, " ")
	c.mu.Unlock()
	if len(strings.Fields(joined)) != 10 || !strings.Contains(joined, "user5") {
		t.Errorf("joined: %s", joined)
	}
	rest := []struct {
		say                string
		greetings, foreign int
	}{{"", 0, 0}, {"somebody, joined", 5, 0}, {"hello", 0, 5}}
	for _, tt := range rest {
		c.mu.Lock()
		c.aside = tt.say
		c.mu.Unlock()
		got, err := l.Trial(500, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if got.Received != 500 || got.Greetings != tt.greetings || got.Foreign != tt.foreign || got.Stragglers != 0 {
			t.Errorf("%q: %d received, %d greetings, %d foreign, %d stragglers",
				tt.say, got.Received, got.Greetings, got.Foreign, got.Stragglers)
		}
	}
}

func TestSendFirstOverSockJS(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	o := TargetOptions{SendFirst: []string{`{"join":"a \"room\""}`, "second"}, Greeting: "."}
	trialOf(t, target(t, r.URL(), SockJS, o), 3)
	if got := r.First(2); len(got) != 2 || got[0] != o.SendFirst[0] {
		t.Errorf("the room heard %q", got)
	}
}

// Each kind of template goes there and back over each way of framing.
func TestPayloadTemplates(t *testing.T) {
	t.Parallel()
	sizes := file(t, "# bytes weight\n50 0.5\n3000 1.5\n")
	for _, tt := range []struct {
		name, template, sizes string
		min, max              float64 // bytes a message on average
	}{
		{"2011", "", "", 10, 60},
		{"JSON", `{"id":{id},"t":{time},"n":{seq},"text":"Grüße, \"<you>\" {pad}"}`, "200", 200, 300},
		{"text around", "a,b {time} by {id}, ", "", 25, 60},
		{"a line break", "{id}\n{time}", "", 14, 60},
		{"uniform", "", "100-2000", 950, 1200},
		{"percentiles", "{time}{pad}|{id}", "p50=100,p99=4000", 900, 1300},
		{"file", "", sizes, 2200, 2500},
	} {
		for _, p := range []Protocol{WebSocket, SockJS} {
			t.Run(tt.name+" "+string(p), func(t *testing.T) {
				t.Parallel()
				url := ""
				if p == SockJS {
					r := room.New(room.Faults{})
					t.Cleanup(r.Close)
					url = r.URL()
				} else {
					url = strings.Replace(serve(t, &chat{}).URL, "http", "ws", 1)
				}
				o := TargetOptions{Payload: tt.template, PayloadBytes: tt.sizes}
				l, err := OpenLevel(t.Context(), LevelConfig{
					Target: target(t, url, p, o), Connections: 3, IDBase: 9, Drain: 20 * time.Second,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				got, err := l.Trial(1000, 200*time.Millisecond) // ids of one and of two digits
				if err != nil {
					t.Fatal(err)
				}
				wrong := got.Foreign + got.Stragglers + got.Duplicated
				if got.Sent != 200 || got.Received != 600 || wrong != 0 || got.RTT.Count != 200 {
					t.Errorf("%d received, %d foreign, %d round trips", got.Received, got.Foreign, got.RTT.Count)
				}
				if got.BytesPerMessage < tt.min || got.BytesPerMessage > tt.max {
					t.Errorf("%.0f bytes a message, want %v to %v", got.BytesPerMessage, tt.min, tt.max)
				}
			})
		}
	}
}

// counted has everything in it, and room for padding.
var counted = TargetOptions{Payload: `{"id":{id},"at":{time},"n":{seq},"pad":"{pad}"}`, PayloadBytes: "80-90"}

// Frames say what their template says, with valid JSON inside JSON, and their sequence goes on.
func TestTemplateIsFilled(t *testing.T) {
	t.Parallel()
	s := newStencils(target(t, "ws://h", SockJS, counted))
	a, b := s.template(7), s.template(1234)
	ids := map[*template]int{&a: 7, &b: 1234}
	lengths := map[int]bool{}
	for i := range 200 {
		for _, tpl := range []*template{&a, &b} {
			frame := tpl.append(nil, 1_700_000_000_123+int64(i), 1)
			var texts []string
			var got struct{ ID, At, N int }
			if err := json.Unmarshal(unmasked(t, frame), &texts); err != nil {
				t.Fatalf("%q %v", unmasked(t, frame), err)
			}
			if err := json.Unmarshal([]byte(texts[0]), &got); err != nil {
				t.Fatalf("%q %v", texts, err)
			}
			if got.ID != ids[tpl] || got.At != 1_700_000_000_123+i || got.N != seqFirst+i {
				t.Fatalf("%+v", got)
			}
			lengths[len(texts[0])] = true
		}
	}
	for n := 80; n <= 90; n++ {
		if !lengths[n] {
			t.Errorf("no message of %d bytes: %v", n, lengths)
		}
	}
}

// Sending does not allocate, whatever the template.
func TestSendingDoesNotAllocate(t *testing.T) {
	for _, o := range []TargetOptions{{}, counted} {
		tpl := newStencils(target(t, "ws://h", SockJS, o)).template(7)
		b := make([]byte, 0, 1<<20)
		stamp := int64(testStamp)
		if n := testing.AllocsPerRun(100, func() { stamp++; b = tpl.append(b[:0], stamp, 10) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// Servers may write the same JSON string in another way.
func TestMessagesThatAreQuotedOtherwise(t *testing.T) {
	t.Parallel()
	form := newForm(target(t, "ws://h", SockJS, TargetOptions{Payload: `<ü> {"id":{id}, "at":{time}}`}))
	for _, s := range []string{
		`<ü> {\"id\":103, \"at\":1700000000000}`, `\u003c\u00fc\u003e {\"id\":103, \"at\":1700000000000}`,
	} {
		if m := form.parse([]byte(s), testBase, testConns); m.sender != 3 || m.stamp != testStamp {
			t.Errorf("%s: %+v", s, m)
		}
	}
	for _, s := range []string{
		"", `<ü> {\"id\":103, \"at\":1700000000000}x`, `<ü> {\"id\":, \"at\":1700000000000}`, `\u00`,
	} {
		if m := form.parse([]byte(s), testBase, testConns); m.sender != -1 {
			t.Errorf("%s: %+v", s, m)
		}
	}
}

// Whatever is wrong is said with the flag that it came from, and how to mend it.
func TestTargetOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url      string
		protocol Protocol
		options  TargetOptions
		want     string
	}{
		{"ws://h", SockJS, TargetOptions{Insecure: true}, "are for wss:// and https://"},
		{"wss://h", SockJS, TargetOptions{Insecure: true, CA: "x"}, "exclude each other"},
		{"wss://h", SockJS, TargetOptions{CA: file(t, "hello")}, "want PEM"},
		{"wss://h", SockJS, TargetOptions{CA: "/nonexistent"}, "--ca: open"},
		{"ws://h", SockJS, TargetOptions{Headers: []string{"nonsense"}}, "want 'Name: value'"},
		{"ws://h", SockJS, TargetOptions{Headers: []string{"A: b\r\nC: d"}}, "want 'Name: value'"},
		{"ws://h", SockJS, TargetOptions{Headers: []string{"Cookie: a=b"}}, "use --cookie"},
		{"ws://h", SockJS, TargetOptions{Headers: []string{"sec-websocket-protocol: x"}}, "use --subprotocol"},
		{"ws://h", SockJS, TargetOptions{Headers: []string{"Host: "}}, "want a host"},
		{"ws://me@h", SockJS, TargetOptions{Headers: []string{"Authorization: x"}}, "there is one already"},
		{"ws://h", SockJS, TargetOptions{Cookies: []string{"a"}}, "want 'name=value'"},
		{"ws://h", SockJS, TargetOptions{Cookies: []string{"a=b; c=d"}}, "one in each --cookie"},
		{"ws://me@h", SockJS, TargetOptions{BearerFile: file(t, "x")}, "there is an authorization already"},
		{"ws://h", SockJS, TargetOptions{BearerFile: file(t, "x\na b")}, "line 2: want one token a line"},
		{"ws://h", SockJS, TargetOptions{BearerFile: file(t, "\n")}, "there is no token in it"},
		{"http://h", EventSource, TargetOptions{Subprotocols: []string{"x"}}, "is no WebSocket"},
		{"ws://h", SockJS, TargetOptions{Subprotocols: []string{"a b"}}, "want a name such as"},
		{"ws://h", SockJS, TargetOptions{SendFirst: []string{""}}, "--send-first"},
		{"ws://h", SockJS, TargetOptions{Greeting: "("}, "is no regular expression"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}"}, "want {id} and {time}, each once"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id} {time} {time}"}, "each once"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id} {time} {user}"}, "{user} is no placeholder"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}{time}"}, "behind {id}, put something"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}7 {time}"}, "behind {id}, put something"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}:{time}{pad}."}, "behind {pad}, put something"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}:{time}{seq}{seq}"}, "once at most"},
		{"ws://h", SockJS, TargetOptions{Payload: "{id}: {time}", PayloadBytes: "100"}, "it needs a {pad}"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "-1"}, "want 0 to"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "1000000"}, "want 0 to"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "200-100"}, "the smaller size first"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "p50=100,p40=200"}, "in rising order"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "p50=100,x"}, "want percentiles such as"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "p99.9=100"}, "dealt in hundredths"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: "some"}, "or a file with a size and a weight"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: file(t, "1 1\n2 x\n")}, "line 2: want a size and a weight"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: file(t, "1 1\n2 0.001\n")}, "less than a hundredth"},
		{"ws://h", SockJS, TargetOptions{PayloadBytes: file(t, "")}, "there is no line in it"},
	} {
		to, err := ParseTarget(tt.url, tt.protocol)
		if err != nil {
			t.Fatal(err)
		}
		err = tt.options.Apply(&to)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", tt.options, err, tt.want)
		}
	}
}

func TestParseSizes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text            string
		n               int
		first, mid, end int
	}{
		{"", 0, 0, 0, 0}, {"0", 0, 0, 0, 0}, {"70", 1, 70, 70, 70}, {"100-200", 100, 101, 151, 200},
		{"p50=100,p99=4000", 100, 1, 140, 4000}, {"p10=50,p100=50", 100, 3, 50, 50},
		{file(t, "5 1\n9 3\n"), 100, 5, 9, 9},
	} {
		got, err := ParseSizes(tt.text)
		if err != nil || len(got) != tt.n {
			t.Fatalf("%s: %v %v", tt.text, got, err)
		}
		if n := len(got); n > 0 && (got[0] != tt.first || got[n/2] != tt.mid || got[n-1] != tt.end) {
			t.Errorf("%s: %v", tt.text, got)
		}
	}
}

// Everything that a protocol's line in the table says is there.
func TestProtocolsAreDeclared(t *testing.T) {
	t.Parallel()
	for _, name := range results.Protocols() {
		p := declared(Protocol(name))
		if p.scheme == "" || p.open == nil || p.path == nil || p.sockets < 1 || streams(p.name) != (p.sockets == 2) {
			t.Errorf("%+v", p)
		}
	}
	if len(results.Protocols()) != len(protocols) || len(protocols) != 6 || quoted(WebSocket) || !quoted(EventSource) ||
		Sockets(XHRStreaming) != 2 {
		t.Error("the table is not what it was")
	}
}

// What a server sends together with its answer to the handshake is not lost.
func TestFramesBehindTheHandshake(t *testing.T) {
	t.Parallel()
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		const upgraded = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
		_, _ = fmt.Fprintf(c, "%s%s\r\n\r\n%s", upgraded,
			base64.StdEncoding.EncodeToString(sum[:]), "the rest")
		_, _ = io.Copy(io.Discard, c)
	}))
	d, err := dial(t.Context(), target(t, strings.Replace(s.URL, "http", "ws", 1), WebSocket, TargetOptions{}), 0)
	defer d.close()
	if err != nil || string(d.rest) != "the rest" {
		t.Errorf("%q %v", d.rest, err)
	}
}

// A level whose server greets is not open before the server is quiet.
func TestLevelSettles(t *testing.T) {
	t.Parallel()
	s := serve(t, &chat{join: "JOIN", welcome: "welcome"})
	to := target(t, strings.Replace(s.URL, "http", "ws", 1), WebSocket, TargetOptions{SendFirst: []string{"JOIN"}})
	l, err := OpenLevel(t.Context(), LevelConfig{Target: to, Connections: 5, IDBase: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // what its workers have counted may be read
	if got, want := l.parts[0].(*local).workers[0].bytes, 5*len("\x81\x07welcome"); got != want {
		t.Errorf("%d bytes of greetings, want %d", got, want)
	}
}

// Messages with commas of their own are counted at any place of the stream, and read without allocation.
func TestTemplatesWithCommas(t *testing.T) {
	to := target(t, "ws://h", SockJS, TargetOptions{Payload: `{"id":{id},"at":{time},"x":1}`})
	w := newTestWorkerOf(t, to)
	r := w.rooms[0]
	var texts []string
	for i := range 100 {
		texts = append(texts, fmt.Sprintf(`{"id":%d,"at":%d,"x":1}`, testBase+i%testConns, testStamp))
	}
	feed(t, w.conns[0], wire(SockJS, texts), nil)
	feed(t, w.conns[1], wire(SockJS, texts[:40]), nil)
	if got := w.delivered(); got != 140 || r.tally.foreign != 0 {
		t.Errorf("%d delivered, %d foreign", got, r.tally.foreign)
	}
	message := []byte(quote(texts[0]))
	if n := testing.AllocsPerRun(100, func() { r.form.parse(message, testBase, testConns) }); n != 0 {
		t.Errorf("%v allocations to read a message", n)
	}
}
