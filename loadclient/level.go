package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sockloop/sockloop/tuning"
)

// Level is a number of connections to a target, open and ready for trials. Its methods belong to one goroutine.
type Level struct {
	LevelConfig // with its defaults

	ctx    context.Context // ends the trial that runs, and the level with it
	parts  []part
	failed error // what a trial has ended with; there is no other after that
}

// part is some of a level's connections: all, in this process, or a share on an agent. A trial is the same steps for
// both, and no step begins before all parts have done the last one.
type part interface {
	open(context.Context) error                           // opens the connections
	settle(context.Context) error                         // hears out a server that greets
	prepare(context.Context, trialPlan) error             // whatever arrives from here on counts
	begin(context.Context) error                          // the schedule begins, on the part's own clock
	measure(context.Context) (measurement, error)         // waits for the end, and holds what has come
	check(context.Context, account) (integrity, error)    // compares it with what all have sent, and lets it go
	noise(context.Context, time.Duration) (*Noise, error) // listens between two trials
	live() Live
	close()
}

// LevelConfig is how a level is opened.
type LevelConfig struct {
	Target      Target
	Connections int
	Agents      *Agents       `json:"-"` // that open them; nil is this process
	Share       Share         // of the connections, what this process opens if it is an agent
	CPUs        tuning.CPUs   `json:"-"` // one worker each, pinned; empty is one worker anywhere
	IDBase      int           // the first connection's id; ids are not reused while a server runs
	Probe       *ServerProbe  `json:"-"` // of the server, nil for none
	Work        time.Duration `json:"-"` // Noise.Work of earlier trials at full speed, 0 for none: slower is NOISY
	Drain       time.Duration // how long the last messages may take after the window; 0 is the 5 s of 2011
	Threshold   float64       // mean round trip in ms from which a trial's rate is too high; 0 is the 200 ms of 2011
	Restart     bool          // the turn of the senders begins again each second, and they come first, as in 2011
	Read        ReadPolicy    // empty is Prompt
	Verify      Verify        // empty is VerifyAll
	Publishers  int           // of the connections, the first so many send; 0 is all
	Room        int           // so many connections hear each other, one room after the other; 0 is all
}

// Hearers is how many connections hear a message.
func (c *LevelConfig) Hearers() int { return cmp.Or(c.Room, c.Connections) }

// Senders is how many connections send.
func (c *LevelConfig) Senders() int { return cmp.Or(c.Publishers, c.Connections) }

// Check says what cannot be.
func (c *LevelConfig) Check() error {
	switch {
	case c.Agents != nil && c.Connections < len(c.Agents.Addrs):
		return fmt.Errorf("%d connections for %d agents: want at least one each", c.Connections, len(c.Agents.Addrs))
	case c.Publishers < 0 || c.Publishers > c.Connections:
		return fmt.Errorf("%d publishers of %d connections: want at most as many (--publishers)",
			c.Publishers, c.Connections)
	case c.Room < 0 || c.Room > 0 && c.Connections%c.Room != 0:
		return fmt.Errorf("rooms of %d among %d connections: want a divisor of that (--rooms)", c.Room, c.Connections)
	case c.Room > 0 && c.Room < c.Connections && c.Publishers > 0:
		return errors.New("rooms and publishers: choose one, --rooms or --publishers")
	case c.Verify == VerifySample && c.Target.Protocol != SockJS:
		return fmt.Errorf("a sample can be verified of frames with many messages only, which is protocol %s", SockJS)
	case c.Verify == VerifySample && c.Target.TLS != nil:
		return errors.New("a sample cannot be verified over TLS, which must be decrypted whole: " +
			"use --verify all, or a target without TLS (ws:// or http://)")
	case c.Room == 0 && c.Target.perRoom():
		return fmt.Errorf("%s stands for the number of a room, and there are none: give their size with --rooms",
			roomPlace)
	}
	return nil
}

