package loadclient

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// queue is a server in virtual time: first in, first out, with a known capacity, so that the mean round trip of a trial
// is known: the service time below capacity, and (load/capacity − 1)·window/2 more above it.
type queue struct {
	capacity float64
	noise    float64 // relative, of the capacity from trial to trial
	spoil    int     // every n-th trial is the client's fault
	breakAt  float64 // loads beyond it break the connections
	r        *rand.Rand
	trials   int
}

func (q *queue) try(nominal float64, window time.Duration) (Trial, error) {
	q.trials++
	if q.breakAt > 0 && nominal > q.breakAt {
		return Trial{}, errTarget
	}
	capacity := q.capacity * (1 + q.noise*(2*q.r.Float64()-1))
	t := Trial{Nominal: nominal, Window: window.Seconds(), Delivered: min(nominal, capacity), RTT: Latency{Mean: 1}}
	if over := nominal/capacity - 1; over > 0 {
		t.RTT.Mean += over * window.Seconds() / 2 * 1000
	}
	if t.judge(); q.spoil > 0 && q.trials%q.spoil == 0 {
		t.Verdict = ClientLimited
	}
	return t, nil
}

func searchQueue(q *queue, precision float64) (Saturation, error) {
	q.r = rand.New(rand.NewPCG(7, 8))
	c := DefaultSearch(LevelConfig{Connections: 10})
	c.Precision = precision
	s := searcher{SearchConfig: c, trier: q, ctx: context.Background(), each: func(Trial) {}}
	return s.search()
}

// With a window of 3 s, a mean round trip of 200 ms means 1.133 × the true capacity.
func TestSearchFindsTheKneeOfAQueue(t *testing.T) {
	t.Parallel()
	for _, capacity := range []float64{700, 45_000, 240_000, 3.3e6, 180e6} {
		q := &queue{capacity: capacity}
		got, err := searchQueue(q, 0.02)
		if err != nil {
			t.Fatalf("capacity %g: %v", capacity, err)
		}
		want := capacity * (1 + 2*(saturationRTT-1)/3000)
		if math.Abs(got.Rate/want-1) > 0.005 || got.Limit != Overloaded || got.Held > got.Rate || got.Rate > got.Fell {
			t.Errorf("capacity %g: found %g between %g and %g, want %g", capacity, got.Rate, got.Held, got.Fell, want)
		}
		if q.trials > 40 {
			t.Errorf("capacity %g: %d trials", capacity, q.trials)
		}
	}
}

