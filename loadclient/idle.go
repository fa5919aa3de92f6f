package loadclient

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/sockloop/sockloop/loadclient/results"
)

// IdleConfig is a ramp of connections that do nothing once they are open.
type IdleConfig struct {
	Level   LevelConfig   // with the connections of all steps
	Step    int           // connections of a step
	Rate    float64       // connections opened a second; 0 is as fast as the target accepts them
	Timeout time.Duration // of opening one; 0 is 10 s
	Hold    time.Duration // how long all are to stay open in the end
}

// failuresInARow is how many connections fail, and none opens meanwhile, until no more are tried: all that are being
// opened at a time.
const failuresInARow = dialers

// Idle opens connections step by step and keeps them open. each gets a record after every step, and one in the end. An
// error says that not all opened or stayed open, which is the target's fault, or what this machine lacks.
func Idle(ctx context.Context, c IdleConfig, each func(results.Record)) error {
	keeper, err := newKeeper(c.Level, c.Step)
	if err != nil {
		return err
	}
	defer keeper.close()
	r := &idleRamp{IdleConfig: c, keeper: keeper, empty: c.Level.Probe.memory(), failed: reasons{}, lost: reasons{}}
	first := r.record(time.Now())
	first.Server = r.empty
	each(results.Record{Idle: &first})
	for number := 1; r.dialed < c.Level.Connections; number++ {
		s, err := r.step(ctx, number)
		each(results.Record{Idle: &s})
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case r.row >= failuresInARow:
			return r.verdict()
		}
	}
	h, err := r.hold(ctx)
	if err != nil {
		return err
	}
	each(results.Record{Hold: &h})
	return r.verdict()
}

// idleRamp is a ramp that runs.
type idleRamp struct {
	IdleConfig
	keeper *keeper
	empty  *Usage // the server without connections
	dialed int
	open   int // at the end of the last step

	failed, lost reasons // of all steps
	row          int     // failures since a connection opened
}

func (r *idleRamp) record(begun time.Time) results.IdleStep {
	t := r.Level.Target
	return results.IdleStep{
		Time: begun.UTC(), Target: t.String(), Protocol: t.Protocol, Insecure: t.Insecure(), Asked: r.Rate,
	}
}

// step opens the connections of a step. An error is this machine's.
func (r *idleRamp) step(ctx context.Context, number int) (results.IdleStep, error) {
	begun, cpu := time.Now(), r.Level.Probe.sample()
	o := r.openStep(ctx, min(r.Step, r.Level.Connections-r.dialed))
	took := time.Since(begun).Seconds()
	open, lost, err := r.keeper.state()
	r.open, r.row = open, o.row
	s := r.record(begun)
	s.Step, s.Connections, s.Opened = number, open, int(o.times.TotalCount())
	s.Failed, s.Lost = o.failed.count(), lost.count()
	s.Duration, s.Rate, s.Handshake = took, float64(s.Opened)/took, newLatency(o.times)
	s.Server = r.Level.Probe.since(cpu)
	s.PerConnection = results.MemoryPerConnection(r.empty, s.Server, open)
	all := reasons{}
	all.merge(o.failed, lost)
	s.Failures = all.list()
	r.failed.merge(o.failed)
	r.lost.merge(lost)
	if err == nil {
		err = o.ours
	}
	return s, err
}

// opened is what came of a step, noted by several goroutines.
type opened struct {
	mu     sync.Mutex
	times  *hdrhistogram.Histogram // µs
	failed reasons
	row    int   // failures since a connection opened, in earlier steps too
	ours   error // that is not the target's: the first
}

func (o *opened) note(took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.row = 0
		_ = o.times.RecordValue(min(max(took.Microseconds(), 1), rttMax))
		return
	}
	o.row++
	o.failed.add(err)
	if !IsTargetFailure(err) && o.ours == nil {
		o.ours = err
	}
}

func (o *opened) hopeless() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.row >= failuresInARow || o.ours != nil
}

// openStep opens n connections, at the rate if there is one.
func (r *idleRamp) openStep(ctx context.Context, n int) *opened {
	o := &opened{times: newRecording().intended, failed: reasons{}, row: r.row}
	var g errgroup.Group
	g.SetLimit(dialers)
	begun := time.Now()
	for i := range n {
		var due time.Duration
		if r.Rate > 0 {
			due = time.Until(begun.Add(time.Duration(float64(i) / r.Rate * float64(time.Second))))
		}
		if wait(ctx, due) != nil || o.hopeless() {
			break
		}
		index := r.dialed
		r.dialed++
		g.Go(func() error {
			r.openOne(ctx, index, o)
			return nil
		})
	}
	_ = g.Wait() // none has an error
	return o
}

func (r *idleRamp) openOne(ctx context.Context, index int, o *opened) {
	limited := ctx
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	begun, hearers := time.Now(), r.Level.Hearers()
	d, err := dial(limited, r.Level.Target.in(index/hearers), index)
	if err != nil && ctx.Err() != nil { // it was interrupted
		return
	}
	o.note(time.Since(begun), err)
	if err == nil {
		r.keeper.take(d, index, audience{index / hearers * hearers, hearers})
	}
}

// hold waits, and counts who does not stay open.
func (r *idleRamp) hold(ctx context.Context) (results.IdleHold, error) {
	begun, cpu := time.Now(), r.Level.Probe.sample()
	lost, err := r.keeper.stays(ctx, r.Hold)
	r.lost.merge(lost)
	return results.IdleHold{
		Time: begun.UTC(), Target: r.Level.Target.String(), Protocol: r.Level.Target.Protocol, Connections: r.open,
		Hold: time.Since(begun).Seconds(), Lost: lost.count(), Failures: lost.list(), Server: r.Level.Probe.since(cpu),
	}, err
}

// verdict is an error unless all opened and stayed open.
func (r *idleRamp) verdict() error {
	var all []error
	if n := r.failed.count(); n > 0 {
		all = append(all, fmt.Errorf("%d of %d connections did not open: %s", n, r.dialed, r.failed))
	}
	if n := r.lost.count(); n > 0 {
		all = append(all, fmt.Errorf("%d of %d connections did not stay open: %s", n, r.dialed, r.lost))
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: %w", errTarget, all[0])
	}
	return fmt.Errorf("%w: %w; %w", errTarget, all[0], all[1])
}
