package server_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the tests that are random; 0 takes the time")

// seed is the one for this run, which it prints.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := cmp.Or(*seedFlag, uint64(time.Now().UnixNano()))
	t.Logf("-seed %d", s)
	return s
}

// numbered is a service with several topics, in which members do what they say: "join 1", "leave 1", "say 1 …" to all
// of a topic, "me …" to themselves. It keeps to the order of what it is told.
type numbered struct{ topics [3]*server.Topic }

func (n *numbered) OnOpen(*server.Session)                      {}
func (n *numbered) OnClose(*server.Session, server.CloseReason) {}
func (n *numbered) OnMessage(s *server.Session, m *server.Message) {
	verb, rest, _ := strings.Cut(string(m.Text()), " ")
	topic := n.topics[(rest[0]-'0')%3]
	var answer string
	switch verb {
	case "say":
		said := server.Text([]byte(rest))
		topic.Publish(&said)
		return
	case "join":
		s.Subscribe(topic)
		answer = "joined " + rest
	case "leave":
		s.Unsubscribe(topic)
		answer = "left " + rest
	default:
		answer = verb + " " + rest
	}
	text := server.Text([]byte(answer))
	_ = s.Send(&text) // a closing session hears no more
}

// said is a stream of numbers: of one member, to one topic.
type said struct {
	topic int
	by    string
}

// delivery is what is known of all members, and what must be so for each.
type delivery struct {
	s    *running
	skip bool      // slow consumers miss messages, and go on
	end  time.Time // when all are as fast as they can

	mu     sync.Mutex
	since  map[said]time.Time // before the first was said
	echoed map[said]int       // heard by who said it: they were published
	lost   uint64             // messages that members missed and were skipped
	cut    uint64             // sessions that the server ended
	heard  uint64
	lives  int
	failed []string
}

func (d *delivery) fail(m *member, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) < 10 {
		d.failed = append(d.failed, m.name+": "+fmt.Sprintf(format, args...))
	}
}

// member is one life of a client.
type member struct {
	d     *delivery
	name  string
	r     *rand.Rand // the speaker's
	line  carrier
	over  chan struct{} // closed when nothing more is heard
	own   [3]int        // said to each topic
	mine  int           // said to itself
	sleep time.Duration // what it sleeps now and then, instead of reading

	mu     sync.Mutex
	in     [3]time.Time // since when it hears a topic
	asked  [3]bool      // it has asked to leave or join
	next   map[said]int
	direct int // messages to itself that came back
}

