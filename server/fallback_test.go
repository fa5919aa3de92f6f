package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// What a session is sent arrives in the order it was sent, direct messages and broadcasts on two topics, whatever
// carries it, and however small the frames.
func TestOrderOverHTTP(t *testing.T) {
	t.Parallel()
	const n = 200
	var want, batch []string
	for i := range n {
		batch = append(batch, fmt.Sprintf("%q", fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("one %d", i), fmt.Sprintf("direct %d", i), fmt.Sprintf("two %d", i),
			fmt.Sprintf("one again %d", i))
	}
	for _, limits := range []server.Config{{}, {FrameBytesMax: 50, Options: server.Options{ResponseLimit: 200}}} {
		s := startMarking(t, limits)
		for _, transport := range []string{"xhr", "xhr_streaming"} {
			url := "/mixed/0/" + transport
			reader := s.dial(t)
			var body *bufio.Reader
			next := func() string {
				for {
					if body == nil {
						body = bufio.NewReader(reader.ask("POST", url+"/"+transport, "").Body)
					}
					line, err := body.ReadString('\n')
					if line = strings.TrimRight(line, "\n"); err == nil && strings.Trim(line, "h") != "" {
						return line
					}
					if err != nil {
						body = nil
					}
				}
			}
			if got := next(); got != "o" {
				t.Fatalf("%q", got)
			}
			s.dial(t).post(url, "["+strings.Join(batch, ",")+"]")
			if got := texts(t, len(want), next); strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("%s got %q", transport, got[:8])
			}
		}
	}
}

// A session may be asked for by one transport after the other: what was due on the wire of the one arrives on that of
// the next, in order.
func TestSessionChangesItsTransport(t *testing.T) {
	t.Parallel()
	s := startMarking(t, server.Config{Options: server.Options{ResponseLimit: 1}}) // streams end with their first frame
	const url = "/mixed/0/changing"
	c := s.dial(t)
	c.poll(url, "o")
	ways := []struct{ method, path, before, after, quote string }{
		{"GET", "/jsonp?c=x", `/**/x("`, "\");\r\n", `\"`}, {"GET", "/eventsource", "data: ", "\r\n\r\n", `"`},
		{"POST", "/xhr", "", "\n", `"`},
		{"GET", "/htmlfile?c=x", "<script>\np(\"", "\");\n</script>\r\n", `\"`},
		{"POST", "/xhr_streaming", "", "\n", `"`}, {"GET", "/jsonp?c=x", `/**/x("`, "\");\r\n", `\"`},
	}
	for i, w := range ways {
		c.post(url, fmt.Sprintf(`["%d%% <"]`, i))
		var elements []string
		for _, how := range []string{"one", "direct", "two", "one again"} {
			text := fmt.Sprintf("%s %d%% <", how, i)
			switch w.path {
			case "/eventsource":
				text = strings.ReplaceAll(text, "%", "%25")
			case "/jsonp?c=x", "/htmlfile?c=x":
				text = strings.ReplaceAll(text, "<", `\u003c`)
			}
			elements = append(elements, w.quote+text+w.quote)
		}
		want := w.before + "a[" + strings.Join(elements, ",") + "]" + w.after
		if _, got := s.dial(t).answer(w.method, url+w.path, ""); !strings.HasSuffix(got, want) {
			t.Fatalf("%s: %q, want %q", w.path, got, want)
		}
	}
}

