package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// bounds are what a server under attack must keep. A zero field is not looked at.
type bounds struct {
	p99, longest time.Duration // of an established echo's round trips
	newcomers    int           // of 100 new clients, those that are answered within a second
	growth       int           // bytes of RSS above the start's, whatever the server says that it keeps
}

// memorySlack is how far the RSS of a server may exceed its start's and what the server says that it keeps for clients.
const memorySlack = 32 << 20

// attack runs a server, has it attacked, and checks memory and time meanwhile. On a busy machine a bound on time may be
// missed by nobody's fault: then it is tried again, with another server. Memory must hold each time.
func attack(t *testing.T, b bounds, set settings, do func(p *process)) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		p := startProcess(t, set)
		w := p.watch()
		do(p)
		w.end()
		t.Log(w)
		if w.excess > memorySlack {
			t.Errorf("RSS was %d MB above the start and what the server says that it keeps, want at most %d",
				w.excess>>20, memorySlack>>20)
		}
		if limit := p.hardLimit(b); w.growth > limit {
			t.Errorf("RSS grew by %d MB, want at most %d", w.growth>>20, limit>>20)
		}
		late := w.late(b)
		if late == "" || t.Failed() {
			if late != "" {
				t.Error(late)
			}
			return
		}
		if try == tries {
			t.Fatalf("%s, in the last of %d tries", late, tries)
		}
		t.Logf("%s: tried again", late)
	}
}

// hardLimit is what RSS may grow by: the budget at most.
func (p *process) hardLimit(b bounds) int {
	if b.growth > 0 {
		return b.growth
	}
	return memoryBytesMax + memorySlack
}

// watch looks at a process while something is done to it: the peaks of its memory, ten times a second, the round trips
// of an established echo, and whether newcomers are answered.
type watch struct {
	p    *process
	once sync.Once
	stop chan struct{}
	work sync.WaitGroup

	mu        sync.Mutex
	growth    int // bytes of RSS above the start's, at most
	used      int // bytes that the server said it keeps, at most
	excess    int // bytes of RSS above start and used, at most
	trips     []time.Duration
	echoError error
	came      int // newcomers
	answered  int // those of them within a second
}

func (p *process) watch() *watch {
	w := &watch{p: p, stop: make(chan struct{})}
	echo := p.open(p.t, "/echo/websocket")
	_ = echo.SetDeadline(time.Time{})
	w.work.Go(w.weigh)
	w.work.Go(func() { w.ask(echo) })
	w.work.Go(w.newcomers)
	p.t.Cleanup(w.end)
	return w
}

// end stops looking.
func (w *watch) end() {
	w.once.Do(func() {
		close(w.stop)
		w.work.Wait()
		slices.Sort(w.trips)
	})
}

// over waits, and tells whether the watch has ended.
func (w *watch) over(d time.Duration) bool {
	select {
	case <-w.stop:
		return true
	case <-time.After(d):
		return false
	}
}

// weigh compares RSS with what the server says that it keeps: each peak with the more of what was said before it and of
// what is answered to a question asked after it, which may take long when the loop is busy.
func (w *watch) weigh() {
	said := make(chan int, 1)
	ask := func() { said <- w.p.stats().MemoryBytes }
	var before int       // what was said last
	var asked, since int // the highest RSS up to the question that is not answered, and after it
	asking := false      // there is one
	w.p.peak()           // what its start took is over
	settle := func(used int) {
		w.used = max(w.used, used)
		w.growth = max(w.growth, asked-w.p.rss)
		w.excess = max(w.excess, asked-w.p.rss-max(before, used))
		before, asking = used, false
	}
	for ticks := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case used := <-said:
			settle(used)
		case <-ticks.C:
			since = max(since, w.p.peak())
			if !asking {
				asked, since, asking = since, 0, true
				go ask()
			}
		case <-w.stop:
			ticks.Stop()
			if asking {
				settle(<-said)
			}
			asked = max(since, w.p.peak())
			go ask()
			settle(<-said)
			return
		}
	}
}

// ask has a message echoed, again and again.
func (w *watch) ask(echo *client) {
	for {
		at := time.Now()
		echo.say(frame(ws.OpText, "are you there?"))
		_ = echo.SetReadDeadline(at.Add(patience))
		if op, got, err := echo.next(); op != ws.OpText || got != "are you there?" {
			w.echoError = fmt.Errorf("the established echo got %v %.50q %v", op, got, err)
			return
		}
		w.trips = append(w.trips, time.Since(at))
		if w.over(2 * time.Millisecond) {
			return
		}
	}
}

// newcomers connect and ask something.
func (w *watch) newcomers() {
	var asking sync.WaitGroup
	defer asking.Wait()
	for !w.over(25 * time.Millisecond) {
		w.came++
		asking.Go(func() {
			if w.p.answers(slower(time.Second)) {
				w.mu.Lock()
				w.answered++
				w.mu.Unlock()
			}
		})
	}
}

// answers tells whether a new client is answered in time, if only by a refusal.
func (p *process) answers(within time.Duration) bool {
	deadline := time.Now().Add(within)
	c, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", p.addr)
	if err != nil {
		return false
	}
	defer c.Close() //nolint:errcheck // it has been used
	_ = c.SetDeadline(deadline)
	_, _ = c.Write([]byte("GET /echo/info HTTP/1.1\r\nHost: x\r\n\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	return err == nil && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusServiceUnavailable)
}

// p99 is that of the round trips.
func (w *watch) p99() time.Duration {
	if len(w.trips) == 0 {
		return patience
	}
	return w.trips[(len(w.trips)-1)*99/100]
}

func (w *watch) longest() time.Duration {
	if len(w.trips) == 0 || w.echoError != nil {
		return patience
	}
	return w.trips[len(w.trips)-1]
}

// late says which bound on time was missed.
func (w *watch) late(b bounds) string {
	switch {
	case w.echoError != nil:
		return w.echoError.Error()
	case b.p99 > 0 && w.p99() > slower(b.p99):
		return fmt.Sprintf("the p99 of an established echo is %v, want at most %v", w.p99(), slower(b.p99))
	case b.longest > 0 && w.longest() > slower(b.longest):
		return fmt.Sprintf("an established echo took %v, want at most %v", w.longest(), slower(b.longest))
	case b.newcomers > 0 && w.answered*100 < b.newcomers*w.came:
		return fmt.Sprintf("%d of %d newcomers were answered within a second, want %d %%",
			w.answered, w.came, b.newcomers)
	}
	return ""
}

func (w *watch) String() string {
	return fmt.Sprintf("RSS +%d MB, of which the server knows %d; echo p99 %v, longest %v of %d; %d of %d newcomers",
		w.growth>>20, w.used>>20, w.p99().Round(100*time.Microsecond), w.longest().Round(time.Millisecond),
		len(w.trips),
		w.answered, w.came)
}
