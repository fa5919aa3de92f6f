package loadclient

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// queue is a server in virtual time: first in, first out, with a known capacity, so that what a trial shows is known:
// the service time below capacity; above it round trips that grow by load/capacity − 1 a second.
type queue struct {
	capacity float64
	noise    float64 // relative, of the capacity from trial to trial
	spoil    int     // every n-th trial is the client's fault
	breakAt  float64 // loads beyond it break the connections
	silentAt float64 // loads beyond it are never answered again
	loseAt   float64 // loads beyond it lose own messages
	r        *rand.Rand
	trials   int
	silent   bool
	asked    []float64
}

func (q *queue) try(nominal float64, window time.Duration) (Trial, error) {
	q.trials++
	q.asked = append(q.asked, nominal)
	if q.breakAt > 0 && nominal > q.breakAt {
		return Trial{}, errTarget
	}
	capacity := q.capacity * (1 + q.noise*(2*q.r.Float64()-1))
	t := Trial{Nominal: nominal, Window: window.Seconds(), Sent: 1000, Received: 1000,
		Delivered: min(nominal, capacity), RTT: Latency{Mean: 1, P99: 2}}
	if over := nominal/capacity - 1; over > 0 {
		t.Slope = over
		t.RTT.Mean += over * window.Seconds() / 2 * 1000
		t.RTT.P99 += over * window.Seconds() * 1000
	}
	t.RTTActual = t.RTT
	if q.silent = q.silent || q.silentAt > 0 && nominal > q.silentAt; q.silent {
		t.Received = 0
	}
	if q.loseAt > 0 && nominal > q.loseAt {
		t.OwnMissing, t.NotCompleted = 1, 1
	}
	judge(&t, 0)
	if q.spoil > 0 && q.trials%q.spoil == 0 {
		t.Verdict = ClientLimited
	}
	return t, nil
}

func (q *queue) quiet(most time.Duration) time.Duration { return min(most, time.Second) }

func profile(t testing.TB, name string) Profile {
	t.Helper()
	p, err := FindProfile(name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Ramp != nil {
		p.Ramp.Pause = 0
	}
	return p
}

func searchQueue(q trier, p Profile, connections int) (Saturation, []Trial, error) {
	var trials []Trial
	s := searcher{SearchConfig: SearchConfig{Level: LevelConfig{Connections: connections}, Profile: p,
		StartRate: startRate, Patience: patience}, trier: q, ctx: context.Background(),
		each: func(t Trial) { trials = append(trials, t) }}
	got, err := s.search()
	return got, trials, err
}

func newQueue(capacity float64) *queue {
	return &queue{capacity: capacity, r: rand.New(rand.NewPCG(7, 8))}
}

// saturationOf is where the mean round trip of a queue crosses 200 ms: with a window of 3 s at 1.133 × its capacity.
func saturationOf(capacity float64) float64 { return capacity * (1 + 2*(saturationRTT-1)/3000) }

// Each profile finds the knee of a queue whose capacity is known, and that it is first in, first out.
func TestSearchFindsTheKneeOfAQueue(t *testing.T) {
	t.Parallel()
	for name, trialsMax := range map[string]int{"quick": 50, "search": 70, "classic": 70} {
		for _, capacity := range []float64{700, 45_000, 240_000, 3.3e6, 180e6} {
			q := newQueue(capacity)
			got, trials, err := searchQueue(q, profile(t, name), 10)
			if err != nil {
				t.Fatalf("%s, capacity %g: %v", name, capacity, err)
			}
			want := saturationOf(capacity)
			if math.Abs(got.Rate/want-1) > 0.01 || got.Limit != Overloaded || got.Held > got.Rate ||
				got.Rate > got.Fell {
				t.Errorf("%s, capacity %g: found %g between %g and %g, want %g", name, capacity, got.Rate, got.Held,
					got.Fell, want)
			}
			if got.Sustained > capacity || got.Sustained < 0.9*capacity || got.Best.Window != sustainTime.Seconds() ||
				got.Best.Phase != PhaseConfirm {
				t.Errorf("%s, capacity %g: sustained %g", name, capacity, got.Sustained)
			}
			if got.MaxDelivered != capacity || got.Overload < 1.5*capacity || got.Overload > 5*capacity ||
				len(got.Warnings) > 0 {
				t.Errorf("%s, capacity %g: %+v", name, capacity, got)
			}
			if got.Trials != len(trials) || len(trials) > trialsMax {
				t.Errorf("%s, capacity %g: %d trials, %d reported", name, capacity, len(trials), got.Trials)
			}
		}
	}
}

// Within 3 % of the truth, though the server's capacity changes by 2 % from trial to trial, and the client or the
// machine spoils some trials.
func TestSearchInNoise(t *testing.T) {
	t.Parallel()
	const capacity = 1e6
	var quick []float64
	for seed := range uint64(200) {
		q := &queue{capacity: capacity, noise: 0.02, spoil: 5, r: rand.New(rand.NewPCG(seed, 1))}
		got, _, err := searchQueue(q, profile(t, "search"), 10)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Rate/saturationOf(capacity)-1) > 0.03 {
			t.Errorf("seed %d: found %g, want %g", seed, got.Rate, saturationOf(capacity))
		}
		got, _, err = searchQueue(q, profile(t, "quick"), 10)
		if err != nil {
			t.Fatal(err)
		}
		quick = append(quick, got.Rate/saturationOf(capacity))
	}
	slices.Sort(quick)
	if quick[10] < 0.97 || quick[189] > 1.03 { // nine of ten
		t.Errorf("quick searches: %.3f to %.3f of the truth", quick[10], quick[189])
	}
}