// Frames that are longer than any socket buffer arrive whole, chunk by chunk or as one body, while the reader is slow.
func TestLargeFramesOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		MessageBytesMax: 4 << 20, LogBytesMax: 64 << 20, OutboxBytesMax: 64 << 20, UnsentBytesMax: 64 << 10,
	})
	large := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	for _, prefix := range []string{"/broadcast", "/echo"} {
		for _, path := range []string{"/xhr_streaming", "/eventsource", "/xhr", "/jsonp?c=x"} {
			t.Run(prefix+path, func(t *testing.T) {
				t.Parallel()
				c := s.dialSmall(t)
				url := prefix + "/0/large" + strings.NewReplacer("/", "-", "?", "-").Replace(path)
				method := "POST"
				if path == "/eventsource" || path == "/jsonp?c=x" {
					method = "GET"
				}
				sender := s.dial(t)
				polling := path == "/xhr" || path == "/jsonp?c=x"
				if polling {
					c.answer(method, url+path, "")
				}
				received := make(chan string, 1)
				reading := make(chan struct{})
				go func() {
					resp := c.ask(method, url+path, "")
					close(reading)
					p, _ := io.ReadAll(resp.Body)
					received <- string(p)
				}()
				if !polling {
					<-reading
				}
				for got := ""; got == ""; {
					if status, _ := sender.answer("POST", url+"/xhr_send", `["`+large+`"]`); status != 204 {
						t.Fatal(status)
					}
					got = <-received
					if !strings.Contains(got, large) || strings.Count(got, "0123") != strings.Count(large, "0123") {
						t.Errorf("%d bytes arrived of %d", len(got), len(large))
					}
				}
			})
		}
	}
}

func TestServicesAreToldOfTheEnd(t *testing.T) {
	t.Parallel()
	service, once := newRecording(), newRecording()
	s := start(t, server.Config{Options: server.Options{DisconnectDelay: time.Second}, OutboxBytesMax: 1000},
		"/recorded", service, "/closing", closing{once})

	s.dial(t).poll("/recorded/0/times-out", "o")
	service.wantClosed(t, 1006)
	if st := s.stats(t); st.SessionsTimedOut != 1 || st.Sessions != 0 {
		t.Errorf("%+v", st)
	}

	dropped := s.stream(t, "/recorded/0/dropped")
	dropped.wantLine("o")
	_ = dropped.Close()
	service.wantClosed(t, 1006)

	c := s.dial(t)
	c.poll("/recorded/0/overflows", "o")
	c.post("/recorded/0/overflows", `["`+strings.Repeat("x", 2000)+`"]`)
	service.wantClosed(t, 1008)
	c.poll("/recorded/0/overflows", `c[1008,"slow consumer"]`)
	if st := s.stats(t); st.SlowConsumersClosed != 1 {
		t.Errorf("%+v", st)
	}

	// A goodbye behind messages: they come first, and the service is told once, when the goodbye has left.
	c.poll("/closing/0/x", "o")
	c.post("/closing/0/x", `["last words"]`)
	c.poll("/closing/0/x", `a["last words"]`)
	c.poll("/closing/0/x", `c[4000,"done"]`)
	once.wantClosed(t, 4000)
	c.poll("/closing/0/x", `c[4000,"done"]`)
	c.post("/closing/0/x", `["nobody listens"]`)
	if n := len(once.closed) + len(service.closed); n != 0 {
		t.Errorf("%d ends more", n)
	}
}

// closing closes a session behind the first message, and publishes after that.
type closing struct{ *recording }

func (c closing) OnMessage(s *server.Session, m *server.Message) {
	_ = s.Send(m)
	s.Close(4000, "done")
	if s.Send(m) == nil {
		panic("a closed session takes messages")
	}
}

func TestTooManySessions(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{SessionsMax: 3, Options: server.Options{DisconnectDelay: 200 * time.Millisecond}})
	c := s.dial(t)
	for i := range 3 {
		c.poll(fmt.Sprintf("/echo/0/%d", i), "o")
	}
	for range 5 {
		resp := c.ask("POST", "/echo/0/more/xhr", "", "Origin", "http://page")
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" ||
			resp.Header.Get("Access-Control-Allow-Origin") != "http://page" {
			t.Fatalf("%v", resp)
		}
	}
	s.join(t, "/echo") // a WebSocket is bounded by its connection
	s.eventually(t, "they time out", func(st server.Stats) bool { return st.SessionsTimedOut == 3 })
	c.poll("/echo/0/more", "o")
	if st := s.stats(t); st.SessionsRefused != 5 {
		t.Errorf("%+v", st)
	}
}

