package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/broadcast/nats"
	"github.com/sockloop/sockloop/internal/natstest"
	"github.com/sockloop/sockloop/server"
)

// station is a server with a member of its room, who says one number after the other, and checks what he hears.
type station struct {
	*running
	t      *testing.T
	number int
	member *client

	mu     sync.Mutex
	last   [3]int // heard of each station; 0 is nothing
	missed [3]int // since the first was heard
	failed []string
}

// startStations starts three servers, the last behind the proxy, whose members talk until the test ends.
func startStations(t *testing.T, s *natstest.Server, proxy *natstest.Proxy) (all [3]*station) {
	t.Helper()
	for i := range all {
		url := s.URL()
		if i == len(all)-1 {
			url = "nats://" + proxy.Addr
		}
		broker, err := nats.New(nats.Config{URL: url, Prefix: "test."})
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, server.Config{Broker: broker})
		for end := time.Now().Add(patience); !broker.Stats().Connected; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d is not connected: %+v", i, broker.Stats())
			}
		}
		x := &station{running: r, t: t, number: i, member: r.open(t, "/broadcast/websocket")}
		_ = x.member.SetDeadline(time.Time{})
		var talking sync.WaitGroup
		talking.Go(x.talk)
		t.Cleanup(func() { _ = x.member.Close(); talking.Wait() })
		all[i] = x
	}
	return all
}

// talk says a number whenever the last has come back, and hears everything.
func (x *station) talk() {
	say := func(n int) { x.member.say(frame(ws.OpText, fmt.Sprint(x.number, " ", n))) }
	for say(1); ; {
		_, text, err := x.member.next()
		if err != nil {
			return
		}
		if from, n := x.hear(text); from == x.number {
			time.Sleep(time.Millisecond) // enough are said
			say(n + 1)
		}
	}
}

func (x *station) hear(text string) (from, n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, err := fmt.Sscan(text, &from, &n); err != nil || from < 0 || from >= len(x.last) {
		x.failed = append(x.failed, fmt.Sprintf("heard %q", text))
		return -1, 0
	}
	switch last := x.last[from]; {
	case n <= last:
		x.failed = append(x.failed, fmt.Sprintf("%d heard %d of %d after %d", x.number, n, from, last))
	case last > 0:
		x.missed[from] += n - last - 1
	}
	x.last[from] = max(n, x.last[from])
	return from, n
}

// lastOf is the last number that was heard of another station.
func (x *station) lastOf(from int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last[from]
}

// settle waits until everybody has heard of everybody what was said after the call, and tells what each has missed.
func settle(t *testing.T, all [3]*station) (missed [3][3]int) {
	t.Helper()
	var said [3]int
	for i, x := range all {
		said[i] = x.lastOf(i)
	}
	for i, x := range all {
		for from := range all {
			for end := time.Now().Add(patience); x.lastOf(from) < said[from]+50; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					st, _ := x.BrokerStats()
					t.Fatalf("%d does not hear %d: %+v", i, from, st)
				}
			}
		}
		x.mu.Lock()
		missed[i] = x.missed
		x.mu.Unlock()
	}
	return missed
}

// counted is what a station's broker counted.
func (x *station) counted() server.BrokerStats {
	st, _ := x.BrokerStats()
	return st
}

// unsent is how many messages of a station the others may have missed by its own account.
func (x *station) unsent() int {
	st := x.counted()
	return int(st.MessagesNotSent + st.MessagesUnconfirmed)
}

func (x *station) awaitBroker(what string, ok func(server.BrokerStats) bool) {
	x.t.Helper()
	for end := time.Now().Add(patience); !ok(x.counted()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%d: %s: %+v", x.number, what, x.counted())
		}
	}
}

// saysMore waits until the station's own member has heard himself: local broadcast goes on.
func (x *station) saysMore() {
	x.t.Helper()
	before := x.lastOf(x.number)
	for end := time.Now().Add(patience); x.lastOf(x.number) < before+50; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%d is silent", x.number)
		}
	}
}

