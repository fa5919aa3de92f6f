package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// The attacks on a server in a process of its own run one after the other: what one costs is not another's.

// prompt bounds what others notice of an attack.
var prompt = bounds{p99: 50 * time.Millisecond, longest: 250 * time.Millisecond, newcomers: 95}

// connect opens a connection without a deadline, which ends with the test.
func (p *process) connect() *client {
	c := p.dial(p.t)
	_ = c.SetDeadline(time.Time{})
	return c
}

// discard reads what the server sends, until it ends.
func (c *client) discard() { _, _ = io.Copy(io.Discard, c.Conn) }

// publish sends messages to the broadcast room from a raw WebSocket, which hears them too, and waits until they are
// published.
func (p *process) publish(count int, message string) {
	p.t.Helper()
	c := p.open(p.t, "/broadcast/websocket")
	go c.discard()
	before := p.stats().MessagesPublished
	text := frame(ws.OpText, message)
	for range count {
		c.say(text)
	}
	p.eventually("all is published", func(st processStats) bool { return st.MessagesPublished >= before+uint64(count) })
	_ = c.Close()
}

// Sessions over HTTP that ask by jsonp once what they asked for by xhr before must not have the whole log converted.
func TestAttackTransportsThatChange(t *testing.T) {
	overload(t) // the last test looks what has become of its memory
	attack(t, prompt, settings{"DisconnectDelay": time.Minute}, func(p *process) {
		var all []*client
		for i := range 6 {
			c := p.dial(t)
			c.poll(fmt.Sprintf("/broadcast/0/%d", i), "o")
			all = append(all, c)
		}
		p.publish(13<<20/60_000, strings.Repeat("<", 60_000))
		for i, c := range all {
			c.say(fmt.Sprintf("GET /broadcast/0/%d/jsonp?c=x HTTP/1.1\r\nHost: x\r\n\r\n", i))
		}
		for _, c := range all {
			if resp, body := c.response(); resp.StatusCode != http.StatusOK {
				t.Errorf("%s %.100q", resp.Status, body)
			}
		}
		time.Sleep(500 * time.Millisecond)
	})
}