// A handler that panics costs its session, the connection that posted and that of the receiver; nobody else.
func TestPanicOverHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{}, "/panic", panicking{})
	bystander := s.stream(t, "/echo/0/bystander")
	bystander.wantLine("o")
	receiver := s.stream(t, "/panic/0/x")
	receiver.wantLine("o")
	c := s.dial(t)
	c.say("POST /panic/0/x/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n[\"now\"]")
	c.expectEnd()
	receiver.expectEnd()
	s.eventually(t, "two panics", func(st server.Stats) bool { return st.HandlerPanics == 2 && st.Sessions == 1 })
	s.dial(t).post("/echo/0/bystander", `["alive"]`)
	bystander.wantLine(`a["alive"]`)
}

// What a client sends behind a poll waits for its turn, up to a bound.
func TestPipeliningBehindAPoll(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{BodyBytesMax: 1000, MessageBytesMax: 1000})
	c := s.dial(t)
	c.poll("/echo/0/x", "o")
	c.say("POST /echo/0/x/xhr HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 3))
	s.dial(t).post("/echo/0/x", `["first"]`)
	if resp, body := c.response(); resp.StatusCode != 200 || body != "a[\"first\"]\n" {
		t.Fatalf("%v %q", resp, body)
	}
	for range 3 {
		if _, body := c.response(); body != "Welcome to SockJS!\n" {
			t.Fatalf("%q", body)
		}
	}
	c.say("POST /echo/0/x/xhr HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x", 30_000))
	c.expectCut()
}

func TestStreamsThatNeverReadAreClosed(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, UnsentBytesMax: 64 << 10,
		Options: server.Options{ResponseLimit: 1 << 40},
	})
	reader := s.stream(t, "/broadcast/0/reader")
	reader.wantLine("o")
	const stalled = 5
	for i := range stalled {
		s.dialSmall(t).say(fmt.Sprintf("POST /broadcast/0/stalled%d/xhr_streaming HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	s.eventually(t, "everybody in", func(st server.Stats) bool { return st.Sessions == stalled+1 })
	talker := s.join(t, "/broadcast")
	message := strings.Repeat("x", 50_000)
	for rounds := 0; s.stats(t).SlowConsumersClosed < stalled; rounds++ {
		talker.send(`["` + message + `"]`)
		talker.expect(`a["` + message + `"]`)
		reader.wantLine(`a["` + message + `"]`)
		if rounds > 5000 {
			t.Fatalf("still there: %+v", s.stats(t))
		}
	}
	s.eventually(t, "they are gone", func(st server.Stats) bool {
		return st.Sessions == 2 && st.ConnectionsBlocked == 0
	})
}

// A poll that comes when the log has gone on without its session is told so.
func TestPollBehindTheLog(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, ReaderBytesPerSecond: -1})
	c := s.dial(t)
	c.poll("/broadcast/0/late", "o")
	s.sayLarge(t, 100)
	c.poll("/broadcast/0/late", `c[1008,"slow consumer"]`)
}

// With the policy skip it misses what fell off the log and what came before it polled, which is counted, and nothing
// else: what was said last is always there.
func TestPollBehindTheLogSkips(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, ReaderBytesPerSecond: -1, SlowConsumer: server.SlowConsumerSkip,
	})
	c := s.dial(t)
	c.poll("/broadcast/0/late", "o")
	talker := s.sayLarge(t, 100)
	talker.send(`["now"]`)
	talker.messages(1)
	poll := func() string {
		_, body := c.answer("POST", "/broadcast/0/late/xhr", "")
		return strings.TrimSuffix(body, "\n")
	}
	got := texts(t, 1, poll)
	skipped := int(s.stats(t).MessagesSkipped)
	got = append(got, texts(t, 101-skipped-len(got), poll)...)
	if got[len(got)-1] != "now" || skipped < 50 || skipped > 100 {
		t.Errorf("%d messages came and %d were skipped; the last is %.20q", len(got), skipped, got[len(got)-1])
	}
}

