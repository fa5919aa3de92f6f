package loadclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"
)

// SearchConfig is how the saturation point of a level is searched.
type SearchConfig struct {
	Level     LevelConfig
	Window    time.Duration // of a trial that counts; 3 s in 2011, and the threshold depends on it
	Probe     time.Duration // of a trial that only looks for the order of magnitude
	StartRate float64       // first nominal rate, received messages a second
	Precision float64       // the bracket's width in the end, as a share
	Repeats   int           // trials at the rate that is reported
	CoolDown  time.Duration // how long a server is left alone after a trial that it could not finish
}

// DefaultSearch is the search of the quick levels.
func DefaultSearch(level LevelConfig) SearchConfig {
	return SearchConfig{Level: level, Window: 3 * time.Second, Probe: time.Second, StartRate: 50_000, Precision: 0.05, Repeats: 3, CoolDown: time.Second}
}

// Saturation is what a search found at one level. Rates are received messages a second, over all connections.
type Saturation struct {
	Target      string   `json:"target"`
	Protocol    Protocol `json:"protocol"`
	Connections int      `json:"connections"`
	// Rate is the nominal rate at which the mean round trip crosses 200 ms, between the highest rate that held and the
	// lowest that did not.
	Rate float64 `json:"saturation_rate"`
	Held float64 `json:"held_rate"`   // highest nominal rate that held, in most of its trials
	Fell float64 `json:"fell_rate"`   // lowest nominal rate that did not
	Best *Trial  `json:"best_trial"`  // of the trials at Held, the one with the median delivered rate
	Low  float64 `json:"best_lowest"` // delivered rate of the worst of the trials at Held
	High float64 `json:"best_highest"`
	// Limit says what ended the search: OVERLOADED is the server, CLIENT-LIMITED is us, and then Rate is a lower bound.
	Limit  Verdict `json:"limit"`
	Reason string  `json:"reason,omitempty"`
	Trials int     `json:"trials"`
}

// trier runs a trial at a nominal rate: a Level, or in tests a queue whose capacity is known.
type trier interface {
	try(nominal float64, window time.Duration) (Trial, error)
}

// Search finds the saturation point of a level. each is called after every trial. A target that fails under a rate that
// is too high for it has fallen like one that gets slow; one that fails at the first rate is an error.
func Search(ctx context.Context, c SearchConfig, each func(Trial), watch func(*Level, float64)) (Saturation, error) {
	l := &reopening{ctx: ctx, config: c.Level, watch: watch, coolDown: c.CoolDown}
	defer l.close()
	if err := l.open(); err != nil {
		return Saturation{}, err
	}
	s := searcher{SearchConfig: c, trier: l, each: each, ctx: ctx}
	result, err := s.search()
	result.Target, result.Protocol, result.Connections = c.Level.Target.String(), c.Level.Target.Protocol, c.Level.Connections
	return result, err
}

// reopening is a level that is opened anew when a trial broke it, or left it with messages on their way.
type reopening struct {
	ctx    context.Context
	config LevelConfig
	level  *Level
	watch  func(*Level, float64)

	coolDown time.Duration
}

func (r *reopening) open() (err error) {
	r.level, err = OpenLevel(r.ctx, r.config)
	r.config.IDBase = NextIDBase(r.config.IDBase, r.config.Connections)
	return err
}

// idMax keeps ids at the four digits that they had in 2011, and so messages at 15 to 18 bytes.
const idMax = 9999

// NextIDBase is the first id for the connections that follow n connections with ids from base on. Ids begin anew only when
// they run out, so that what is late from the old connections is not mistaken for what is due to the new ones.
func NextIDBase(base, n int) int {
	if base += n; base+n > idMax+1 {
		return 1
	}
	return base
}

func (r *reopening) close() {
	if r.level != nil {
		r.level.Close()
		r.level = nil
	}
}

func (r *reopening) try(nominal float64, window time.Duration) (Trial, error) {
	if r.level == nil {
		if err := r.open(); err != nil {
			return Trial{}, err
		}
	}
	if r.watch != nil {
		r.watch(r.level, nominal)
	}
	t, err := r.level.Trial(nominal/float64(r.config.Connections), window)
	if err != nil || t.NotCompleted > 0 {
		r.close()
		time.Sleep(r.coolDown) // the server works off what it still has
	}
	return t, err
}

type searcher struct {
	SearchConfig
	trier
	ctx    context.Context
	each   func(Trial)
	trials int
	failed int // target failures in a row

	held, fell float64 // nominal rates
	fellT      Trial
	limit      Verdict
	reason     string
	everHeld   bool
}

var errNothingHeld = errors.New("the target does not hold even the lowest rate")

func (s *searcher) search() (Saturation, error) {
	if err := s.probe(); err != nil {
		return Saturation{}, err
	}
	if err := s.bracket(); err != nil {
		return Saturation{}, err
	}
	return s.confirm()
}

