package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/tuning"
)

// Agent opens a share of the connections of a coordinator's levels. It has one coordinator at a time; whatever it has
// opened for one ends with the coordinator's connection.
type Agent struct {
	CPUs    tuning.CPUs                      // one worker each, as of a level
	Token   []byte                           // that a coordinator must know; nil for none
	Log     func(format string, args ...any) // who comes and goes; nil for nothing
	version string                           // of this program; empty is what it is

	mu   sync.Mutex
	busy string // the coordinator's address; empty for none
}

// tokenBytesMin is what makes a token hard to guess.
const tokenBytesMin = 16

// CheckToken says what is wrong with a token.
func CheckToken(token []byte) error {
	if len(token) < tokenBytesMin {
		return fmt.Errorf("a token of %d bytes: want at least %d, such as openssl rand -hex 16 prints",
			len(token), tokenBytesMin)
	}
	return nil
}

// Listen listens for coordinators. Whoever can reach an agent can have it load any server, so without a token it
// listens on a loopback address only.
func (a *Agent) Listen(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: want host:port: %w", addr, err)
	}
	if !isLoopback(host) && len(a.Token) == 0 {
		return nil, fmt.Errorf("--listen %s: others can reach it, and have it load any server: "+
			"give it a --token-file, and the same to the coordinator", addr)
	}
	c := net.ListenConfig{KeepAliveConfig: keepAlive}
	return c.Listen(ctx, "tcp", addr)
}

// strangersMax is how many may be there that have not shown the token yet.
const strangersMax = 16

// Serve serves coordinators until the context ends or the listener is closed, and waits until all that they had opened
// is closed.
func (a *Agent) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	strangers := make(chan struct{}, strangersMax)
	for {
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		select {
		case strangers <- struct{}{}:
			serving.Go(func() { a.serve(ctx, c, func() { <-strangers }) })
		default:
			_ = c.Close()
		}
	}
}

// serve serves one that has connected. known is called when it is a stranger no more, or gone.
func (a *Agent) serve(ctx context.Context, c net.Conn, known func()) {
	defer c.Close() //nolint:errcheck // the coordinator has gone
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	to, from := newControl(c), c.RemoteAddr().String()
	err := to.welcome(a.Token, cmp.Or(a.version, version.Own()), func() error { return a.admit(from) })
	known()
	if err != nil {
		a.log("%s was refused: %v", from, err)
		return
	}
	a.log("coordinator %s has come", from)
	s := session{agent: a, coordinator: to}
	s.run(ctx)
	a.release()
	a.log("coordinator %s has gone", from)
}

func (a *Agent) log(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Log != nil {
		a.Log(format, args...)
	}
}

// admit lets a coordinator in, if there is no other.
func (a *Agent) admit(from string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy != "" {
		return fmt.Errorf("it is busy with another coordinator, %s", a.busy)
	}
	a.busy = from
	return nil
}

func (a *Agent) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = ""
}

// session is what an agent does for a coordinator: one level at most.
type session struct {
	agent       *Agent
	coordinator *control
	part        *local
	next        step // the steps of a trial come in their order
}

// run answers requests until the coordinator goes.
func (s *session) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan request)
	go func() {
		defer cancel() // ends what is being done
		for {
			var q request
			if err := s.coordinator.receive(&q, 0, messageBytesMax); err != nil {
				return
			}
			select {
			case requests <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	s.part = newLocal(LevelConfig{CPUs: s.agent.CPUs})
	defer func() { s.part.close() }()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-requests:
			a := s.answer(ctx, q)
			if ctx.Err() != nil || s.coordinator.send(a) != nil { // what was cut short is no answer
				return
			}
		}
	}
}

// answer does what a coordinator wants, and meanwhile says how far it is.
func (s *session) answer(ctx context.Context, q request) answer {
	done := make(chan answer, 1)
	go func() {
		a, err := s.do(ctx, q)
		if err != nil {
			a = answer{Failed: strings.TrimPrefix(err.Error(), errTarget.Error()+": "), Target: IsTargetFailure(err)}
		}
		done <- a
	}()
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		select {
		case a := <-done:
			return a
		case <-ticks.C:
			var v Live
			if q.Step == stepMeasure {
				v = s.part.live()
			}
			_ = s.coordinator.send(answer{Live: &v}) // if it has gone, that ends what is being done
		}
	}
}

// follows is which step comes after which; listening changes nothing.
var follows = map[step]step{
	stepOpen: stepSettle, stepSettle: stepPrepare, stepPrepare: stepBegin, stepBegin: stepMeasure,
	stepMeasure: stepCheck, stepCheck: stepPrepare,
}

var errNonsense = errors.New("the coordinator wants something that cannot be now")

func (s *session) do(ctx context.Context, q request) (a answer, err error) {
	if q.Step == stepListen {
		a.Noise, err = s.part.noise(ctx, q.For)
		return a, err
	}
	if q.Step != cmp.Or(s.next, stepOpen) {
		return a, errNonsense
	}
	switch q.Step {
	case stepOpen:
		err = s.open(ctx, q.Level)
	case stepSettle:
		err = s.part.settle(ctx)
	case stepPrepare:
		err = s.prepare(ctx, q.Plan)
	case stepBegin:
		err = s.part.begin(ctx)
	case stepMeasure:
		var m measurement
		m, err = s.part.measure(ctx)
		a.Measured = &m
	case stepCheck:
		if q.Sent == nil || len(q.Sent.Senders) != s.part.Connections {
			return a, errNonsense
		}
		var c integrity
		c, err = s.part.check(ctx, *q.Sent)
		a.Checked = &c
	}
	if s.next = follows[q.Step]; err != nil {
		s.next = "nothing more"
	}
	return a, err
}

// open opens the share of a level.
func (s *session) open(ctx context.Context, c *LevelConfig) error {
	if c == nil || c.Share.Number < 0 || c.Share.Number >= c.Share.Of || c.Connections < c.Share.Of {
		return errNonsense
	}
	if err := c.Check(); err != nil {
		return err
	}
	if err := CheckDescriptors(len(c.Share.indexes(c.Connections)) * Sockets(c.Target.Protocol)); err != nil {
		return err
	}
	c.CPUs = s.agent.CPUs
	s.part.close()
	s.part = newLocal(*c)
	return s.part.open(ctx)
}

func (s *session) prepare(ctx context.Context, p *plan) error {
	if p == nil || p.Connections != s.part.Senders() || p.Block < 1 || p.Messages < 0 || p.Window <= 0 ||
		p.Messages > 0 && p.Rate <= 0 {
		return errNonsense
	}
	return s.part.prepare(ctx, p.trial())
}