// sayLarge publishes n messages of 50,000 bytes, one a turn.
func (r *running) sayLarge(t *testing.T, n int) *client {
	t.Helper()
	talker := r.join(t, "/broadcast")
	message := strings.Repeat("x", 50_000)
	for range n {
		talker.send(`["` + message + `"]`)
		talker.messages(1)
	}
	return talker
}

// Shutdown tells streams and polls that wait, and the services of sessions that nobody waits for.
func TestShutdownOverHTTP(t *testing.T) {
	t.Parallel()
	service := newRecording()
	s := start(t, server.Config{}, "/recorded", service)
	streaming := s.stream(t, "/recorded/0/stream")
	streaming.wantLine("o")
	polling, between := s.dial(t), s.dial(t)
	polling.poll("/recorded/0/poll", "o")
	polling.say("POST /recorded/0/poll/xhr HTTP/1.1\r\nHost: x\r\n\r\n")
	between.poll("/recorded/0/between", "o")
	s.eventually(t, "requests", func(st server.Stats) bool { return st.Requests == 4 })
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(t.Context()) }()
	streaming.wantLine(`c[3000,"Go away!"]`)
	if resp, body := polling.response(); body != `c[3000,"Go away!"]`+"\n" || !resp.Close {
		t.Errorf("%q %v", body, resp.Header)
	}
	streaming.expectEnd()
	polling.expectEnd()
	between.expectEnd()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range 3 {
		service.wantClosed(t, 3000)
	}
}

// A subscription that ends in the middle of a chunk lets it end.
func TestUnsubscribeInTheMiddleOfAChunk(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 100, UnsentBytesMax: 64 << 10,
		Options: server.Options{ResponseLimit: 1 << 30},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/kicking", &kicking{srv.NewTopic("topic"), map[*server.Session]bool{}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	talker := s.join(t, "/kicking")
	c := s.dialSmall(t)
	slow := &stream{c, bufio.NewReader(c.ask("POST", "/kicking/0/slow/xhr_streaming", "").Body)}
	slow.line()
	slow.wantLine("o")
	message := strings.Repeat("x", 50_000)
	s.untilSomebodyLags(t, talker, message)
	talker.send(`["kick"]`)
	for frame := slow.line(); frame != `a["bye"]`; frame = slow.line() {
		for _, text := range texts(t, 1, func() string { return frame }) {
			if text != message {
				t.Fatalf("%.50q", text)
			}
		}
	}
}

// Between two polls a session keeps little: itself, its id and a cursor. What is charged is what it takes
// (TestFixedCosts).
func TestIdleSessionKeepsOnlyACursor(t *testing.T) {
	t.Parallel()
	const sessions = 1000
	s := start(t, server.Config{SessionsMax: 2 * sessions, Options: server.Options{DisconnectDelay: time.Hour}})
	c := s.dial(t)
	c.poll("/broadcast/0/warm-up", "o")
	before := s.stats(t).MemoryBytes
	for i := range sessions {
		c.poll(fmt.Sprintf("/broadcast/0/%08d-1b2c-4d5e-8f90-123456789012", i), "o")
	}
	if each := (s.stats(t).MemoryBytes - before) / sessions; each > 850 {
		t.Errorf("%d bytes a session, want at most 850", each)
	}
}

// Nothing is allocated for a message or a turn on the way to a stream.
func TestStreamsDoNotAllocate(t *testing.T) {
	s := start(t, server.Config{Options: server.Options{ResponseLimit: 1 << 40}})
	reader := s.stream(t, "/broadcast/0/reader")
	reader.wantLine("o")
	talker := s.join(t, "/broadcast")
	const each = 100
	burst := strings.Repeat(frame(ws.OpText, `["17:1700000000000"]`), each)
	p := make([]byte, 64<<10)
	turn := func() {
		talker.say(burst)
		for _, c := range []*client{talker, reader.client} {
			for got := 0; got < each; {
				n, err := c.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				got += strings.Count(string(p[:n]), "17:17")
			}
		}
	}
	if n := allocations(200, turn) / each; n > 0.25 {
		t.Errorf("%.2f allocations a message; the turns' own, and this test's, should be a fifth of one", n)
	}
}

