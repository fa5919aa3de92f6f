package loadclient

import (
	"testing"
	"time"
)

// The schedule is arithmetic, so its parts must agree with counting.
func TestScheduleAgreesWithCounting(t *testing.T) {
	t.Parallel()
	for _, connections := range []int{1, 3, 7, 25, 200} {
		agrees(t, newSchedule(1000, connections, 100*time.Millisecond, false), 100)
		restarting := newSchedule(50, connections, 3*time.Second, true)
		agrees(t, restarting, 150)
		senders := map[int]bool{}
		for i := range restarting.messages {
			senders[restarting.connection(i)] = true
		}
		if len(senders) != min(50, connections) || restarting.connection(50) != 0 ||
			restarting.connection(149) != 49%connections {
			t.Errorf("of %d connections %d send 50 messages a second when each second begins anew", connections,
				len(senders))
		}
	}
}

func agrees(t *testing.T, s schedule, messages int) {
	t.Helper()
	connections := s.connections
	if s.messages != messages {
		t.Fatalf("%d messages, want %d", s.messages, messages)
	}
	of := make([]int, connections)
	for i := range s.messages {
		for c := range of {
			if got := s.dueOf(c, i); got != of[c] {
				t.Fatalf("%d connections: dueOf(%d, %d) is %d, want %d", connections, c, i, got, of[c])
			}
		}
		c := s.connection(i)
		if got := s.index(c, of[c]); got != i {
			t.Fatalf("message %d of connection %d has number %d, want %d", of[c], c, got, i)
		}
		of[c]++
		if due := time.Duration(float64(i) / s.rate * 1e9); s.due(i) != due {
			t.Fatalf("message %d is due at %v", i, s.due(i))
		} else if got := s.dueBy(due); got != i+1 {
			t.Fatalf("%d messages are due by %v", got, due)
		} else if got := s.dueBy(due - time.Microsecond); got != i {
			t.Fatalf("%d messages are due before %v", got, due)
		}
	}
	if got := s.dueBy(time.Hour); got != s.messages {
		t.Errorf("%d messages are due in the end", got)
	}
}

func TestFIFO(t *testing.T) {
	t.Parallel()
	var f fifo[int]
	next := 0
	for i := range 10_000 {
		f.push(i)
		if i%3 != 0 {
			if *f.front() != next {
				t.Fatalf("front is %d, want %d", *f.front(), next)
			}
			f.pop()
			next++
		}
	}
	if f.len() != 10_000-next || cap(f.items) > 16_384 {
		t.Errorf("%d left in room for %d", f.len(), cap(f.items))
	}
}

// takes is a link that takes everything.
type takes struct{ link }

func (takes) ready() bool           { return true }
func (takes) send(int, int64) error { return nil }
func (takes) sockets() []*socket    { return nil }

// What a server does not take for a while is no lag of the client's.
func TestLagIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	for ready, want := range map[time.Duration]time.Duration{
		0: 900 * time.Millisecond, 990 * time.Millisecond: 10 * time.Millisecond,
	} {
		w := newTestWorker(t, SockJS)
		w.plan.schedule = schedule{rate: 10, connections: 1, messages: 2, block: 2}
		c := w.conns[0]
		c.link = takes{}
		if err := w.sendConn(c, 2, time.Second, ready, 1); err != nil {
			t.Fatal(err)
		}
		h := w.results.lag
		if n := h.TotalCount(); n != 2 {
			t.Fatalf("%d lags of 2 messages", n)
		}
		if got := time.Duration(h.Min()) * time.Microsecond; got < want-want/100 || got > want+want/100 {
			t.Errorf("taken again after %v: %v, want %v", ready, got, want)
		}
	}
}
