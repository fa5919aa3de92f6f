package server

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// scheduled has the loop read what its thread has run, and waited to, from a file.
func scheduled(t *testing.T, l *loop) (write func(text string)) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "schedstat"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l.saturation.schedstat = int(f.Fd())
	return func(text string) {
		if err := os.WriteFile(f.Name(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Once a second the loop looks at what share of the time it was not waiting, and how long a message that comes at any
// moment waited for its turn: the squares of the turns, by the time.
func TestSaturationOfASecond(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{TurnTarget: 100 * time.Millisecond})
	s, write := &l.saturation, scheduled(t, l)
	l.now = 1
	for _, tt := range []struct {
		at       time.Duration
		stat     string // nanoseconds run, and waited for a CPU
		squares  float64
		lookedAt time.Duration
		busy     float64
		wait     time.Duration
		since    int64 // loop time since which messages wait for too long
	}{
		{time.Second - 1, "100000000 100000000 7", 0.04, 0, 0, 0, 0},
		{time.Second, "100000000 100000000 7", 0.04, time.Second, 0.2, 40 * time.Millisecond, 0},
		{3 * time.Second, "800000000 400000000 7", 0.2, 3 * time.Second, 0.5, 100 * time.Millisecond, 3000},
		{4 * time.Second, "1800000000 400000000 7", 0.2, 4 * time.Second, 1, 200 * time.Millisecond, 3000},
		{5 * time.Second, "9800000000 400000000 7", 0.08, 5 * time.Second, 1, 80 * time.Millisecond, 3000},
		{6 * time.Second, "9800000000 400000000 7", 0.079, 6 * time.Second, 0, 79 * time.Millisecond, 0},
	} {
		l.elapsed, l.now, s.squares = tt.at, tt.at.Milliseconds(), tt.squares
		write(tt.stat)
		l.lookAtSaturation()
		if s.lookedAt != tt.lookedAt || s.busy != tt.busy || s.wait.Round(time.Microsecond) != tt.wait ||
			s.since != tt.since {
			t.Errorf("at %v: looked at %v, busy %v, %v, saturated since %d; want %v, %v, %v, %d", tt.at,
				s.lookedAt, s.busy, s.wait, s.since, tt.lookedAt, tt.busy, tt.wait, tt.since)
		}
		if looked := tt.at == tt.lookedAt; looked && s.squares != 0 {
			t.Errorf("at %v the squares are %v", tt.at, s.squares)
		}
		st := l.snapshot()
		if st.Busy != s.busy || st.TurnWait != s.wait || st.Saturation != float64(s.wait)/1e8 {
			t.Errorf("at %v the counters say %v, %v, %v", tt.at, st.Busy, st.TurnWait, st.Saturation)
		}
	}
	write("only")
	if ran := s.runTime(); ran <= 0 || ran > time.Minute {
		t.Errorf("without statistics of the scheduler the thread has run for %v", ran)
	}
}

// A loop at exactly its target is saturated from then on, at the very beginning too.
func TestSaturationAtItsTarget(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{TurnTarget: 100 * time.Millisecond})
	scheduled(t, l)("0 0 0")
	l.elapsed, l.saturation.squares = 2*time.Second, 0.2
	if l.lookAtSaturation(); l.saturation.since != 1 {
		t.Errorf("it is saturated since %d", l.saturation.since)
	}
}

// Turns are counted with their lengths and, for the mean that a message finds, their squares.
func TestTurnsAreMeasured(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{})
	l.start = time.Now().Add(-time.Hour)
	l.saturation.turnBegan = time.Since(l.start) - 2*time.Second
	l.turnEnded()
	turns := l.stats.TurnSeconds
	if turns.Count != 1 || turns.Sum < 2 || turns.Sum > 600 || l.saturation.squares != turns.Sum*turns.Sum {
		t.Errorf("a turn of 2 s: %v, squares %v", turns, l.saturation.squares)
	}
	if l.saturation.turnBegan < time.Hour {
		t.Errorf("the next one began at %v", l.saturation.turnBegan)
	}
}

// A loop is overloaded when it was beyond its saturation, or its publishers waited for the next turn, for so long.
func TestOverloadBeginsInTime(t *testing.T) {
	t.Parallel()
	const after = 3000
	for _, tt := range []struct {
		publishers, turns int64 // ms ago since which; 0 is not
		want              bool
	}{
		{0, 0, false}, {after - 1, 0, false}, {after, 0, true}, {0, after - 1, false}, {0, after, true},
		{after - 1, after - 1, false}, {after, 1, true}, {1, after, true},
	} {
		l := idle(t, Config{OverloadAfter: after * time.Millisecond})
		l.now = 1 << 20
		if tt.publishers > 0 {
			l.share.spentSince = l.now - tt.publishers
		}
		if tt.turns > 0 {
			l.saturation.since = l.now - tt.turns
		}
		if got := l.overloaded(); got != tt.want || l.snapshot().Overloaded != tt.want {
			t.Errorf("publishers %d, turns %d ms: %v", tt.publishers, tt.turns, got)
		}
	}
}

// What a turn cannot send out, arrivals that wait, and whoever waits beyond it put the loop behind, until a turn finds
// none of them.
func TestTurnsThatLeaveSomething(t *testing.T) {
	t.Parallel()
	const now = 5000
	for name, tt := range map[string]struct {
		since   int64
		prepare func(l *loop)
		want    int64
	}{
		"nothing":                  {0, func(*loop) {}, 0},
		"nothing more":             {7, func(*loop) {}, 0},
		"a publisher":              {0, func(l *loop) { l.share.publishers = []*conn{{dead: true}} }, now},
		"still a publisher":        {7, func(l *loop) { l.share.publishers = []*conn{{dead: true}} }, 7},
		"a full turn, nobody more": {7, func(l *loop) { l.share.fanOut = 0 }, 0},
		"somebody, but room": {7, func(l *loop) {
			l.share.fanOut = 1
			l.share.again.push(&conn{})
		}, 0},
		"somebody beyond a full turn": {0, func(l *loop) {
			l.share.fanOut = 0
			l.share.fresh.push(&conn{})
		}, now},
		"publishers that have not had their visit": {7, func(l *loop) { l.share.released = 1 }, 7},
	} {
		l := idle(t, Config{TurnBytesMax: 1000})
		l.now, l.share.fanOut, l.share.fanOutMax, l.share.spentSince = now, 1, 1000, tt.since
		tt.prepare(l)
		l.nextTurn()
		if s := &l.share; s.spentSince != tt.want || s.turn != turnCost || s.fanOut != 1000 || len(s.publishers) != 0 {
			t.Errorf("%s: behind since %d, want %d; %+v", name, s.spentSince, tt.want, s)
		}
	}
	l := idle(t, Config{})
	l.share.publishers = []*conn{{dead: true}}
	if l.nextTurn(); l.share.spentSince != 1 {
		t.Errorf("at the very beginning it is behind since %d", l.share.spentSince)
	}
}

// Publishers are let go on when the next turn begins, those who still wait for it alone.
func TestPublishersAreReleased(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{})
	waits, other := &conn{loop: l, hold: holdTurn}, &conn{loop: l, hold: holdSocket}
	l.share.publishers = []*conn{waits, other, {loop: l, hold: holdTurn, dead: true}}
	l.nextTurn()
	if waits.hold != holdShare || other.hold != holdSocket || l.share.released != 1 || l.share.again.len() != 1 {
		t.Errorf("held for %d and %d, %d released, %d wait for a visit", waits.hold, other.hold, l.share.released,
			l.share.again.len())
	}
}