// padding is what stands behind a number: any length, and characters that are written in other ways.
func padding(n int) string { return strings.Repeat(`%<"é\`, n%7) + strings.Repeat("x", n*37%6000) }

// listen hears everything up to the end, and checks it.
func (m *member) listen(naps *rand.Rand) {
	defer close(m.over)
	for {
		texts, err := m.line.hear()
		if err != nil {
			if !errors.Is(err, errOver) {
				m.d.fail(m, "%v", err)
			}
			return
		}
		m.mu.Lock()
		for _, text := range texts {
			if err := m.check(text); err != nil {
				m.d.fail(m, "%v", err)
			}
		}
		m.mu.Unlock()
		if m.sleep > 0 && naps.IntN(50) == 0 && time.Now().Before(m.d.end) {
			time.Sleep(m.sleep)
		}
	}
}

func (m *member) check(text string) error {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "joined", "left":
		topic := int(rest[0] - '0')
		m.in[topic], m.asked[topic] = time.Time{}, false
		if verb == "joined" {
			m.in[topic] = time.Now()
			for _, x := range m.names(topic) { // numbers may have been missed; none may come again
				m.next[x] = -m.next[x] - 1
			}
		}
		return nil
	case "me":
		if want := fmt.Sprintf("%s %d", m.name, m.direct); rest != want {
			return fmt.Errorf("a message %.50q for it alone, want %q", rest, want)
		}
		m.direct++
		return nil
	}
	return m.checkSaid(text)
}

func (m *member) names(topic int) (all []said) {
	for x, n := range m.next {
		if x.topic == topic && n >= 0 {
			all = append(all, x)
		}
	}
	return all
}

// checkSaid checks a message of a topic: that it was due, whole, and behind the one before.
func (m *member) checkSaid(text string) error {
	var x said
	var n int
	if _, err := fmt.Sscanf(text, "%d %s %d", &x.topic, &x.by, &n); err != nil || x.topic < 0 || x.topic > 2 {
		return fmt.Errorf("%.100q", text)
	}
	if m.in[x.topic].IsZero() {
		return fmt.Errorf("heard %.50q of a topic that it is not in", text)
	}
	if want := fmt.Sprintf("%d %s %d %s", x.topic, x.by, n, padding(n)); text != want {
		return fmt.Errorf("%.100q, want %.100q", text, want)
	}
	next, known := m.next[x]
	switch {
	case !known: // it may have joined later than that was said
	case next < 0 && n < -next-1:
		return fmt.Errorf("%v came again with %d, after %d", x, n, -next-2)
	case next >= 0 && n < next:
		return fmt.Errorf("%v came again with %d, after %d", x, n, next-1)
	case next >= 0 && n > next && !m.d.skip:
		return fmt.Errorf("%v %d is missing; %d came", x, next, n)
	}
	m.next[x] = n + 1
	m.d.mu.Lock()
	m.d.heard++
	if known && next >= 0 {
		m.d.lost += uint64(max(n-next, 0))
	}
	if x.by == m.name {
		m.d.echoed[x] = n + 1
	}
	m.d.mu.Unlock()
	return nil
}

// act does one thing or another.
func (m *member) act() error {
	topic := m.r.IntN(3)
	m.mu.Lock()
	in, asked := !m.in[topic].IsZero(), m.asked[topic]
	change := !asked && (!in && m.r.IntN(3) == 0 || in && m.r.IntN(60) == 0)
	if change {
		m.asked[topic] = true
	}
	m.mu.Unlock()
	switch {
	case change && in:
		return m.line.say(fmt.Sprintf("leave %d", topic))
	case change:
		return m.line.say(fmt.Sprintf("join %d", topic))
	case m.r.IntN(8) == 0:
		return m.sayToItself()
	case !in || asked:
		return nil
	}
	x := said{topic, m.name}
	n := m.own[topic]
	m.own[topic]++
	if n == 0 {
		m.d.mu.Lock()
		m.d.since[x] = time.Now()
		m.d.mu.Unlock()
	}
	return m.line.say(fmt.Sprintf("say %d %s %d %s", topic, m.name, n, padding(n)))
}

func (m *member) sayToItself() error {
	m.mine++
	return m.line.say(fmt.Sprintf("me %s %d", m.name, m.mine-1))
}

// settle says something to itself and waits for it: everything that was published before has come then.
func (m *member) settle() bool {
	if m.sayToItself() != nil {
		return false
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		direct := m.direct
		m.mu.Unlock()
		if direct == m.mine {
			return true
		}
		select {
		case <-m.over:
			return false
		default:
		}
		if time.Now().After(deadline) {
			m.d.fail(m, "what it said to itself last does not come: %d of %d", direct, m.mine)
			return false
		}
	}
}

// checkEnd checks that it has heard everything up to the end.
func (m *member) checkEnd() {
	m.d.mu.Lock()
	echoes, begun := maps.Clone(m.d.echoed), maps.Clone(m.d.since)
	m.d.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for x, echoed := range echoes {
		since := m.in[x.topic]
		next, known := m.next[x]
		if since.IsZero() || !known && begun[x].Before(since) || next < 0 {
			continue // it may have come too late for it
		}
		if missing := echoed - next; missing > 0 {
			if !m.d.skip {
				m.d.fail(m, "%v %d to %d never came", x, next, echoed-1)
			}
			m.d.lost += uint64(missing)
		}
	}
}

// live has a member come, act, and go; one that stays is returned.
func (d *delivery) live(t *testing.T, name string, kind int, r *rand.Rand, until time.Time, stays bool) *member {
	open := carriers[kind]
	small := r.IntN(4) == 0
	line, err := open.open(t, d.s, "/numbered", strings.ReplaceAll(name, " ", "_"), small)
	m := &member{d: d, name: name, r: r, line: line, over: make(chan struct{}), next: map[said]int{}}
	if err != nil {
		d.fail(m, "opening: %v", err)
		return nil
	}
	if small {
		m.sleep = time.Duration(r.IntN(800)) * time.Millisecond
	}
	d.mu.Lock()
	d.lives++
	d.mu.Unlock()
	go m.listen(rand.New(rand.NewPCG(r.Uint64(), 0)))
	for err == nil && time.Now().Before(until) {
		select {
		case <-m.over:
			err = errOver
		default:
			err = m.act()
			time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
		}
	}
	if err != nil {
		d.mu.Lock()
		d.cut++
		d.mu.Unlock()
		m.line.leave(false)
		return nil
	}
	if stays {
		return m
	}
	if _, ok := line.(*overWebSocket); ok && r.IntN(2) == 0 { // politely: what is due is still read, by listen
		line.(*overWebSocket).client.say(frame(ws.OpClose, "\x03\xe8"))
	} else {
		line.leave(false)
	}
	<-m.over
	line.leave(false)
	return nil
}

// Whatever carries it, what members of several topics say arrives in order, once, and nowhere else, while others come
// and go and some are slow; what is missing was counted.
func TestDelivery(t *testing.T) {
	for _, policy := range []server.SlowConsumer{server.SlowConsumerClose, server.SlowConsumerSkip} {
		t.Run(string(policy), func(t *testing.T) {
			seed := seed(t)
			d := startDelivery(t, policy)
			stayed := d.liveOn(t, seed)
			for range 2 { // everything is published when all have done it once, and has come when they have twice
				stayed = d.settle(stayed)
			}
			for _, m := range stayed {
				m.checkEnd()
			}
			d.check(t, len(stayed))
			for _, m := range stayed {
				m.line.leave(false)
			}
		})
	}
}

// startDelivery starts a server whose bounds are small, so that everything happens that can.
func startDelivery(t *testing.T, policy server.SlowConsumer) *delivery {
	t.Helper()
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 1000, SlowConsumer: policy,
		LogBytesMax: 128 << 10, BatchBytesMax: 32 << 10, UnsentBytesMax: 16 << 10, FrameBytesMax: 32 << 10,
		Options: server.Options{ResponseLimit: 16 << 10, DisconnectDelay: 3 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	service := &numbered{[3]*server.Topic{srv.NewTopic("0"), srv.NewTopic("1"), srv.NewTopic("2")}}
	if err := srv.Handle("/numbered", service); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(duration(2500 * time.Millisecond))
	return &delivery{
		s: serve(t, srv), skip: policy == server.SlowConsumerSkip, end: end,
		since: map[said]time.Time{}, echoed: map[said]int{},
	}
}

// liveOn lives one life after the other with each carrier, three at a time, and returns those who stay to the end.
func (d *delivery) liveOn(t *testing.T, seed uint64) (stayed []*member) {
	var living sync.WaitGroup
	for slot := range 3 * len(carriers) {
		living.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(slot)))
			for life := 0; time.Now().Before(d.end); life++ {
				until := time.Now().Add(time.Duration(100+r.IntN(1500)) * time.Millisecond)
				stays := !until.Before(d.end)
				if stays {
					until = d.end
				}
				kind := slot % len(carriers)
				name := fmt.Sprintf("%s-%d-%d", carriers[kind].name, slot, life)
				if m := d.live(t, name, kind, r, until, stays); m != nil {
					d.mu.Lock()
					stayed = append(stayed, m)
					d.mu.Unlock()
				}
			}
		})
	}
	living.Wait()
	return stayed
}

// settle has all members hear what they say, and returns those that do.
func (d *delivery) settle(members []*member) (settled []*member) {
	var settling sync.WaitGroup
	for _, m := range members {
		settling.Go(func() {
			ok := m.settle()
			d.mu.Lock()
			defer d.mu.Unlock()
			if ok {
				settled = append(settled, m)
			} else {
				d.cut++
			}
		})
	}
	settling.Wait()
	return settled
}

// check compares what the members saw with what the server counted.
func (d *delivery) check(t *testing.T, stayed int) {
	t.Helper()
	for _, why := range d.failed {
		t.Error(why)
	}
	st := d.s.stats(t)
	t.Logf("%d lives, %d of them to the end; %d messages heard, %d missed (%d skipped)",
		d.lives, stayed, d.heard, d.lost, st.MessagesSkipped)
	t.Logf("%d sessions were cut off (%d slow, %d timed out)", d.cut, st.SlowConsumersClosed, st.SessionsTimedOut)
	if d.lost > st.MessagesSkipped {
		t.Errorf("%d messages are missing, and %d were skipped", d.lost, st.MessagesSkipped)
	}
	if d.cut > st.SlowConsumersClosed+st.SessionsTimedOut {
		t.Errorf("%d sessions were cut off, more than were slow or timed out", d.cut)
	}
	if st.HandlerPanics != 0 || d.heard == 0 || stayed == 0 {
		t.Errorf("%d heard, %d members at the end: %+v", d.heard, stayed, st)
	}
}

// read reads up to the end, so much at a time with a pause behind it, and counts the bytes if it is told where.
func (c *client) read(bytesMax int, pause time.Duration, count *atomic.Int64) {
	buf := make([]byte, bytesMax)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if count != nil {
			count.Add(int64(n))
		}
		time.Sleep(pause)
	}
}

// keepPublishing has a few messages on their way at any time, so the server is never idle.
func (p *process) keepPublishing(t *testing.T) {
	t.Helper()
	publisher := p.open(t, "/broadcast/websocket")
	_ = publisher.SetDeadline(time.Time{})
	text := frame(ws.OpText, strings.Repeat("x", 1000))
	burst := strings.Repeat(text, 20)
	for range 4 {
		publisher.say(burst)
	}
	go func() {
		for heard := 1; ; heard++ {
			if _, _, err := publisher.next(); err != nil {
				return
			}
			if heard%20 == 0 {
				publisher.say(burst)
			}
		}
	}()
}

// Readers that are slow cost the others nothing: under full load they hear as much with them as without.
func TestDeliveryBesideSlowReaders(t *testing.T) {
	p := startProcess(t, settings{"SlowConsumer": "skip", "PongTimeout": time.Hour}) // the readers answer no pings
	const readers, slowReaders = 10, 10
	var received atomic.Int64
	for range readers {
		c := p.open(t, "/broadcast/websocket")
		_ = c.SetDeadline(time.Time{})
		go c.read(256<<10, 0, &received)
	}
	p.eventually("all are in", func(st processStats) bool { return st.Sessions >= readers })
	p.keepPublishing(t)
	window := duration(2500*time.Millisecond) / 10
	measure := func() float64 {
		time.Sleep(window / 5) // until it is as it will be
		before, at := received.Load(), time.Now()
		time.Sleep(window)
		return float64(received.Load()-before) / time.Since(at).Seconds()
	}
	var without, ratios []float64
	for range 5 {
		without = append(without, measure())
		var slow []*client
		for range slowReaders {
			c := p.stalled(t, "/broadcast")
			slow = append(slow, c)
			go c.read(2000, 100*time.Millisecond, nil) // 20 KB/s
		}
		skipped := p.stats().SlowConsumersSkipped
		p.eventually("they lag", func(st processStats) bool { return st.ConnectionsBlocked >= slowReaders })
		p.eventually("they have had their second, and are not waited for any more", func(st processStats) bool {
			return st.SlowConsumersSkipped >= skipped+slowReaders
		})
		ratios = append(ratios, measure()/without[len(without)-1])
		for _, c := range slow {
			_ = c.Close()
		}
		p.eventually("they are gone", func(st processStats) bool { return st.Sessions <= readers+1 })
	}
	slices.Sort(without)
	slices.Sort(ratios)
	alone, ratio := without[len(without)/2], ratios[len(ratios)/2]
	t.Logf("%d readers heard %.0f MB/s, and beside %d slow ones %+.1f %% (%.2f)",
		readers, alone/1e6, slowReaders, 100*(ratio-1), ratios)
	least := 0.5
	switch {
	case raceEnabled: // the clients are what is measured
		least = 0.25
	case *soak > 0:
		least = 0.9
	}
	if ratio < least {
		t.Errorf("beside slow readers the others heard %.0f %% of what they heard without them, want %.0f",
			100*ratio, 100*least)
	}
}