// OpenLevel opens all connections. When the context ends the level fails.
func OpenLevel(ctx context.Context, c LevelConfig) (*Level, error) {
	l, err := newLevel(ctx, c)
	if err != nil {
		return nil, err
	}
	err = l.each(func(ctx context.Context, _ int, p part) error { return p.open(ctx) })
	if err == nil {
		err = l.each(func(ctx context.Context, _ int, p part) error { return p.settle(ctx) })
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// newLevel is a level without connections yet.
func newLevel(ctx context.Context, c LevelConfig) (*Level, error) {
	c.Drain = cmp.Or(c.Drain, drainTime)
	c.Read = cmp.Or(c.Read, Prompt)
	c.Threshold = cmp.Or(c.Threshold, saturationRTT)
	c.Verify = cmp.Or(c.Verify, VerifyAll)
	if err := c.Check(); err != nil {
		return nil, err
	}
	l := &Level{LevelConfig: c, ctx: ctx}
	if c.Agents == nil {
		l.parts = []part{newLocal(c)}
		return l, nil
	}
	l.parts = make([]part, len(c.Agents.Addrs))
	err := l.each(func(ctx context.Context, i int, _ part) error {
		r, err := c.Agents.dial(ctx, i)
		if err == nil {
			r.config = c
			r.config.Share = Share{i, len(l.parts)}
			l.parts[i] = r
		}
		return err
	})
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// each does a step with all parts at a time. The first that fails ends the others.
func (l *Level) each(step func(context.Context, int, part) error) error {
	g, ctx := errgroup.WithContext(l.ctx)
	for i, p := range l.parts {
		g.Go(func() error { return step(ctx, i, p) })
	}
	return g.Wait()
}

// Close ends all connections.
func (l *Level) Close() {
	var closing sync.WaitGroup
	for _, p := range l.parts {
		if p != nil {
			closing.Go(p.close)
		}
	}
	closing.Wait()
}

// Trial sends at a rate, in messages a second over all connections, for a time, and reports what came of it. An error
// means that the target failed or the machine refused; whatever the server does otherwise is a result.
func (l *Level) Trial(rate float64, window time.Duration) (Trial, error) {
	return l.trial(l.sends(rate, window), window, func() {})
}

// Idle is a trial in which nothing is sent: what the server's connections cost by themselves.
func (l *Level) Idle(window time.Duration) (Trial, error) { return l.listen(window, func() {}) }

// sends is a schedule at a rate, or one without messages.
func (l *Level) sends(rate float64, window time.Duration) schedule {
	if rate == 0 {
		return schedule{connections: l.Senders(), block: 1}
	}
	return newSchedule(rate, l.Senders(), window, l.Restart)
}

// listen is a trial in which nothing is sent. begun is called when all workers count.
func (l *Level) listen(window time.Duration, begun func()) (Trial, error) {
	return l.trial(l.sends(0, window), window, begun)
}

func (l *Level) trial(s schedule, window time.Duration, begun func()) (t Trial, err error) {
	if l.failed != nil {
		return Trial{}, l.failed
	}
	defer func() { l.failed = err }()
	plan := trialPlan{schedule: s, window: window, drain: l.Drain}
	err = l.each(func(ctx context.Context, _ int, p part) error { return p.prepare(ctx, plan) })
	if err != nil {
		return Trial{}, err
	}
	begun()
	x, err := l.begin(plan)
	if err != nil {
		return Trial{}, err
	}
	used := l.watchServer(x.start, window)
	err = l.each(func(ctx context.Context, i int, p part) (err error) {
		x.measured[i], err = p.measure(ctx)
		return err
	})
	if err != nil {
		return Trial{}, err
	}
	sent := x.account(l)
	if x.atWork = sent.Short && l.Probe.atWork(l.ctx); l.ctx.Err() != nil {
		return Trial{}, l.ctx.Err()
	}
	err = l.each(func(ctx context.Context, i int, p part) (err error) {
		x.checked[i], err = p.check(ctx, sent)
		return err
	})
	if err != nil {
		return Trial{}, err
	}
	x.server = <-used
	return l.gather(x), nil
}

// begin gives all parts the word.
func (l *Level) begin(plan trialPlan) (*execution, error) {
	n := len(l.parts)
	x := &execution{plan: plan, start: time.Now(), heard: make([]time.Duration, n),
		measured: make([]measurement, n), checked: make([]integrity, n)}
	err := l.each(func(ctx context.Context, i int, p part) error {
		err := p.begin(ctx)
		x.heard[i] = time.Since(x.start)
		return err
	})
	x.start = x.start.Add(settleTime)
	return x, err
}

// watchServer reads what the server uses while a window lasts.
func (l *Level) watchServer(start time.Time, window time.Duration) <-chan *Usage {
	used := make(chan *Usage, 1)
	go func() {
		time.Sleep(time.Until(start))
		before := l.Probe.sample()
		time.Sleep(time.Until(start.Add(window)))
		used <- l.Probe.since(before)
	}()
	return used
}

// noise is the most that a part hears between two trials.
func (l *Level) noise(d time.Duration) (*Noise, error) {
	all := make([]*Noise, len(l.parts))
	err := l.each(func(ctx context.Context, i int, p part) (err error) {
		all[i], err = p.noise(ctx, d)
		return err
	})
	var most *Noise
	for _, n := range all {
		most = noisier(most, n)
	}
	return most, err
}

// Live is what a trial has seen so far, for a display.
type Live struct {
	Bytes    int64         `json:"bytes"`
	Returned int64         `json:"returned"` // own messages
	RTTSum   time.Duration `json:"rtt_sum"`  // of their round trips
}

// Live may be called while a trial runs, from any goroutine.
func (l *Level) Live() Live {
	var v Live
	for _, p := range l.parts {
		x := p.live()
		v.Bytes, v.Returned, v.RTTSum = v.Bytes+x.Bytes, v.Returned+x.Returned, v.RTTSum+x.RTTSum
	}
	return v
}

// idMax keeps ids at the four digits that they had in 2011, and so messages at 15 to 18 bytes.
const idMax = 9999

// NextIDBase is the first id for the connections that follow n connections with ids from base on. Ids begin anew only
// when they run out, so that what is late from the old connections is not mistaken for what is due to the new ones.
func NextIDBase(base, n int) int {
	if base += n; base+n > idMax+1 {
		return 1
	}
	return base
}
