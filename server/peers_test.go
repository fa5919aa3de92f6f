package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
)

// peer is a client of the broadcast room that was written elsewhere.
type peer struct {
	name  string
	say   func(text string) error
	heard chan string // every message, as text
}

const (
	peerLines = 100
	peerKinds = `quote " slash \ line` + " \u2028 emoji 🎉 é"
)

func line(name string, i int) string { return fmt.Sprintf("%s %d %s", name, i, peerKinds) }

// Each of the libraries that Go programs use joins, on both endpoints, says 100 lines, and hears all lines of all, in
// one order.
func TestGoClients(t *testing.T) {
	t.Parallel()
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress %v", compress), func(t *testing.T) {
			t.Parallel()
			goClients(t, server.Config{Compress: compress, CompressBytesMin: 1})
		})
	}
}

func goClients(t *testing.T, config server.Config) {
	s := start(t, config)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	peers := []peer{
		joinGorilla(t, s, "/broadcast/0/g/websocket"), joinGorilla(t, s, "/broadcast/websocket"),
		joinCoder(ctx, t, s, "/broadcast/0/c/websocket"), joinCoder(ctx, t, s, "/broadcast/websocket"),
	}
	s.eventually(t, "all in", func(st server.Stats) bool { return st.Sessions == len(peers) })
	if n := s.stats(t).SessionsDeflate; config.Compress != (n == uint64(len(peers))) {
		t.Errorf("%d of them have permessage-deflate", n)
	}
	var saying sync.WaitGroup
	for i, p := range peers {
		saying.Go(func() {
			for k := range peerLines {
				if err := p.say(line(fmt.Sprint(i), k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var first []string
	for _, p := range peers {
		var got []string
		for len(got) < peerLines*len(peers) {
			select {
			case m := <-p.heard:
				got = append(got, m)
			case <-ctx.Done():
				t.Fatalf("%s heard %d messages", p.name, len(got))
			}
		}
		checkLines(t, p.name, got, len(peers))
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("%s heard another order", p.name)
		}
	}
	saying.Wait()
}

// checkLines checks that each sender's lines are all there, in order.
func checkLines(t *testing.T, who string, got []string, senders int) {
	t.Helper()
	next := make([]int, senders)
	for _, m := range got {
		var sender, k int
		if _, err := fmt.Sscanf(m, "%d %d", &sender, &k); err != nil || sender >= senders || k != next[sender] ||
			m != line(fmt.Sprint(sender), k) {
			t.Fatalf("%s heard %q, want line %v", who, m, next)
		}
		next[sender]++
	}
}

// outgoing and incoming frame and unframe for the endpoint.
func outgoing(path, text string) []byte {
	if strings.HasPrefix(path, "/broadcast/websocket") {
		return []byte(text)
	}
	p, _ := json.Marshal([]string{text})
	return p
}

func incoming(path string, p []byte, heard chan string) error {
	if strings.HasPrefix(path, "/broadcast/websocket") {
		heard <- string(p)
		return nil
	}
	if string(p) == codec.OpenFrame {
		return nil
	}
	var all []string
	if p[0] != 'a' || json.Unmarshal(p[1:], &all) != nil {
		return fmt.Errorf("a frame %.100q", p)
	}
	for _, m := range all {
		heard <- m
	}
	return nil
}

func joinGorilla(t *testing.T, s *running, path string) peer {
	t.Helper()
	dialer := gorilla.Dialer{EnableCompression: true}
	c, _, err := dialer.Dial("ws://"+s.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	send := func(text string) error { return c.WriteMessage(gorilla.TextMessage, outgoing(path, text)) }
	p := peer{"gorilla " + path, send, make(chan string, 1000)}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			_, m, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := incoming(path, m, p.heard); err != nil {
				t.Error(p.name, err)
			}
		}
	})
	t.Cleanup(func() { _ = c.Close(); reading.Wait() })
	return p
}

func joinCoder(ctx context.Context, t *testing.T, s *running, path string) peer {
	t.Helper()
	c, _, err := coder.Dial(ctx, "ws://"+s.addr+path, &coder.DialOptions{
		CompressionMode: coder.CompressionContextTakeover, CompressionThreshold: 1, // which we decline for both sides
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	send := func(text string) error { return c.Write(ctx, coder.MessageText, outgoing(path, text)) }
	p := peer{"coder " + path, send, make(chan string, 1000)}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			_, m, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := incoming(path, m, p.heard); err != nil {
				t.Error(p.name, err)
			}
		}
	})
	t.Cleanup(func() { _ = c.CloseNow(); reading.Wait() })
	return p
}

// The npm packages ws and sockjs-client, under Node and over each transport that there is for it, join, say 100 lines
// each, and hear all lines, in one order.
func TestNodeClients(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed (Debian: nodejs npm)")
	}
	if _, err := os.Stat("interop/node_modules/sockjs-client"); err != nil {
		t.Skip("the npm packages are not installed (npm ci in server/interop)")
	}
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress %v", compress), func(t *testing.T) {
			t.Parallel()
			nodeClients(t, server.Config{Compress: compress, CompressBytesMin: 1})
		})
	}
}

