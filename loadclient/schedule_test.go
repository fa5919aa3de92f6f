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