// A hundred connections that pipeline the cheapest requests without end leave the others their turn.
func TestAttackPipelinedRequests(t *testing.T) {
	attack(t, prompt, nil, func(p *process) {
		requests := bytes.Repeat([]byte("GET /a HTTP/1.1\r\nHost:x\r\n\r\n"), 2000)
		for range 100 {
			c := p.connect()
			go c.discard()
			go func() {
				for {
					if _, err := c.Write(requests); err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(duration(3 * time.Second))
	})
}

// Messages that take long to inflate and come to nothing leave the others their turn, though none can be divided.
func TestAttackMessagesOfEmptyBlocks(t *testing.T) {
	b := prompt
	if raceEnabled { // inflating is twenty times as slow then, and such a message takes a tenth of a second
		b = bounds{newcomers: prompt.newcomers}
	}
	attack(t, b, settings{"Compress": true}, func(p *process) {
		frames := strings.Repeat(emptyBlocks(12_000), 4)
		for range 48 {
			c, _ := p.offer(p.t, "/echo/websocket", deflateOffer)
			go c.discard()
			go func() {
				for {
					if _, err := io.WriteString(c, frames); err != nil {
						return
					}
				}
			}()
		}
		time.Sleep(duration(3 * time.Second))
	})
}

// What waits behind three polls, a megabyte each, runs when one broadcast answers them: not all at once.
func TestAttackRequestsBehindAPoll(t *testing.T) {
	attack(t, prompt, nil, func(p *process) {
		for i := range 3 {
			c := p.connect()
			go c.discard()
			poll := fmt.Sprintf("POST /broadcast/0/%d/xhr HTTP/1.1\r\nHost:x\r\n\r\n", i)
			c.say(poll + poll)
			var b strings.Builder
			for k := 0; b.Len() < 1<<20; k++ {
				fmt.Fprintf(&b, "POST /room/0/%d-%d/xhr HTTP/1.1\r\nHost:x\r\n\r\n", i, k)
			}
			go c.say(b.String())
		}
		time.Sleep(500 * time.Millisecond)
		p.publish(1, "now")
		time.Sleep(3 * time.Second)
	})
}

// What waits behind a poll is not copied for each of the polls before it: a message costs the same, whatever waits.
func TestAttackPollsBehindAPoll(t *testing.T) {
	const connections, messages = 10, 200
	// cost is the CPU time of the messages when so many polls wait on each connection.
	cost := func(polls int) time.Duration {
		p := startProcess(t, nil)
		var reading sync.WaitGroup
		for i := range connections {
			c := p.dial(t)
			poll := fmt.Sprintf("POST /broadcast/0/%d/xhr HTTP/1.1\r\nHost:x\r\n\r\n", i)
			c.poll(fmt.Sprintf("/broadcast/0/%d", i), "o")
			go c.say(strings.Repeat(poll, polls))
			reading.Go(func() {
				for range messages {
					resp, err := http.ReadResponse(c.r, nil)
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
					}
					if isTimeout(err) {
						t.Error("the polls are neither answered nor refused")
					}
					if err != nil { // the server does not let so much wait
						return
					}
				}
			})
		}
		time.Sleep(200 * time.Millisecond)
		talker := p.open(t, "/broadcast/websocket")
		before := p.cpu()
		for i := range messages {
			talker.send(fmt.Sprint(i))
			talker.expect(fmt.Sprint(i))
			time.Sleep(2 * time.Millisecond)
		}
		reading.Wait()
		return p.cpu() - before
	}
	few, many := cost(messages+10), cost(1<<20/50)
	t.Logf("%v and %v of CPU time for %d messages", few, many, messages)
	if many > 2*few+60*time.Millisecond {
		t.Errorf("%d messages cost %v while a megabyte of polls waits on each connection, and %v while few do",
			messages, many, few)
	}
}

// Each of a thousand clients that ask for large pages and never read costs one page of 60 KB, and others are served.
func TestAttackAskersThatNeverRead(t *testing.T) {
	// A thousand pages are 70 ms of work: an echo among them waits as long, once.
	b := bounds{longest: prompt.longest, newcomers: prompt.newcomers, growth: 72 << 20}
	attack(t, b, nil, func(p *process) {
		requests := strings.Repeat("GET /echo/sockjs.min.js HTTP/1.1\r\nHost:x\r\n\r\n", 18)
		for range 1000 {
			p.dialSmall(t).say(requests)
		}
		time.Sleep(2500 * time.Millisecond)
	})
}

// One publisher at full speed does not cut off readers that take 5 MB/s, steadily; they hear everything.
func TestAttackPublisherAtFullSpeed(t *testing.T) {
	const messages, size = 680, 50_000
	attack(t, bounds{longest: prompt.longest, newcomers: 95}, nil, func(p *process) {
		var unhurried atomic.Bool
		unhurried.Store(true)
		var reading sync.WaitGroup
		for range 3 {
			c := p.open(t, "/broadcast/websocket")
			c.r.Reset(&steady{Conn: c.Conn, bytesPerSecond: 5_000_000, while: &unhurried})
			_ = c.SetDeadline(time.Now().Add(2 * patience))
			reading.Go(func() {
				for i := range messages {
					_, got, err := c.next()
					if want := fmt.Sprintf("%08d", i); err != nil || !strings.HasPrefix(got, want) {
						t.Errorf("%.8q and %v instead of message %d", got, err, i)
						return
					}
				}
			})
		}
		publisher := p.open(t, "/broadcast/websocket")
		_ = publisher.SetDeadline(time.Now().Add(2 * patience))
		go publisher.discard()
		filling := strings.Repeat("x", size-8)
		began := time.Now()
		for i := range messages {
			publisher.send(fmt.Sprintf("%08d%s", i, filling))
		}
		t.Logf("the publisher took %v", time.Since(began).Round(time.Millisecond))
		time.Sleep(time.Until(began.Add(4 * time.Second)))
		unhurried.Store(false)
		reading.Wait()
	})
}

// steady is a connection that is read at a steady rate, for a while.
type steady struct {
	net.Conn
	bytesPerSecond int
	while          *atomic.Bool
	began          time.Time
	read           int
}

func (s *steady) Read(p []byte) (int, error) {
	if s.while.Load() {
		if s.began.IsZero() {
			s.began = time.Now()
		}
		p = p[:min(len(p), 16<<10)]
		time.Sleep(time.Until(s.began.Add(time.Duration(s.read) * time.Second / time.Duration(s.bytesPerSecond))))
	}
	n, err := s.Conn.Read(p)
	s.read += n
	return n, err
}

// A publisher that exceeds its rate is not read until it may go on: nothing is lost, and it is counted.
func TestAttackPublisherBeyondItsRate(t *testing.T) {
	for name, set := range map[string]settings{
		"messages": {"PublishRate": 500}, "bytes": {"PublishBytes": 50_000},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, set)
			c := p.join(t, "/broadcast")
			const messages = 1500
			began := time.Now()
			go func() {
				for i := range messages {
					c.send(fmt.Sprintf(`["%0100d"]`, i))
				}
			}()
			for i, got := range c.messages(messages) {
				if want := fmt.Sprintf("%0100d", i); got != want {
					t.Fatalf("%q instead of message %d", got, i)
				}
			}
			// 3 s at either rate; what a second may hold may come at once.
			if took := time.Since(began); took < 1500*time.Millisecond {
				t.Errorf("it was through in %v", took)
			}
			if st := p.stats(); st.PublishersHeld == 0 {
				t.Error("nobody counted it")
			}
		})
	}
}

