package loadclient

import (
	"context"
	"os"
	"time"
)

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

// NextIDBase is the first id for the connections that follow n connections with ids from base on. Ids begin anew only
// when they run out, so that what is late from the old connections is not mistaken for what is due to the new ones.
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
	if err := r.reopen(); err != nil {
		return Trial{}, err
	}
	if r.watch != nil {
		r.watch(r.level, nominal)
	}
	t, err := r.level.Trial(nominal/float64(r.config.Connections), window)
	if err != nil || t.NotCompleted > 0 {
		r.close()
		r.recover()
	}
	return t, err
}

// reopen opens the level if it is not. A server that lets nobody in may be busy with the last overload still.
func (r *reopening) reopen() error {
	if r.level != nil {
		return nil
	}
	var err error
	for range reopenings {
		if err = r.open(); err == nil || r.ctx.Err() != nil {
			return err
		}
		r.recover()
	}
	return err
}

const (
	// recoveryMax is how long a server may take to work off what an overload has left it with; the next trial would
	// find it busy, and blame its own rate for that.
	recoveryMax = time.Minute
	// quietCPU is the CPU that a server uses that has nothing to do, or hardly any.
	quietCPU  = 0.2
	quietTime = 250 * time.Millisecond
)

// quiet waits until nothing else uses the CPUs.
func (r *reopening) quiet(most time.Duration) time.Duration {
	begun, l := time.Now(), r.level
	if l == nil {
		var err error
		if l, err = newLevel(r.ctx, r.config); err != nil {
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
func (r *reopening) recover() {
	if wait(r.ctx, r.coolDown) != nil || r.config.Probe == nil || r.config.Probe.pid == os.Getpid() {
		return
	}
	for waited := time.Duration(0); waited < recoveryMax; waited += quietTime {
		before := r.config.Probe.sample()
		if wait(r.ctx, quietTime) != nil {
			return
		}
		if used := r.config.Probe.since(before); used == nil || used.CPU < quietCPU {
			return
		}
	}
}
