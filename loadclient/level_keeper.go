package loadclient

import (
	"context"
	"time"
)

// levelKeeper is a level that is opened anew when a trial broke it, or left it with messages on their way.
type levelKeeper struct {
	ctx    context.Context
	config LevelConfig
	level  *Level
	watch  func(*Level, float64)

	coolDown time.Duration
}

func (k *levelKeeper) open() (err error) {
	k.level, err = OpenLevel(k.ctx, k.config)
	k.config.IDBase = NextIDBase(k.config.IDBase, k.config.Connections)
	return err
}

func (k *levelKeeper) close() {
	if k.level != nil {
		k.level.Close()
		k.level = nil
	}
}

func (k *levelKeeper) try(nominal float64, window time.Duration) (Trial, error) {
	if err := k.reopen(); err != nil {
		return Trial{}, err
	}
	if k.watch != nil {
		k.watch(k.level, nominal)
	}
	t, err := k.level.Trial(nominal/float64(k.config.Hearers()), window)
	if err != nil || t.NotCompleted+t.Lost > 0 {
		k.close()
		k.recover()
	}
	return t, err
}

// reopen opens the level if it is not. A server that lets nobody in may be busy with the last overload still.
func (k *levelKeeper) reopen() error {
	if k.level != nil {
		return nil
	}
	var err error
	for range reopenings {
		if err = k.open(); err == nil || k.ctx.Err() != nil {
			return err
		}
		k.recover()
	}
	return err
}

// recoveryMax is how long a server may take to work off what an overload has left it with; the next trial would find it
// busy, and blame its own rate for that.
const recoveryMax = time.Minute

// quiet waits until nothing else uses the CPUs.
func (k *levelKeeper) quiet(most time.Duration) time.Duration {
	begun, l := time.Now(), k.level
	if l == nil {
		var err error
		if l, err = newLevel(k.ctx, k.config); err != nil {
			return time.Since(begun) // the next trial says so
		}
		defer l.Close()
	}
	for time.Since(begun) < most {
		if n, err := l.noise(2 * quietTime); err != nil || tooMuch(n) == "" {
			break
		}
	}
	return time.Since(begun)
}

// recover leaves the server alone until it is quiet.
func (k *levelKeeper) recover() {
	if wait(k.ctx, k.coolDown) != nil {
		return
	}
	for waited := time.Duration(0); waited < recoveryMax && k.config.Probe.atWork(k.ctx); waited += quietTime {
	}
}