// A target that breaks under a load that is too high has fallen, like one that gets slow.
func TestSearchOfATargetThatBreaks(t *testing.T) {
	t.Parallel()
	q := newQueue(1e9)
	q.breakAt = 500_000
	got, _, err := searchQueue(q, profile(t, "quick"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got.Held > 500_000 || got.Fell < 500_000 || got.Rate != got.Held || got.Limit != TargetFailed ||
		got.Overload < 500_000 || got.Overload > 550_000 {
		t.Errorf("%+v", got)
	}
	q = newQueue(1e9)
	q.silentAt = 500_000
	if _, _, err := searchQueue(q, profile(t, "quick"), 10); !IsTargetFailure(err) || q.trials > 20 {
		t.Errorf("a target that answers nothing any more: %v after %d trials", err, q.trials)
	}
}

func TestSearchSaysWhoWasTheLimit(t *testing.T) {
	t.Parallel()
	q := &limited{*newQueue(1e12)}
	if got, _, err := searchQueue(q, profile(t, "quick"), 10); err != nil || got.Limit != ClientLimited ||
		got.Held > 1e8 {
		t.Errorf("%+v %v", got, err)
	}
	q = &limited{*newQueue(1e12)}
	if got, _, err := searchQueue(q, profile(t, "classic"), 10); err != nil || got.Limit != ClientLimited ||
		got.Held > 1e8 {
		t.Errorf("%+v %v", got, err)
	}
}

// limited is a queue beyond the client's reach.
type limited struct{ queue }

func (l *limited) try(nominal float64, window time.Duration) (Trial, error) {
	t, err := l.queue.try(nominal, window)
	if nominal > 1e8 {
		t.Verdict, t.RTT.Mean, t.RTTActual.Mean = ClientLimited, 300, 300
	}
	return t, err
}

// torn is a queue of which, of the trials of a whole window above a rate, the first holds, the second falls, and all
// others are the client's fault.
type torn struct {
	queue
	above float64
	there int
}

func (q *torn) try(nominal float64, window time.Duration) (Trial, error) {
	t, err := q.queue.try(nominal, window)
	if nominal <= q.above || window < 3*time.Second {
		return t, err
	}
	q.there++
	t.Verdict, t.RTT.Mean, t.RTT.Min = Overloaded, 300, 0
	if q.there == 1 {
		t.Verdict, t.RTT.Mean = OK, 100
	}
	if q.there > 2 {
		t.Verdict = ClientLimited
	}
	return t, err
}

// One trial that held and one that fell, and then nothing but trials of a client that could do no more: that is no
// verdict on the server, and the rate at which one fell is no bound.
func TestSearchWithoutAMajority(t *testing.T) {
	t.Parallel()
	const knee = 1e6
	got, trials, err := searchQueue(&torn{queue: *newQueue(1e12), above: knee}, profile(t, "quick"), 10)
	if err != nil || got.Limit != ClientLimited || !got.LowerBound() {
		t.Fatalf("%+v %v", got, err)
	}
	for _, x := range trials {
		if x.Verdict == Overloaded && got.Rate >= x.Nominal {
			t.Errorf("found %g, and one fell at %g", got.Rate, x.Nominal)
		}
	}
	if got.Rate < 0.9*knee/2 {
		t.Errorf("found %g", got.Rate)
	}
}

// What is sustained at the highest rate that could be measured is a lower bound as well.
func TestSustainedAtTheClientsLimitIsABound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"quick", "classic"} {
		got, _, err := searchQueue(&limited{*newQueue(1e12)}, profile(t, name), 10)
		if err != nil || got.Sustained != got.Held || got.SustainedUnmeasured <= got.Sustained {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

// distant is a queue whose answers take long, whatever the load.
type distant struct{ queue }

func (q *distant) try(nominal float64, window time.Duration) (Trial, error) {
	t, err := q.queue.try(nominal, window)
	const far = 100
	t.RTT.Min += far
	t.RTT.Mean += far
	t.RTT.P99 += far
	t.RTTActual = t.RTT
	if judge(&t, 0); t.Nominal > q.capacity {
		t.Slope = nominal/q.capacity - 1
	}
	return t, err
}

// A server that is far away is no slow one: what a short trial may take is that more.
func TestSearchOfADistantTarget(t *testing.T) {
	t.Parallel()
	const capacity = 240_000
	got, _, err := searchQueue(&distant{*newQueue(capacity)}, profile(t, "quick"), 10)
	if err != nil || got.Rate < capacity || got.Rate > 1.1*capacity || got.Limit != Overloaded {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSearchOfATargetThatHoldsNothing(t *testing.T) {
	t.Parallel()
	for _, name := range ProfileNames() {
		if _, _, err := searchQueue(newQueue(1e-3), profile(t, name), 10); !errors.Is(err, errNothingHeld) ||
			!IsTargetFailure(err) {
			t.Errorf("%s: %v", name, err)
		}
		q := newQueue(1)
		q.breakAt = 1e-9
		if _, _, err := searchQueue(q, profile(t, name), 10); !IsTargetFailure(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The ramp of 2011, step by step: from one message a second by max(1, 1000/connections), until one of its four stop
// rules.
func TestRampOf2011(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		connections int
		q           queue
		step, last  float64 // messages sent a second
		limit       Verdict
		rate        float64 // nominal
		points      int
	}{
		{"round trips of 1.5 s", 25, queue{capacity: 100_000}, 40, 8001, Overloaded, saturationOf(100_000), 201},
		{"rises by one", 2000, queue{capacity: 44_000}, 1, 44, Overloaded, saturationOf(44_000), 44},
		{"the cap", 100, queue{capacity: 1e9}, 10, 5001, OK, 500_100, 501},
		{"an own message is missing: that point does not count", 100, queue{capacity: 1e9, loseAt: 200_000}, 10, 2001,
			Overloaded, 199_100, 201},
		{"a connection is lost", 100, queue{capacity: 1e9, breakAt: 200_000}, 10, 2001, TargetFailed, 199_100, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := tt.q
			q.r = rand.New(rand.NewPCG(1, 2))
			got, trials, err := searchQueue(&q, profile(t, "classic-2011"), tt.connections)
			if err != nil {
				t.Fatal(err)
			}
			for i, nominal := range q.asked {
				if want := (1 + float64(i)*tt.step) * float64(tt.connections); nominal != want {
					t.Fatalf("step %d is %g, want %g", i, nominal, want)
				}
			}
			if last := q.asked[len(q.asked)-1] / float64(tt.connections); last != tt.last || len(trials) != tt.points {
				t.Errorf("ends at %g a second, want %g, with %d trials", last, tt.last, len(trials))
			}
			if got.Limit != tt.limit || math.Abs(got.Rate/tt.rate-1) > 0.005 || got.Best.Nominal != got.Held {
				t.Errorf("%+v, want %g", got, tt.rate)
			}
		})
	}
}

// A ramp whose very first step fails has found nothing, and says why.
func TestRampOf2011FailsAtOnce(t *testing.T) {
	t.Parallel()
	for _, q := range []queue{{capacity: 1e9, loseAt: 1}, {capacity: 1e9, breakAt: 1}, {capacity: 1}} {
		q.r = rand.New(rand.NewPCG(1, 2))
		got, _, err := searchQueue(&q, profile(t, "classic-2011"), 100)
		if !IsTargetFailure(err) || len(q.asked) != 1 {
			t.Errorf("%+v, %v, after %d steps", got, err, len(q.asked))
		}
	}
}

func TestProfilesExpectAsLongAsTheyTake(t *testing.T) {
	t.Parallel()
	p := profile(t, "classic-2011")
	p.Ramp.Pause = time.Second
	total := time.Duration(0)
	for _, n := range p.Levels {
		total += p.Expected(n)
	}
	if total < 6*time.Hour || total > 8*time.Hour {
		t.Errorf("the ramp of 2011 to its cap: %v, want seven hours", total)
	}
	for _, p := range Profiles() {
		if d := p.Expected(500); d < 20*time.Second {
			t.Errorf("%s: %v", p.Name, d)
		}
	}
	if _, err := FindProfile("slow"); err == nil {
		t.Error("found a profile that is not there")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		t    Trial
		want Verdict
	}{
		{"fine", Trial{Sent: 1000, Received: 1, RTT: Latency{Mean: 5}}, OK},
		{"slow", Trial{Sent: 1000, Received: 1, RTT: Latency{Mean: 200}}, Overloaded},
		{"unfinished", Trial{Sent: 1000, Received: 1, NotCompleted: 1}, Overloaded},
		{"unfinished, and next to nothing unread", Trial{
			Sent: 1000, Received: 1, NotCompleted: 1, RTT: Latency{Mean: 4}, Delivered: 1000, BytesPerMessage: 10,
			Queues: &Queues{Unread: 100},
		}, Overloaded},
		{"unfinished, and much unread", Trial{
			Sent: 1000, Received: 1, NotCompleted: 1, RTT: Latency{Mean: 4}, Delivered: 1000, BytesPerMessage: 10,
			Queues: &Queues{Unread: 1000},
		}, ClientLimited},
		{"lost", Trial{Sent: 1000, Received: 1, Lost: 1}, TargetFailed},
		{"late sends", Trial{Sent: 1000, Received: 1, SentLate: 6}, ClientLimited},
		{"a few late sends", Trial{Sent: 1000, Received: 1, SentLate: 5}, OK},
		{"no memory for sockets", Trial{RTT: Latency{Mean: 300}, Queues: &Queues{Pressed: true}}, ClientLimited},
		{
			"no memory, which lies unsent in the server's sockets",
			Trial{RTT: Latency{Mean: 300}, Queues: &Queues{Pressed: true, Unread: 1, Unsent: 2}}, Overloaded,
		},
		{"no memory, and no harm", Trial{RTT: Latency{Mean: 30}, Queues: &Queues{Pressed: true}}, OK},
		{"lag", Trial{LagP99: 21, RTT: Latency{Mean: 10_000}}, ClientLimited},
		{"lag for its round trip", Trial{LagP99: 6, RTT: Latency{Mean: 100}}, ClientLimited},
		{"lag that is rest", Trial{LagP99: 6, Rest: 5, RTT: Latency{Mean: 10}}, OK},
		{"lag beyond its rest", Trial{LagP99: 8, Rest: 5, RTT: Latency{Mean: 10}}, ClientLimited},
		{"little lag", Trial{LagP99: 1.9, RTT: Latency{Mean: 0.1}}, OK},
		{"client's queue", Trial{RTT: Latency{Mean: 300}, Delivered: 1e6, BytesPerMessage: 20,
			Queues: &Queues{Unread: 4e6}}, ClientLimited},
		{"client's queue, quick answers", Trial{RTT: Latency{Mean: 100}, Delivered: 1e6, BytesPerMessage: 20,
			Queues: &Queues{Unread: 4e6}}, OK},
		{"server's queue", Trial{RTT: Latency{Mean: 300}, Delivered: 1e6, BytesPerMessage: 20,
			Queues: &Queues{Unread: 1e6, Unsent: 4e6}}, Overloaded},
		{"a client that never caught up", Trial{RTT: Latency{Mean: 800}, ClientBusy: []float64{0.99}, Delivered: 1e6,
			BytesPerMessage: 20, Queues: &Queues{Unread: 1e6, Unsent: 9e6}}, ClientLimited},
		{"a client that did", Trial{RTT: Latency{Mean: 800}, ClientBusy: []float64{0.98}, Delivered: 1e6,
			BytesPerMessage: 20, Queues: &Queues{Unread: 1e6, Unsent: 9e6}}, Overloaded},
		{"a server that sleeps", Trial{RTT: Latency{Mean: 300}, Server: &Usage{CPU: 0.07}, ClientBusy: []float64{0.26},
			Queues: &Queues{}}, Overloaded},
		{"missing, on a quiet stream", Trial{Sent: 1000, Received: 1, NotCompleted: 1, Queues: &Queues{Quiet: 2000}},
			TargetFailed},
		{"missing, on its way", Trial{Sent: 1000, Received: 1, NotCompleted: 1, Queues: &Queues{Quiet: 9}}, Overloaded},
		{"missing, server elsewhere", Trial{Sent: 1000, Received: 1, NotCompleted: 1, Queues: &Queues{Unsent: -1}},
			Overloaded},
		{"stolen", Trial{Noise: &Noise{Stolen: 0.04}, RTT: Latency{Mean: 300}}, Noisy},
		{"others", Trial{Noise: &Noise{Others: 0.2}}, Noisy},
		{"a little noise", Trial{Noise: &Noise{Stolen: 0.01, Others: 0.05}}, OK},
		{"waited for its CPU", Trial{Noise: &Noise{Waited: 0.2}}, Noisy},
		{"slowed", Trial{Noise: &Noise{Slowed: 0.3}, RTT: Latency{Mean: 300}}, Noisy},
		{"hardly slowed", Trial{Noise: &Noise{Slowed: 0.1}}, OK},
	} {
		if judge(&tt.t, 0); tt.t.Verdict != tt.want {
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
	if s := slope(flat, 10); math.Abs(s) > 1e-9 {
		t.Errorf("flat: %g", s)
	}
	if s := slope(rising, 10); math.Abs(s-0.2) > 1e-9 {
		t.Errorf("rising: %g", s)
	}
	for i := 20; i < 30; i++ { // most of what was due there never came back
		rising[i] = bucket{2, 2}
	}
	if s := slope(rising, 10); math.Abs(s-0.2) > 1e-9 {
		t.Errorf("rising, with the end missing: %g", s)
	}
	if s := slope(nil, 10); s != 0 {
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

// server is one in virtual time of another kind than a queue: what becomes of a trial at a nominal rate.
type server func(nominal float64, window time.Duration, trial int) Trial

// trials runs them, and counts.
type trials struct {
	server
	n, quiets int
}

func (s *trials) try(nominal float64, window time.Duration) (Trial, error) {
	s.n++
	t := s.server(nominal, window, s.n)
	t.Nominal, t.Window, t.Sent = nominal, window.Seconds(), 1000
	if t.Received == 0 {
		t.Received = 1000
	}
	if t.Delivered == 0 {
		t.Delivered = nominal
	}
	if t.Verdict == "" {
		judge(&t, 0)
	}
	return t, nil
}

func (s *trials) quiet(most time.Duration) time.Duration {
	s.quiets++
	return min(most, 10*time.Second)
}

func fine() Trial { return Trial{RTT: Latency{Mean: 5, P99: 9}} }

func slow() Trial { return Trial{RTT: Latency{Mean: 900, P99: 2000}, Slope: 0.5} }

// A server that batches gets no slower below its limit, and much slower beyond it.
func TestSearchOfAServerThatBatches(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(nominal float64, _ time.Duration, _ int) Trial {
		if nominal > 180e6 {
			return slow()
		}
		return fine()
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 2000)
	if err != nil || got.Held > 180e6 || got.Fell < 180e6 || got.Fell/got.Held > 1.05 || got.Sustained < 160e6 {
		t.Errorf("%+v %v", got, err)
	}
}

// One that gathers for long has long round trips at any rate, which a short trial takes for the beginning of a queue.
func TestSearchOfAServerThatGathersForLong(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(nominal float64, _ time.Duration, _ int) Trial {
		if nominal > 180e6 {
			return slow()
		}
		return Trial{RTT: Latency{Min: 1, Mean: 100, P99: 190}}
	}}
	got, all, err := searchQueue(s, profile(t, "quick"), 2000)
	if err != nil || got.Held > 180e6 || got.Fell < 180e6 || got.Fell/got.Held > 1.05 || got.Sustained < 160e6 {
		t.Errorf("%+v %v", got, err)
	}
	for _, trial := range all {
		if trial.Phase == PhaseBracket && trial.Nominal < 90e6 {
			t.Errorf("the search went back to %g", trial.Nominal)
		}
	}
}

// A short trial that was in doubt stands if nothing can be said of the whole one.
func TestSearchOfWhichTheWholeWindowIsNoisy(t *testing.T) {
	t.Parallel()
	const limit = 20e3
	s := &trials{server: func(nominal float64, window time.Duration, _ int) Trial {
		switch {
		case nominal <= limit:
			return fine()
		case window < 3*time.Second:
			return Trial{RTT: Latency{Min: 1, Mean: 150, P99: 190}}
		default:
			return Trial{RTT: Latency{Mean: 450, P99: 900}, NotCompleted: 10, Verdict: Noisy}
		}
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 2000)
	if err != nil || got.Held < 0.8*limit || got.Held > limit {
		t.Errorf("%+v %v", got, err)
	}
}

// A server that carries a rate for three seconds and not for ten sustains less: it is searched down to that.
func TestSearchFindsWhatIsSustained(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(nominal float64, window time.Duration, _ int) Trial {
		if nominal > 7e6 || window > 5*time.Second && nominal > 2.8e6 {
			return slow()
		}
		return fine()
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 2000)
	if err != nil || got.Sustained > 2.8e6 || got.Sustained < 2.8e6/(1+sustainPrecision) {
		t.Errorf("sustained %g %v", got.Sustained, err)
	}
}

// Where the client is the limit of the longer trials something lower is tried, and a lower bound found; where it always
// is, nothing is known, and nothing has failed.
func TestSearchOfWhatIsSustainedBeyondTheClient(t *testing.T) {
	t.Parallel()
	for _, clientsMost := range []float64{3e6, 1e3} {
		s := &trials{server: func(nominal float64, window time.Duration, _ int) Trial {
			switch {
			case nominal > 7e6:
				return slow()
			case window > 5*time.Second && nominal > clientsMost:
				return Trial{LagP99: 50, RTT: Latency{Mean: 3000}}
			}
			return fine()
		}}
		got, _, err := searchQueue(s, profile(t, "quick"), 2000)
		switch {
		case err != nil || got.SustainedUnmeasured <= clientsMost:
			t.Errorf("%g could not be measured, of more than %g; %v", got.SustainedUnmeasured, clientsMost, err)
		case clientsMost == 1e3 && (got.Sustained != 0 || got.SustainSought()):
			t.Errorf("nothing could be measured, and sustained is %g", got.Sustained)
		case clientsMost == 3e6 && (got.Sustained > 3e6 || got.Sustained < 3e6/(1+sustainPrecision)):
			t.Errorf("sustained %g, of 3 million that could be measured", got.Sustained)
		}
	}
}

// On a busy machine trials say nothing now and then, and servers look slow: no bound moves down for it.
func TestSearchOnABusyMachine(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		most := 0.0
		s := &trials{server: func(nominal float64, _ time.Duration, _ int) Trial {
			x := fine()
			switch {
			case r.IntN(4) == 0:
				x = Trial{Noise: &Noise{Others: 0.3}, RTT: Latency{Mean: 3000}}
			case r.IntN(8) == 0:
				x = Trial{LagP99: 50, RTT: Latency{Mean: 3000}}
			case nominal > 40e6:
				x = slow()
			default:
				most = max(most, nominal)
			}
			return x
		}}
		got, _, err := searchQueue(s, profile(t, "quick"), 500)
		if err != nil || got.Held < most && got.Limit != Overloaded || got.Limit == Overloaded &&
			(got.Rate < 30e6 || got.Rate > 50e6) {
			t.Errorf("seed %d: %g, held %g of %g, %s %s %v", seed, got.Rate, got.Held, most, got.Limit, got.Reason, err)
		}
	}
}

// A machine that is never quiet: nothing is found, or a lower bound, and the reason is said; in a bounded time.
func TestSearchOnAMachineThatIsNeverQuiet(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(float64, time.Duration, int) Trial {
		return Trial{Noise: &Noise{Others: 0.25}, RTT: Latency{Mean: 3000}}
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 500)
	if err != nil || got.Limit != Noisy || got.Rate != 0 || !strings.Contains(got.Reason, "the machine is busy") ||
		s.n > 20 {
		t.Errorf("%+v %v after %d trials", got, err, s.n)
	}
}

// What a short trial has carried has been delivered, also where no longer one could be measured.
func TestSearchOfWhichOnlyProbesCount(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(nominal float64, window time.Duration, _ int) Trial {
		if window < 3*time.Second && nominal <= 10e6 {
			return fine()
		}
		return Trial{Noise: &Noise{Others: 0.25}, RTT: Latency{Mean: 3000}, Delivered: 1}
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 500)
	if err != nil || got.Limit != Noisy || got.Rate < 5e6 || got.MaxDelivered != got.Rate {
		t.Errorf("%g, %g delivered, %s %v", got.Rate, got.MaxDelivered, got.Limit, err)
	}
}

// What held once above the bracket, and holds when it is asked again, moves the bracket up.
func TestCurveCorrectsTheBracket(t *testing.T) {
	t.Parallel()
	spoilt := 0
	s := &trials{}
	s.server = func(nominal float64, window time.Duration, n int) Trial {
		if nominal > 10e6 && nominal < 100e6 && window >= 3*time.Second && spoilt < 6 { // a bad minute
			spoilt++
			return slow()
		}
		if nominal > 160e6 {
			return slow()
		}
		return fine()
	}
	got, _, err := searchQueue(s, profile(t, "quick"), 500)
	if err != nil || got.Held > 160e6 || got.Held < 140e6 {
		t.Errorf("%+v %v", got, err)
	}
}

// What is sustained stays a lower bound when the bracket is corrected.
func TestCurveKeepsThatTheSustainedIsABound(t *testing.T) {
	t.Parallel()
	bad := true // until what is sustained is looked for
	s := &trials{}
	s.server = func(nominal float64, window time.Duration, _ int) Trial {
		switch {
		case window > 3*time.Second && nominal > 45e6:
			bad = false
			return Trial{Verdict: ClientLimited, RTT: Latency{Mean: 300}}
		case nominal > 160e6, bad && window == 3*time.Second && nominal > 50e6:
			return slow()
		}
		return fine()
	}
	got, _, err := searchQueue(s, profile(t, "quick"), 500)
	if err != nil || got.Held < 140e6 || got.Sustained <= 0 || got.SustainedUnmeasured <= got.Sustained {
		t.Errorf("%+v %v", got, err)
	}
}

// A busy machine makes round trips longer and never shorter. What holds in spite of it has held, and what does not says
// nothing: the search finds what it finds on a quiet one, or a lower bound.
func TestSearchCountsWhatHeldInSpiteOfNoise(t *testing.T) {
	t.Parallel()
	s := &trials{server: func(nominal float64, window time.Duration, _ int) Trial {
		x := Trial{Noise: &Noise{Others: 0.25}, Sent: 1000, Received: 1, Nominal: nominal, Delivered: nominal,
			Window: window.Seconds(), RTT: Latency{Mean: 50}}
		if nominal > 40e6 {
			x.RTT.Mean, x.Delivered = 900, 40e6
		}
		return x
	}}
	got, _, err := searchQueue(s, profile(t, "quick"), 500)
	if err != nil || got.Limit != Noisy || got.Rate < 20e6 || got.Rate > 40e6 || got.MaxDelivered != got.Rate {
		t.Errorf("%g, %s %s, %v", got.Rate, got.Limit, got.Reason, err)
	}
	if got.SustainSought() { // it would count as a failure
		t.Errorf("what is sustained could not be measured: %+v", got)
	}
}