// FuzzSessionOverHTTP asks for a session by transports at random while messages come from it, from another and on two
// topics: all of them arrive, once, in order, whatever the limits cut.
func FuzzSessionOverHTTP(f *testing.F) {
	f.Add(uint64(1), uint8(60), uint8(40))
	f.Add(uint64(2), uint8(120), uint8(1))
	f.Add(uint64(3), uint8(200), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, steps, frameBytes uint8) {
		// streams end with their first frame
		s := startMarking(t, server.Config{
			FrameBytesMax: 1 + int(frameBytes), Options: server.Options{ResponseLimit: 1},
		})
		r := rand.New(rand.NewPCG(seed, 0))
		const url = "/mixed/0/fuzzed"
		c := s.dial(t)
		c.poll(url, "o")
		var due, got []string
		ways := []struct {
			method, path, before, after string
			read                        func(string) string
		}{
			{"POST", "/xhr", "", "\n", strings.Clone},
			{"POST", "/xhr_streaming", "", "\n", strings.Clone},
			{"GET", "/eventsource", "data: ", "\r\n\r\n",
				func(s string) string { return strings.ReplaceAll(s, "%25", "%") }},
			{"GET", "/jsonp?c=x", `/**/x("`, "\");\r\n", unscript},
			{"GET", "/htmlfile?c=x", "<script>\np(\"", "\");\n</script>\r\n", unscript},
		}
		for step := range int(steps) {
			if r.IntN(3) > 0 {
				text := fmt.Sprintf("%d %% < \" \\ é%s", step, strings.Repeat("x", r.IntN(60)))
				p, err := json.Marshal([]string{text})
				if err != nil {
					t.Fatal(err)
				}
				c.post(url, string(p))
				for _, how := range []string{"one", "direct", "two", "one again"} {
					due = append(due, how+" "+text)
				}
			}
			if len(due) == len(got) {
				continue // nothing would come
			}
			w := ways[r.IntN(len(ways))]
			_, body := c.answer(w.method, url+w.path, "")
			frames := 0
			for rest := body; ; frames++ {
				_, frame, ok := strings.Cut(rest, w.before+"a[")
				if !ok {
					break
				}
				frame, rest, _ = strings.Cut(frame, "]"+w.after)
				var some []string
				if err := json.Unmarshal([]byte(w.read("["+frame+"]")), &some); err != nil {
					t.Fatalf("seed %d: %s: %q: %v", seed, w.path, body, err)
				}
				got = append(got, some...)
			}
			if frames == 0 || len(got) > len(due) || strings.Join(got, "\n") != strings.Join(due[:len(got)], "\n") {
				t.Fatalf("seed %d, step %d: by %s came %q; %d of %d are here", seed, step, w.path, body, len(got),
					len(due))
			}
		}
	})
}

// unscript reads the inside of a JavaScript string.
func unscript(s string) string {
	var text string
	if err := json.Unmarshal([]byte(`"`+s+`"`), &text); err != nil {
		return err.Error()
	}
	return text
}

// What a client sends ahead is kept as long as it waits, and no longer, however long the client goes on.
func TestPollsThatAreAlwaysAhead(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c, poster := s.dial(t), s.dial(t)
	poll := "POST /echo/0/ahead/xhr HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 6000) +
		"\r\nContent-Length: 0\r\n\r\n"
	c.say(poll + poll + poll)
	for n := range 200 {
		if _, body := c.response(); (body == "o\n") != (n == 0) {
			t.Fatalf("response %d: %q", n, body)
		}
		c.say(poll)
		poster.post("/echo/0/ahead", `["x"]`)
	}
	s.eventually(t, "the rest is kept", func(st server.Stats) bool { return st.InputBytes < 64<<10 })
}