func TestSearchInNoise(t *testing.T) {
	t.Parallel()
	q := &queue{capacity: 1e6, noise: 0.05, spoil: 4}
	got, err := searchQueue(q, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1.133e6; math.Abs(got.Rate/want-1) > 0.1 {
		t.Errorf("found %g, want about %g", got.Rate, want)
	}
}

// A target that breaks under a load that is too high has fallen, like one that gets slow.
func TestSearchOfATargetThatBreaks(t *testing.T) {
	t.Parallel()
	got, err := searchQueue(&queue{capacity: 1e9, breakAt: 500_000}, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	if got.Held > 500_000 || got.Fell < 500_000 || got.Rate != got.Held || got.Limit != TargetFailed {
		t.Errorf("%+v", got)
	}
}

func TestSearchSaysWhoWasTheLimit(t *testing.T) {
	t.Parallel()
	got, err := searchQueue(&queue{capacity: 1e9, spoil: 0, breakAt: 0}, 0.5)
	if err != nil || got.Limit != Overloaded {
		t.Errorf("%+v %v", got, err)
	}
	q := &limited{queue{capacity: 1e12, r: rand.New(rand.NewPCG(1, 1))}}
	c := DefaultSearch(LevelConfig{Connections: 10})
	s := searcher{SearchConfig: c, trier: q, ctx: context.Background(), each: func(Trial) {}}
	if got, err := s.search(); err != nil || got.Limit != ClientLimited || got.Held > 1e8 {
		t.Errorf("%+v %v", got, err)
	}
}

// limited is a queue beyond the client's reach.
type limited struct{ queue }

func (l *limited) try(nominal float64, window time.Duration) (Trial, error) {
	t, err := l.queue.try(nominal, window)
	if nominal > 1e8 {
		t.Verdict = ClientLimited
	}
	return t, err
}

func TestSearchOfATargetThatHoldsNothing(t *testing.T) {
	t.Parallel()
	if _, err := searchQueue(&queue{capacity: 1e-3}, 0.05); !errors.Is(err, errNothingHeld) || !IsTargetFailure(err) {
		t.Errorf("got %v", err)
	}
	if _, err := searchQueue(&queue{capacity: 1, breakAt: 1e-9}, 0.05); !IsTargetFailure(err) {
		t.Errorf("got %v", err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	busy := &Usage{CPU: 1}
	for _, tt := range []struct {
		name string
		t    Trial
		want Verdict
	}{
		{"fine", Trial{Sent: 1000, Received: 1, RTT: Latency{Mean: 5}}, OK},
		{"slow", Trial{Sent: 1000, Received: 1, RTT: Latency{Mean: 200}}, Overloaded},
		{"unfinished", Trial{Sent: 1000, Received: 1, NotCompleted: 1}, Overloaded},
		{"lost", Trial{Sent: 1000, Received: 1, Lost: 1}, TargetFailed},
		{"late sends", Trial{Sent: 1000, Received: 1, SentLate: 6}, ClientLimited},
		{"a few late sends", Trial{Sent: 1000, Received: 1, SentLate: 5}, OK},
		{"lag", Trial{LagP99: 21, RTT: Latency{Mean: 10_000}}, ClientLimited},
		{"lag for its round trip", Trial{LagP99: 6, RTT: Latency{Mean: 100}}, ClientLimited},
		{"little lag", Trial{LagP99: 1.9, RTT: Latency{Mean: 0.1}}, OK},
		{"busy worker, quick answers", Trial{ClientBusy: []float64{0.2, 0.9}, Server: &Usage{CPU: 0.5}}, OK},
		{"busy worker, idle server", Trial{ClientBusy: []float64{0.2, 0.9}, Server: &Usage{CPU: 0.5}, RTT: Latency{Mean: 300}}, ClientLimited},
		{"busy worker, unknown server", Trial{ClientBusy: []float64{0.9}, RTT: Latency{Mean: 300}}, ClientLimited},
		{"busy worker, busy server", Trial{ClientBusy: []float64{0.9}, Server: busy, RTT: Latency{Mean: 300}}, Overloaded},
	} {
		if tt.t.judge(); tt.t.Verdict != tt.want {
			t.Errorf("%s: %s, want %s (%s)", tt.name, tt.t.Verdict, tt.want, tt.t.Reason)
		}
	}
}

func TestSlope(t *testing.T) {
	t.Parallel()
	var flat, rising []bucket
	for i := range 30 {
		flat = append(flat, bucket{10, 10 * 5})
		rising = append(rising, bucket{10, 10 * (5 + 20*float64(i))}) // 20 ms a bucket of 100 ms
	}
	if s := slope(flat); math.Abs(s) > 1e-9 {
		t.Errorf("flat: %g", s)
	}
	if s := slope(rising); math.Abs(s-0.2) > 1e-9 {
		t.Errorf("rising: %g", s)
	}
	if s := slope(nil); s != 0 {
		t.Errorf("nothing: %g", s)
	}
}

func TestIDsKeepFourDigits(t *testing.T) {
	t.Parallel()
	for _, n := range []int{25, 2000, 4999} {
		base, seen := 1, map[int]bool{}
		for range 1000 {
			if base < 1 || base+n-1 > idMax {
				t.Fatalf("%d connections: ids from %d", n, base)
			}
			next := NextIDBase(base, n)
			if next < base+n && next != 1 {
				t.Fatalf("%d connections: %d after %d", n, next, base)
			}
			seen[base], base = true, next
		}
		if len(seen) != idMax/n {
			t.Errorf("%d connections: %d different bases", n, len(seen))
		}
	}
}