// Two thousand detached sessions, each in another segment of the log, keep no more than the log.
func TestAttackDetachedSessionsAlongTheLog(t *testing.T) {
	b := prompt
	b.growth = 64 << 20
	set := settings{
		"LogBytesMax": 1 << 20, "BatchBytesMax": 1 << 19, "DisconnectDelay": time.Hour, "SlowConsumer": "skip",
		"ReaderBytesPerSecond": -1, // the publisher is not to wait for them
	}
	attack(t, b, set, func(p *process) {
		const sessions = 2000
		poll, talker := p.dial(t), p.open(t, "/broadcast/websocket")
		go talker.discard()
		message := frame(ws.OpText, strings.Repeat("x", 63_000))
		before := p.stats().MessagesPublished
		for i := range sessions {
			poll.poll(fmt.Sprintf("/broadcast/0/%d", i), "o")
			talker.say(message)
		}
		p.eventually("all is published", func(st processStats) bool { return st.MessagesPublished >= before+sessions })
		time.Sleep(300 * time.Millisecond)
	})
}

// A ping behind each empty message makes a frame of each: what describes the frames of a log counts too.
func TestAttackEmptyMessages(t *testing.T) {
	b := prompt
	b.longest = 0 // it is a publisher at full speed
	attack(t, b, nil, func(p *process) {
		p.stalled(t, "/broadcast")
		stalled := p.dialSmall(t)
		stalled.say("GET /broadcast/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
		stream := p.stream(t, "/broadcast/0/stalled")
		stream.wantLine("o")
		p.eventually("all are in", func(st processStats) bool { return st.Sessions >= 3 })
		talker := p.open(t, "/broadcast/websocket")
		_ = talker.SetDeadline(time.Time{})
		go talker.discard()
		burst := []byte(strings.Repeat(frame(ws.OpText, "")+frame(ws.OpPing, ""), 5000))
		for end := time.Now().Add(duration(3 * time.Second)); time.Now().Before(end); {
			if _, err := talker.Write(burst); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Empty pings that are never answered to the end: a peer that does not read its pongs costs the latest.
func TestAttackPingsThatNobodyReads(t *testing.T) {
	b := prompt
	b.growth = 48 << 20
	attack(t, b, nil, func(p *process) {
		const peers, payload = 16, 125
		pings := strings.Repeat(frame(ws.OpPing, strings.Repeat("x", payload)), 80_000) // more than the kernel takes
		var sending sync.WaitGroup
		for range peers {
			c := p.dialSmall(t)
			c.say("GET /echo/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
			sending.Go(func() { c.say(pings) })
		}
		sending.Wait() // all are read, or in the kernel, or their sender is cut off
		p.eventually("each costs a pong when all pings are read", func(st processStats) bool {
			return st.ConnectionsBlocked >= peers && st.InputBytes+st.OutboxesBytes <= peers*4*payload
		})
		if n := p.stats().SlowConsumersClosed; n > 0 {
			t.Errorf("%d peers are cut off", n)
		}
	})
}

// manyEmpty is a body of an xhr_send: so many empty messages.
func manyEmpty(count int) string { return "[" + strings.Repeat(`"",`, count-1) + `""]` }

// postTooMuch sends what a server may take or refuse.
func (c *client) postTooMuch(session, body string) {
	c.t.Helper()
	status, why := c.answer("POST", session+"/xhr_send", body)
	if status != http.StatusNoContent && status != http.StatusRequestEntityTooLarge {
		c.t.Errorf("%d %q", status, why)
	}
}

// Twenty echo sessions whose outboxes are full of empty messages.
func TestAttackEmptyMessagesInOutboxes(t *testing.T) {
	b := bounds{p99: prompt.p99, longest: prompt.longest, newcomers: 95}
	attack(t, b, settings{"DisconnectDelay": time.Minute}, func(p *process) {
		body := manyEmpty(340_000)
		for i := range 20 {
			url := fmt.Sprintf("/echo/0/%d", i)
			c := p.dial(t)
			c.poll(url, "o")
			c.postTooMuch(url, body)
		}
		time.Sleep(300 * time.Millisecond)
	})
}

// One request with 340,000 empty messages neither blocks the loop nor leaves its marks in memory.
func TestAttackOneRequestOfEmptyMessages(t *testing.T) {
	attack(t, bounds{longest: 50 * time.Millisecond, growth: memorySlack}, nil, func(p *process) {
		c := p.dial(t)
		c.poll("/broadcast/0/x", "o")
		body := manyEmpty(340_000)
		for range 3 {
			time.Sleep(200 * time.Millisecond)
			c.postTooMuch("/broadcast/0/x", body)
		}
		time.Sleep(200 * time.Millisecond)
	})
}

// Thousands of readers that do not read cost nothing while nothing happens: no more than a server without them, to
// which whatever else runs on the machine does the same.
func TestAttackStalledReaders(t *testing.T) {
	readers := min(5000, int(openFiles(t))/2-500)
	s := settings{"UnsentBytesMax": 16 << 10, "HeartbeatDelay": 10 * time.Minute, "LogBytesMax": 64 << 20}
	p, without := startProcess(t, s), startProcess(t, s)
	for range readers {
		p.stalled(t, "/broadcast")
	}
	p.eventually("all are in", func(st processStats) bool { return st.Sessions >= readers })
	talker := p.open(t, "/broadcast/websocket")
	go talker.discard()
	message := strings.Repeat("x", 50_000)
	for sent := 0; p.stats().ConnectionsBlocked < readers; sent++ {
		if sent == 200 {
			t.Fatalf("%d of %d sockets are full", p.stats().ConnectionsBlocked, readers)
		}
		talker.send(message)
		time.Sleep(20 * time.Millisecond)
	}
	_ = talker.Close()
	time.Sleep(500 * time.Millisecond)
	const window = 2 * time.Second
	free := 0
	for range 5 { // what was sent may still be cleared away in the first, and the other server be busy in one
		before := p.cpu() - without.cpu()
		time.Sleep(window)
		share := 100 * float64(p.cpu()-without.cpu()-before) / float64(window)
		t.Logf("%d stalled readers cost %.1f %% of a core", readers, share)
		if share < 3 {
			free++
		}
		if free == 2 {
			return
		}
	}
	t.Errorf("%d stalled readers cost 3 %% of a core or more in all windows but %d, want less in two", readers, free)
}

// Without a free descriptor the server waits, without spinning, and goes on when there are some.
func TestAttackNoDescriptorLeft(t *testing.T) {
	p := startProcess(t, nil)
	echo := p.open(t, "/echo/websocket")
	alive := func() {
		t.Helper()
		echo.send("alive")
		echo.expect("alive")
	}
	alive()
	p.limitDescriptors(uint64(p.descriptors()))
	var waiting []*client
	for range 50 {
		c := p.dial(t)
		c.say("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
		waiting = append(waiting, c)
	}
	time.Sleep(200 * time.Millisecond)
	alive()
	before := p.cpu()
	time.Sleep(time.Second)
	if used := p.cpu() - before; used > 300*time.Millisecond {
		t.Errorf("it used %v of CPU time in a second of waiting for a descriptor", used)
	}
	alive()
	p.limitDescriptors(1 << 20)
	for _, c := range waiting {
		_ = c.SetDeadline(time.Now().Add(slower(3 * time.Second)))
		if resp, body := c.response(); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	alive()
}

// Thousands of clients that send a byte now and then, of a head, a body and a frame, are not noticed by the others.
func TestAttackSlowLoris(t *testing.T) {
	each := min(1000, (int(openFiles(t))/2-500)/3)
	attack(t, prompt, nil, func(p *process) {
		type slow struct {
			*client
			beginning string
		}
		var all []*slow
		begin := func(l *slow) {
			l.client = p.connect()
			l.say(l.beginning)
		}
		for _, beginning := range []string{
			"GET /echo HTTP/1.1\r\nHost: x\r\nX: ",
			"POST /echo/0/x/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n[",
			"GET /echo/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n" +
				frame(ws.OpText, strings.Repeat("x", 60_000))[:10],
		} {
			for range each {
				l := &slow{beginning: beginning}
				begin(l)
				all = append(all, l)
			}
		}
		for end := time.Now().Add(duration(2 * time.Second)); time.Now().Before(end); {
			for _, l := range all {
				if _, err := l.Write([]byte("x")); err != nil { // its time was over
					begin(l)
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}

// The defaults fit the machine: a server without settings keeps 256 MiB for its clients at most.
func TestAttackDefaultsExceedTheMachine(t *testing.T) {
	s, err := server.New(server.Config{ConnectionsMax: 15_000})
	if err != nil {
		t.Fatal(err)
	}
	fields := asMap(t, s.Config())
	budget, ok := fields["MemoryBytesMax"].(float64)
	if !ok || budget < 1 || budget > memoryBytesMax {
		t.Errorf("MemoryBytesMax is %v, want at most %d", fields["MemoryBytesMax"], memoryBytesMax)
	}
}

// A session id must not keep the request that it came in.
func TestAttackSessionIDsKeepRequests(t *testing.T) {
	const sessions = 2000
	s := start(t, server.Config{SessionsMax: 2 * sessions, Options: server.Options{DisconnectDelay: time.Hour}})
	c := s.dial(t)
	query := "?" + strings.Repeat("x", 7900)
	open := func(i int) {
		url := fmt.Sprintf("/broadcast/0/%08d/xhr%s", i, query)
		if status, got := c.answer("POST", url, ""); status != http.StatusOK || got != "o\n" {
			t.Fatalf("%d %q", status, got)
		}
	}
	open(sessions)
	before := heap()
	for i := range sessions {
		open(i)
	}
	each := float64(int64(heap())-int64(before)) / sessions
	t.Logf("%.0f bytes a session", each)
	if each > 1000 {
		t.Errorf("%.0f bytes a session, want at most 1000", each)
	}
}

// A session that changes its transport when its log has gone on without it is told so.
func TestAttackTransportChangesBehindTheLog(t *testing.T) {
	s := start(t, server.Config{LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19})
	c := s.dial(t)
	c.poll("/broadcast/0/late", "o")
	talker := s.join(t, "/broadcast")
	message := strings.Repeat("x", 50_000)
	for range 100 {
		talker.send(`["` + message + `"]`)
		talker.messages(1)
	}
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	_, body := c.answer("GET", "/broadcast/0/late/jsonp?c=x", "")
	if !strings.Contains(body, `c[1008,\"slow consumer\"]`) {
		t.Errorf("%.100q instead of 1008", body)
	}
}

// A service that asks for the counters on the loop gets an answer, and nobody waits for it.
func TestAttackStatsOnTheLoop(t *testing.T) {
	s := start(t, server.Config{})
	c := s.join(t, "/echo")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	took := make(chan time.Duration, 1)
	err := s.Post(func() {
		began := time.Now()
		_, _ = s.Stats(ctx)
		took <- time.Since(began)
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.send(`["here"]`)
	c.expect(`a["here"]`)
	if echoed := time.Since(began); echoed > time.Second {
		t.Errorf("the others waited for %v", echoed)
	}
	if d := <-took; d > time.Second {
		t.Errorf("Stats took %v on the loop", d)
	}
}

// sending is an xhr_send.
func sending(session, body string) string {
	return fmt.Sprintf("POST %s/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", session, len(body), body)
}

// hold blocks the loop until it is released, so that what clients send meanwhile is found by it at once.
func (r *running) hold(t *testing.T) (release func()) {
	t.Helper()
	block := make(chan struct{})
	if err := r.Post(func() { <-block }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond) // until it is
	return func() { close(block) }
}

// What comes in the turn in which the response to an earlier request ends is read behind what waited for it.
func TestAttackRequestsInTheTurnOfAResponse(t *testing.T) {
	const get = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
	// A message as large as a batch is delivered within its turn; a full outbox answers its poll within it, too.
	set := server.Config{BatchBytesMax: 1000, LogBytesMax: 1 << 20, OutboxBytesMax: 1000}
	for name, tt := range map[string]struct{ path, answer string }{
		"a batch is full":   {"/broadcast", `a["` + strings.Repeat("x", 2000) + `"]` + "\n"},
		"an outbox is full": {"/echo", `c[1008,"slow consumer"]` + "\n"},
	} {
		for _, padding := range []int{0, 300} { // 300 bytes of headers in each request: more than a head may have waits
			t.Run(fmt.Sprintf("%s, %d bytes more", name, padding), func(t *testing.T) {
				s := start(t, set)
				for round := range 10 {
					c, sender := s.dial(t), s.dial(t)
					session := fmt.Sprintf("%s/0/%d", tt.path, round)
					request := strings.Replace(get, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", padding)+"\r\n\r\n", 1)
					waiting := 3
					if padding > 0 {
						waiting = 30
					}
					c.poll(session, "o")
					c.say("POST " + session + "/xhr HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat(request, waiting))
					time.Sleep(10 * time.Millisecond)
					body := `["` + strings.Repeat("x", 2000) + `"]`
					release := s.hold(t)
					sender.say(sending(session, body))
					time.Sleep(2 * time.Millisecond)
					c.say(request + request)
					time.Sleep(2 * time.Millisecond)
					release()
					_ = c.SetDeadline(time.Now().Add(3 * time.Second))
					if resp, err := http.ReadResponse(c.r, nil); err != nil {
						t.Fatalf("the poll: %v", err)
					} else if got, _ := io.ReadAll(resp.Body); string(got) != tt.answer {
						t.Fatalf("the poll: %.100q, want %.100q", got, tt.answer)
					}
					for i := range waiting + 2 {
						resp, err := http.ReadResponse(c.r, nil)
						if err != nil {
							t.Fatalf("after %d of %d answers: %v", i, waiting+2, err)
						}
						if got, _ := io.ReadAll(resp.Body); string(got) != "Welcome to SockJS!\n" {
							t.Fatalf("answer %d: %s %q", i, resp.Status, got)
						}
					}
				}
				if st := s.stats(t); st.HandlerPanics != 0 {
					t.Errorf("%d panics", st.HandlerPanics)
				}
			})
		}
	}
}

// pair is a room with two topics: what begins with a 1 goes to the first, everything else to the second.
type pair struct{ topics [2]*server.Topic }

func (p *pair) OnOpen(s *server.Session) {
	for _, topic := range p.topics {
		s.Subscribe(topic)
	}
}
func (p *pair) OnClose(*server.Session, server.CloseReason) {}
func (p *pair) OnMessage(_ *server.Session, m *server.Message) {
	if m.Text()[0] == '1' {
		p.topics[0].Publish(m)
	} else {
		p.topics[1].Publish(m)
	}
}

// pairTalk is what a talker has said in a pair.
type pairTalk struct {
	talker       *client
	sent, second int         // messages, and the last of them to the second topic
	after        map[int]int // each message of the second topic: the next one
}

// say says something to one of the topics, and waits for it.
func (p *pairTalk) say(topic, size int) {
	if topic == 2 {
		p.after[p.second], p.second = p.sent, p.sent
	}
	text := fmt.Sprintf("%d %07d ", topic, p.sent) + strings.Repeat("x", size)
	p.talker.send(text)
	p.talker.expect(text)
	p.sent++
}

// A reader that skips what one of its topics has lost is sent whole frames all the same, and the rest in order.
func TestAttackSkipsInsideFrames(t *testing.T) {
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 100, SlowConsumer: server.SlowConsumerSkip,
		LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, ReaderBytesPerSecond: -1,
		UnsentBytesMax: 16 << 10, FrameBytesMax: 256 << 10, Options: server.Options{ResponseLimit: 1 << 40},
	})
	if err != nil {
		t.Fatal(err)
	}
	service := &pair{[2]*server.Topic{srv.NewTopic("one"), srv.NewTopic("two")}}
	if err := srv.Handle("/pair", service); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	ended := uint64(0)
	for round := range 10 {
		if !skipInsideFrame(t, s, round) {
			ended++
		}
	}
	if st := s.stats(t); st.SlowConsumersClosed < ended || st.SlowConsumersSkipped+st.SlowConsumersClosed == 0 {
		t.Errorf("%d connections ended: %+v", ended, st)
	}
}

// Readers that stop inside one large frame and skip do not make as many copies of its rest.
func TestAttackReadersInsideAFrame(t *testing.T) {
	const readers, size, messages = 600, 500_000, 60
	set := settings{
		"SlowConsumer": "skip", "ReaderBytesPerSecond": -1, "MessageBytesMax": 2 * size, "RawMessageBytesMax": 2 * size,
	}
	attack(t, bounds{newcomers: prompt.newcomers, growth: 128 << 20}, set, func(p *process) {
		publisher := p.open(t, "/broadcast/websocket")
		for range readers {
			p.dialSmall(t).say("GET /broadcast/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
		}
		p.eventually("all are in", func(st processStats) bool { return st.Sessions > readers })
		text := strings.Repeat("x", size)
		for range messages {
			publisher.say(frame(ws.OpText, text))
			publisher.expect(text)
		}
		if st := p.stats(); st.SlowConsumersSkipped == 0 || st.SlowConsumersClosed < readers/2 {
			t.Errorf("%d readers skip, and %d are cut off", st.SlowConsumersSkipped, st.SlowConsumersClosed)
		}
	})
}

// skipInsideFrame stalls a reader in the middle of a frame until the log of one of its topics has passed it, and looks
// at what it is sent then. It returns false if the frame could not be ended, and so the connection was.
func skipInsideFrame(t *testing.T, s *running, round int) (whole bool) {
	t.Helper()
	slow := s.dialSmall(t)
	slow.say(fmt.Sprintf("POST /pair/0/%d/xhr_streaming HTTP/1.1\r\nHost: x\r\n\r\n", round))
	p := &pairTalk{talker: s.open(t, "/pair/websocket"), second: -1, after: map[int]int{}}
	s.eventually(t, "both in", func(st server.Stats) bool { return st.Sessions == 2 })
	for s.stats(t).ConnectionsBlocked == 0 {
		p.say(1, 20_000)
	}
	for range 60 { // these share a frame, once the reader goes on
		p.say(1, 4000)
		p.say(2, 1000+round)
	}
	resp, err := http.ReadResponse(slow.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	// It reads until it is somewhere in that, and stops; then the first topic's log passes it.
	read := make([]byte, 0, 8<<20)
	var chunk [4096]byte
	for end := 20_000 * (1 + round%5); len(read) < end || !bytes.Contains(read, []byte(`"2 `)); {
		n, err := resp.Body.Read(chunk[:])
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, chunk[:n]...)
		time.Sleep(time.Millisecond)
	}
	before := s.stats(t).SlowConsumersSkipped
	for n := 0; n < 400 && s.stats(t).SlowConsumersSkipped == before; n++ { // the kernel takes a few MB first
		p.say(1, 50_000)
	}
	for range 300 { // enough to fill the frame with it
		p.say(2, 1000+round)
	}
	body := bufio.NewReader(io.MultiReader(bytes.NewReader(read), resp.Body))
	whole = p.check(t, s, round, before, body)
	_, _ = slow.Close(), p.talker.Close()
	s.eventually(t, "both out", func(st server.Stats) bool { return st.Sessions == 0 })
	return whole
}

// check reads what a reader is sent up to the last message, or until the connection has ended in the middle of a frame;
// then it returns false. skipped is how many had skipped before it could have.
func (p *pairTalk) check(t *testing.T, s *running, round int, skipped uint64, body *bufio.Reader) (whole bool) {
	t.Helper()
	if _, err := body.ReadString('\n'); err != nil { // the prelude
		t.Fatal(err)
	}
	last, end := [3]int{-1, -1, -1}, p.sent
	said := false
	for last[2] < end {
		line, err := body.ReadString('\n')
		if isTimeout(err) {
			t.Fatalf("round %d: after %.100q: %v %+v", round, line, err, s.stats(t))
		}
		if err != nil {
			return false
		}
		if line == "o\n" {
			continue
		}
		for _, text := range texts(t, 1, func() string { return line[:len(line)-1] }) {
			var topic, n int
			if _, err := fmt.Sscanf(text, "%d %d", &topic, &n); err != nil || n <= last[topic] {
				t.Fatalf("round %d: %.30q behind message %d of its topic", round, text, last[topic])
			}
			if next, ok := p.after[last[2]]; topic == 2 && last[2] >= 0 && (!ok || n != next) {
				t.Fatalf("round %d: message %d behind %d of the second topic, which never lost any",
					round, n, last[2])
			}
			last[topic] = n
		}
		if !said && s.stats(t).SlowConsumersSkipped > skipped { // from now on it must hear everything
			said, end = true, p.sent
			p.say(2, 10)
		}
	}
	return true
}

// overloaded is a server that was overloaded and left alone, and what has become of its memory. Other tests run
// meanwhile.
var overloaded struct {
	*process
	recovered chan recovery // gets one when the memory is back, or a minute is over
}

// recovery is what a server kept beyond what it says it keeps for clients, so long after they had left.
type recovery struct {
	peak, kept int // bytes of RSS above the start's
	after      time.Duration
}

// recover waits until the memory of a process is back, for a minute at most.
func (p *process) recover() (r recovery) {
	left := time.Now()
	r.peak = p.memory("VmHWM") - p.rss
	for {
		r.kept, r.after = p.memory("VmRSS")-p.rss-p.stats().MemoryBytes, time.Since(left)
		if r.kept <= memorySlack || r.after > time.Minute {
			return r
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// overload has a server keep as much for its clients as they can make it, and leaves it, once.
func overload(t *testing.T) {
	t.Helper()
	if overloaded.process != nil {
		return
	}
	p := launch(t, settings{"DisconnectDelay": time.Second})
	halfRequest := "POST /echo/0/half/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n" +
		strings.Repeat("x", 64_000)
	var all []*client
	for range 2000 {
		c := p.dialSmall(t)
		c.say(halfRequest)
		all = append(all, c)
	}
	body := manyEmpty(300_000)
	for i := range 10 {
		c := p.dial(t)
		c.poll(fmt.Sprintf("/echo/0/%d", i), "o")
		c.say(sending(fmt.Sprintf("/echo/0/%d", i), body))
		all = append(all, c)
	}
	time.Sleep(time.Second)
	for _, c := range all {
		_ = c.Close()
	}
	overloaded.process, overloaded.recovered = p, make(chan recovery, 1)
	go func() { overloaded.recovered <- p.recover() }()
}

// A minute after an overload its memory is back with the system.
func TestAttackMemoryIsBackWithinAMinute(t *testing.T) {
	overload(t)
	r := <-overloaded.recovered
	overloaded.recovered <- r
	t.Logf("at its peak +%d MB, +%d after %v", r.peak>>20, r.kept>>20, r.after.Round(time.Millisecond))
	switch {
	case r.kept > memorySlack:
		t.Errorf("a minute after its clients have left it has %d MB more than at its start", r.kept>>20)
	case r.peak < 2*memorySlack:
		t.Errorf("its peak was %d MB above its start: that is no overload", r.peak>>20)
	}
}