func nodeClients(t *testing.T, config server.Config) {
	s := start(t, config)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	clients := [][2]string{
		{"ws", "ws://" + s.addr + "/broadcast/websocket"},
		{"websocket", "http://" + s.addr + "/broadcast"},
		{"xhr-streaming", "http://" + s.addr + "/broadcast"},
		{"xhr-polling", "http://" + s.addr + "/broadcast"},
		{"eventsource", "http://" + s.addr + "/broadcast"},
	}
	var all []*nodeClient
	for i, c := range clients {
		all = append(all, startNode(ctx, t, c[0], c[1], i, len(clients)))
	}
	for _, n := range all {
		if got, err := n.out.ReadString('\n'); got != "open\n" {
			t.Fatalf("%s: %q %v", n.name, got, err)
		}
	}
	for _, n := range all {
		if _, err := io.WriteString(n.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	var first []string
	for _, n := range all {
		got := n.lines(t)
		if len(got) != peerLines*len(clients) {
			t.Fatalf("%s heard %d messages", n.name, len(got))
		}
		checkLines(t, n.name, got, len(clients))
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("%s heard another order", n.name)
		}
		if err := n.cmd.Wait(); err != nil {
			t.Errorf("%s: %v", n.name, err)
		}
	}
	// One is that of ws; sockjs-client offers nothing under Node.
	if n := s.stats(t).SessionsDeflate; config.Compress != (n == 1) {
		t.Errorf("%d sessions have permessage-deflate", n)
	}
}

type nodeClient struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

func startNode(ctx context.Context, t *testing.T, library, url string, i, of int) *nodeClient {
	t.Helper()
	args := []string{"join.mjs", library, url, fmt.Sprint(peerLines * of)}
	for k := range peerLines {
		args = append(args, line(fmt.Sprint(i), k))
	}
	n := &nodeClient{name: library, cmd: exec.CommandContext(ctx, "node", args...)}
	n.cmd.Dir, n.cmd.Stderr = "interop", os.Stderr
	in, errIn := n.cmd.StdinPipe()
	out, errOut := n.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, n.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	n.in, n.out = in, bufio.NewReader(out)
	return n
}

// lines are the messages that the client printed, up to its close.
func (n *nodeClient) lines(t *testing.T) []string {
	t.Helper()
	var all []string
	for {
		text, err := n.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: after %d messages: %v", n.name, len(all), err)
		}
		if strings.HasPrefix(text, "closed ") {
			return all
		}
		var m string
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%s: %q", n.name, text)
		}
		all = append(all, m)
	}
}

// A client of 2011: version 8, an Origin, the same URL for every connection, and frames as hybi-10 had them.
func TestClientsOf2011(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	var all []*client
	for range 5 {
		c := s.dial(t)
		c.say("GET /broadcast/0/0/websocket HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: " + s.addr +
			"\r\nOrigin: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n")
		if resp, body := c.response(); resp.StatusCode != http.StatusSwitchingProtocols ||
			resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("%s %q", resp.Status, body)
		}
		c.expect("o")
		all = append(all, c)
	}
	for i, c := range all {
		c.send(fmt.Sprintf(`["%d:1323950000000"]`, i))
	}
	for _, c := range all {
		if got := c.messages(len(all)); len(got) != len(all) {
			t.Errorf("%q", got)
		}
	}
}

// The Java client of 2011 speaks version 8 and answers a ping with the single byte 0x0a, which would be the beginning
// of a frame. So it is sent no pings, only heartbeats of SockJS, and lives on in silence.
func TestClientsOf2011AreNotPinged(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		Options: server.Options{HeartbeatDelay: 20 * time.Millisecond}, PongTimeout: 20 * time.Millisecond,
	})
	c := s.dial(t)
	c.say("GET /echo/0/0/websocket HTTP/1.1\r\n" + strings.Replace(handshakeHeaders, "Version: 13", "Version: 8", 1) +
		"\r\n")
	if resp, body := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s %q", resp.Status, body)
	}
	c.expect("o")
	for round := range 3 {
		for beats := 0; beats < 10; {
			switch op, p, err := c.next(); {
			case err != nil:
				t.Fatalf("after %d heartbeats: %v", beats, err)
			case op == ws.OpPing:
				t.Error("a ping")
				c.say("\n")
			case op == ws.OpText && p == "h":
				beats++
			default:
				t.Fatalf("%v %q", op, p)
			}
		}
		said := fmt.Sprintf(`["%d"]`, round)
		c.send(said)
		for {
			op, p, err := c.next()
			if err != nil || op != ws.OpText {
				t.Fatalf("%v %q %v", op, p, err)
			}
			if p == "a"+said {
				break
			}
		}
	}
	if st := s.stats(t); st.PongTimeouts+st.ProtocolErrors != 0 || st.Sessions != 1 {
		t.Errorf("%+v", st)
	}
}