// run runs one trial and tells whether the rate held. When the client was at fault, it is tried again: noise on the
// machine does that too.
func (s *searcher) run(nominal float64, window time.Duration) (t Trial, held bool, err error) {
	for range retries {
		if err := s.ctx.Err(); err != nil {
			return t, false, err
		}
		t, err = s.try(nominal, window)
		s.trials++
		if err != nil {
			if !errors.Is(err, errTarget) || s.ctx.Err() != nil || !s.everHeld {
				return t, false, err
			}
			t = Trial{Time: time.Now().UTC(), Connections: s.Level.Connections, Window: window.Seconds(),
				SendRate: nominal / float64(s.Level.Connections), Nominal: nominal, Verdict: TargetFailed, Reason: err.Error()}
		}
		s.each(t)
		if t.Verdict != TargetFailed {
			s.failed = 0
		} else if s.failed++; !s.everHeld || s.failed > failuresMax {
			return t, false, fmt.Errorf("%w: %s", errTarget, strings.TrimPrefix(t.Reason, errTarget.Error()+": "))
		}
		// The threshold is for a window of 3 s: an overloaded queue's mean round trip grows with the window.
		held = t.Verdict == OK && t.RTT.Mean < saturationRTT*window.Seconds()/3
		if held {
			s.everHeld = true
			return t, true, nil
		}
		if t.Verdict != ClientLimited || t.RTT.Mean > 2*saturationRTT { // so slow is not noise
			return t, false, nil
		}
	}
	return t, false, nil
}

// failuresMax is how many trials in a row a target may break before it is broken for good, whatever the rate.
const failuresMax = 12

// retries is how often a trial that was the client's fault is tried.
const retries = 3

// probe multiplies the rate by four until it does not hold.
func (s *searcher) probe() error {
	for rate := s.StartRate; ; rate *= 4 {
		t, held, err := s.run(rate, s.Probe)
		if err != nil {
			return err
		}
		if !held {
			s.fall(rate, t)
			break
		}
		s.held = rate
	}
	for s.held == 0 { // not even the first: look below
		rate := s.fell / 4
		if rate*s.Probe.Seconds() < float64(s.Level.Connections) {
			return fmt.Errorf("%w: %w (%.0f messages a second)", errTarget, errNothingHeld, s.fell)
		}
		t, held, err := s.run(rate, s.Probe)
		if err != nil {
			return err
		}
		if held {
			s.held = rate
		} else {
			s.fall(rate, t)
		}
	}
	return nil
}

func (s *searcher) fall(rate float64, t Trial) {
	s.fell, s.fellT, s.limit, s.reason = rate, t, t.Verdict, t.Reason
	if t.Verdict == OK { // in a short trial the threshold is lower
		s.limit = Overloaded
	}
}

// bracket narrows the gap between what held and what fell, with trials that count.
func (s *searcher) bracket() error {
	for s.fell/s.held > 1+s.Precision || s.fellT.Window < s.Window.Seconds() {
		rate := s.aim()
		t, held, err := s.run(rate, s.Window)
		switch {
		case err != nil:
			return err
		case !held:
			s.fall(rate, t)
		case rate < s.fell:
			s.held = rate
		default: // it fell in a short trial only
			s.held = rate
			s.fell *= 1 + s.Precision
		}
	}
	return nil
}

// aim is the rate to try next: what an overloaded server delivered is a good guess of its capacity, else the middle; and
// when the gap is small enough, the rate that fell, if it has not been tried for a whole window.
func (s *searcher) aim() float64 {
	if s.fell/s.held <= 1+s.Precision {
		return s.fell
	}
	guess := s.fellT.Delivered
	s.fellT.Delivered = 0 // once
	if guess > s.held*(1+s.Precision/2) && guess < s.fell/(1+s.Precision/2) {
		return guess
	}
	return math.Sqrt(s.held * s.fell)
}

// confirm repeats the rate that held. If it does not hold in most of its trials after all, the next lower one is tried:
// a rate that fell counts against the higher ones that once held.
func (s *searcher) confirm() (Saturation, error) {
	for step := s.Precision; ; step *= 2 { // a server that broke at a rate often takes a larger step to recover
		held, fell, err := s.repeat()
		if err != nil {
			return Saturation{}, err
		}
		if 2*len(held) > s.Repeats {
			return s.result(held), nil
		}
		s.fall(s.held, fell)
		if s.held /= 1 + step; s.held*s.Window.Seconds() < float64(s.Level.Connections) {
			return Saturation{}, fmt.Errorf("%w: %w", errTarget, errNothingHeld)
		}
	}
}

// repeat runs the rate that held again and returns the trials in which it did, and the last in which it did not. It stops
// when most have failed.
func (s *searcher) repeat() (held []Trial, fell Trial, err error) {
	for failed := 0; len(held)+failed < s.Repeats && 2*failed <= s.Repeats; {
		t, ok, err := s.run(s.held, s.Window)
		if err != nil {
			return nil, t, err
		}
		if ok {
			held = append(held, t)
		} else {
			fell = t
			failed++
		}
	}
	return held, fell, nil
}

func (s *searcher) result(held []Trial) Saturation {
	sort.Slice(held, func(i, j int) bool { return held[i].Delivered < held[j].Delivered })
	best := held[len(held)/2]
	return Saturation{
		Rate: crossing(s.held, best.RTT.Mean, s.fell, s.fellT.RTT.Mean), Held: s.held, Fell: s.fell,
		Best: &best, Low: held[0].Delivered, High: held[len(held)-1].Delivered,
		Limit: s.limit, Reason: s.reason, Trials: s.trials,
	}
}

// crossing is where the mean round trip crosses the threshold, linear between two trials, as the figures of 2011 were
// read. A trial that fell for another reason has no crossing; then it is the rate that held.
func crossing(held, heldRTT, fell, fellRTT float64) float64 {
	if fellRTT <= saturationRTT || fellRTT <= heldRTT {
		return held
	}
	return held + (fell-held)*(saturationRTT-heldRTT)/(fellRTT-heldRTT)
}
