package loadclient

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

// ramped runs a ramp against a room.
func ramped(
	ctx context.Context, t *testing.T, f room.Faults, connections int, change func(*IdleConfig),
) (steps []results.IdleStep, hold *results.IdleHold, err error) {
	t.Helper()
	r := room.New(f)
	t.Cleanup(r.Close)
	target, err := ParseTarget(r.URL(), SockJS)
	if err != nil {
		t.Fatal(err)
	}
	c := IdleConfig{Level: LevelConfig{Target: target, Connections: connections, IDBase: 1}, Step: 40}
	if change != nil {
		change(&c)
	}
	err = Idle(ctx, c, func(r results.Record) {
		if r.Idle != nil {
			steps = append(steps, *r.Idle)
		} else {
			hold = r.Hold
		}
	})
	return steps, hold, err
}

// A ramp opens its connections step by step, none too early, and all stay open, whatever the server says to them.
func TestIdleRamp(t *testing.T) {
	t.Parallel()
	probe, err := NewServerProbe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const rate = 1000
	steps, hold, err := ramped(t.Context(), t, room.Faults{}, 100, func(c *IdleConfig) {
		c.Rate, c.Hold, c.Level.Probe = rate, 10*time.Millisecond, probe
		// The room sends it to everybody: more than is kept of what all have received.
		c.Level.Target.SendFirst = []string{"{id} says hello" + strings.Repeat(", all of you", 100)}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 4 || steps[0].Connections != 0 || steps[0].Server == nil || steps[0].PerConnection != nil {
		t.Fatalf("%+v", steps)
	}
	for i, want := range []struct{ open, opened int }{{40, 40}, {80, 40}, {100, 20}} {
		s := steps[i+1]
		if s.Step != i+1 || s.Connections != want.open || s.Opened != want.opened || s.Failed+s.Lost != 0 ||
			s.Handshake.Count != int64(want.opened) || s.Handshake.Min <= 0 || s.Failures != nil {
			t.Errorf("%+v", s)
		}
		if least := float64(want.opened-1) / rate; s.Duration < least || s.Rate > float64(want.opened)/least {
			t.Errorf("%d connections in %v s, %v a second", want.opened, s.Duration, s.Rate)
		}
		if s.Server == nil || s.Server.RSS == 0 || s.PerConnection == nil || s.Asked != rate {
			t.Errorf("%+v", s)
		}
	}
	if hold == nil || hold.Connections != 100 || hold.Lost != 0 || hold.Hold < 0.01 || hold.Server == nil {
		t.Errorf("%+v", hold)
	}
}

// What does not open, or not for long, is counted with its reason, and a ramp that goes nowhere ends.
func TestIdleRampFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults room.Faults
		open   int // connections when it ends
		want   []string
	}{
		{"refuses after 50", room.Faults{RefuseAfter: 50}, 50, []string{"did not open", "it takes no more clients"}},
		{"stops accepting", room.Faults{AcceptMax: 50}, 50, []string{"did not open", "no answer in time ("}},
		{"is something else", room.Faults{Garbage: "welcome"}, 0,
			[]string{"1000 of 1000 connections did not stay open", "is no SockJS frame", "(1000)"}},
		{"closes", room.Faults{CloseAtOnce: true}, 0,
			[]string{"1000 of 1000 connections did not stay open", "the server closed the connection"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			steps, hold, err := ramped(t.Context(), t, tt.faults, 1000, func(c *IdleConfig) {
				c.Step, c.Timeout, c.Hold = 500, 2*time.Second, time.Minute
			})
			if !IsTargetFailure(err) || slices.ContainsFunc(tt.want, func(s string) bool {
				return !strings.Contains(err.Error(), s)
			}) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			open, failed, lost := steps[len(steps)-1].Connections, 0, 0
			if hold != nil {
				open, lost = open-hold.Lost, hold.Lost
			}
			for _, s := range steps {
				failed, lost = failed+s.Failed, lost+s.Lost
			}
			if open != tt.open || (lost == 1000) != (tt.open == 0) {
				t.Errorf("%d open, %d lost, %+v", open, lost, hold)
			}
			// Those that are under way when the row is long enough fail as well; without the rule it would be 450.
			if hopeless := failed >= failuresInARow && failed < 250; hopeless != (tt.open > 0) {
				t.Errorf("%d failed", failed)
			}
		})
	}
}

// A ramp that is interrupted says what it has.
func TestIdleRampInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps, hold, err := ramped(ctx, t, room.Faults{}, 1000, func(c *IdleConfig) {
		c.Rate = 1
		time.AfterFunc(50*time.Millisecond, cancel)
	})
	if !errors.Is(err, context.Canceled) || len(steps) != 2 || hold != nil {
		t.Errorf("%v %+v %+v", err, steps, hold)
	}
}