func connected(st server.BrokerStats) bool { return st.Connected }

// Everybody hears everybody, in order and once. Nobody misses anything unless a broker's connection was lost, and then
// it was counted: by who was cut off, or by whoever could not send. Local broadcast goes on meanwhile.
func TestDeliveryThroughABroker(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	all := startStations(t, s, natstest.StartProxy(t, s.Addr))
	first := settle(t, all)
	if again := settle(t, all); again != first {
		t.Errorf("missed %v, and a while later %v", first, again)
	}
	for _, x := range all {
		if st := x.counted(); x.unsent() > 0 || st.BatchesDropped+st.BatchesMalformed+st.Disconnects > 0 {
			t.Errorf("nothing happened, and %d counted %+v", x.number, st)
		}
	}
	checkStations(t, all, first)
}

// The broker is killed, and comes back.
func TestDeliveryWhenTheBrokerDies(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	all := startStations(t, s, natstest.StartProxy(t, s.Addr))
	before := settle(t, all)
	s.Kill()
	for _, x := range all {
		x.awaitBroker("disconnected", func(st server.BrokerStats) bool { return !st.Connected && st.Disconnects == 1 })
		x.saysMore()
		x.awaitBroker("not sent", func(st server.BrokerStats) bool { return st.MessagesNotSent > 0 })
	}
	s.Restart()
	for _, x := range all {
		x.awaitBroker("connected", connected)
	}
	after := settle(t, all)
	for i, x := range all {
		for from, y := range all {
			if from != i && after[i][from] == before[i][from] {
				t.Errorf("%d has missed nothing of %d, which did not send %d", i, from, y.unsent())
			}
		}
		if st := x.counted(); st.BatchesDropped+st.BatchesMalformed > 0 {
			t.Errorf("%d: %+v", i, st)
		}
	}
	if again := settle(t, all); again != after {
		t.Errorf("missed %v, and a while later %v", after, again)
	}
	checkStations(t, all, before)
}

// One process is cut off: the others hear each other without a gap, and of it they miss what it says it could not send.
func TestDeliveryWhenOneProcessIsCutOff(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s.Addr)
	all := startStations(t, s, proxy)
	before := settle(t, all)
	cut := all[2]
	proxy.Cut()
	cut.awaitBroker("disconnected", func(st server.BrokerStats) bool { return !st.Connected && st.Disconnects == 1 })
	for _, x := range all {
		x.saysMore()
	}
	cut.awaitBroker("not sent", func(st server.BrokerStats) bool { return st.MessagesNotSent > 0 })
	proxy.Mend()
	cut.awaitBroker("connected", connected)
	after := settle(t, all)
	for i, x := range all[:2] {
		if n := after[i][2] - before[i][2]; n == 0 || n > cut.unsent() {
			t.Errorf("%d missed %d messages of the one cut off, which did not send %d", i, n, cut.unsent())
		}
		if after[2][i] == before[2][i] {
			t.Errorf("the one cut off has missed nothing of %d", i)
		}
		if x.unsent() > 0 || x.counted().Disconnects > 0 || after[i][1-i] != before[i][1-i] {
			t.Errorf("%d was not cut off: %+v, missed %v", i, x.counted(), after[i])
		}
	}
	if again := settle(t, all); again != after {
		t.Errorf("missed %v, and a while later %v", after, again)
	}
	checkStations(t, all, before)
}

// checkStations looks for what must never be: a message twice, or out of order, or a gap in what is local.
func checkStations(t *testing.T, all [3]*station, quiet [3][3]int) {
	t.Helper()
	for i, x := range all {
		x.mu.Lock()
		if len(x.failed) > 0 {
			t.Errorf("%d: %s", i, strings.Join(x.failed[:min(len(x.failed), 5)], "; "))
		}
		if x.missed[i] > 0 || quiet[i] != [3]int{} {
			t.Errorf("%d missed %v while nothing was disturbed, %d of its own", i, quiet[i], x.missed[i])
		}
		x.mu.Unlock()
	}
}
