package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// A Shutdown that meets its deadline tells the services of every session that is left, once.
func TestAttackShutdownMeetsItsDeadline(t *testing.T) {
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100, CloseTimeout: never})
	if err != nil {
		t.Fatal(err)
	}
	service := newRecording()
	if err := srv.Handle("/recorded", service); err != nil {
		t.Fatal(err)
	}
	s := &running{Server: srv, done: make(chan error, 1)}
	go func() { s.done <- srv.Run(context.Background()) }()
	<-srv.Ready()
	s.addr = srv.Addr().String()
	s.join(t, "/recorded") // nobody of them answers
	s.open(t, "/recorded/websocket")
	s.stream(t, "/recorded/0/stream").wantLine("o")
	s.dial(t).poll("/recorded/0/detached", "o")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if opened, closed := service.opened.Load(), len(service.closed); opened != 4 || closed != 4 {
		t.Errorf("%d sessions were opened, and the service was told of the end of %d", opened, closed)
	}
}

// Shutdown at any moment of the start ends Run.
func TestAttackShutdownDuringTheStart(t *testing.T) {
	for i := range 40 {
		srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(context.Background()) }()
		time.Sleep(time.Duration(i) * 50 * time.Microsecond)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		shutdown := srv.Shutdown(ctx)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Errorf("Shutdown after %d µs (%v), and Run goes on", i*50, shutdown)
			<-srv.Ready()
			if err := errors.Join(srv.Shutdown(ctx), <-ended); err != nil {
				t.Error(err)
			}
		}
		cancel()
		if t.Failed() {
			return
		}
	}
}

// launched is a run of the program.
type launched struct {
	*exec.Cmd
	log   *bytes.Buffer
	ended chan error
}

// sockloop runs the program on a free port.
func sockloop(t *testing.T, bin string) *launched {
	t.Helper()
	l := &launched{Cmd: exec.Command(bin, "--addr", "127.0.0.1:0"), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	l.Stderr = l.log
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.ended <- l.Wait() }()
	return l
}

// SIGTERM ends the program at any moment of its start: before it listens for it as any program, then as it should.
func TestAttackTermDuringTheStart(t *testing.T) {
	bin, err := builtSockloop()
	if err != nil {
		t.Fatal(err)
	}
	end := func(after time.Duration) (log string) {
		t.Helper()
		l := sockloop(t, bin)
		time.Sleep(after)
		_ = l.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-l.ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) && l.log.Len() == 0 &&
				exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
				err = nil
			}
			if err != nil {
				t.Errorf("SIGTERM after %v: %v %s", after, err, l.log)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("SIGTERM after %v: it goes on", after)
			_ = l.Process.Kill()
			<-l.ended
		}
		return l.log.String()
	}
	start := time.Millisecond
	for !strings.Contains(end(start), "listening") { // how long a start takes on this machine
		if start *= 2; start > 10*time.Second || t.Failed() {
			t.Fatalf("it does not start within %v", start)
		}
	}
	const moments = 20
	for i := range moments {
		end(start * time.Duration(i) / moments)
		if t.Failed() {
			return
		}
	}
}

// leaver is a member of the broadcast room that notes everything up to its end.
type leaver struct {
	*client
	id       int
	sent     atomic.Int64
	heard    []uint32 // sender<<20 | number
	goodbye  bool     // c[3000,…] came
	closedAt time.Time
	err      error
}

// listen reads up to the end.
func (l *leaver) listen() {
	defer l.Close() //nolint:errcheck // the server waits for it
	for {
		op, p, err := l.next()
		switch {
		case err != nil:
			if l.closedAt.IsZero() {
				l.err = fmt.Errorf("no close frame: %w", err)
			}
			return
		case op == ws.OpClose:
			if len(p) < 2 || binary.BigEndian.Uint16([]byte(p)) != 1000 {
				l.err = fmt.Errorf("closed with % x", p)
			}
			l.closedAt = time.Now()
			l.say(frame(ws.OpClose, p))
		case op == ws.OpPing:
			l.say(frame(ws.OpPong, p))
		case op == ws.OpText && p[0] == 'a':
			l.note(p[1:])
		case op == ws.OpText && strings.HasPrefix(p, "c[3000,"):
			l.goodbye = true
		}
	}
}

func (l *leaver) note(array string) {
	for _, m := range strings.Split(strings.Trim(array, `[]"`), `","`) {
		sender, number, _ := strings.Cut(m, ":")
		s, err1 := strconv.Atoi(sender)
		n, err2 := strconv.Atoi(number)
		if err := errors.Join(err1, err2); err != nil {
			l.err = err
		}
		l.heard = append(l.heard, uint32(s<<20|n))
	}
}

// talk sends messages until stop is closed.
func (l *leaver) talk(pause time.Duration, stop <-chan struct{}) {
	for ticks := time.NewTicker(pause); ; {
		select {
		case <-ticks.C:
			l.send(fmt.Sprintf(`["%d:%d"]`, l.id, l.sent.Load()))
			l.sent.Add(1)
		case <-stop:
			return
		}
	}
}

// senders is how many of the leavers talk, the first ones.
const senders = 5

// check checks that a member was told, and heard everybody in order and at least what they had sent before SIGTERM.
func (l *leaver) check(t *testing.T, accepted [senders]int64) {
	t.Helper()
	if l.err != nil || !l.goodbye {
		t.Fatalf("member %d: told is %v, %v", l.id, l.goodbye, l.err)
	}
	var heard [senders]int64
	for _, m := range l.heard {
		sender, number := m>>20, int64(m&(1<<20-1))
		if number != heard[sender] {
			t.Fatalf("member %d: message %d of %d instead of %d", l.id, number, sender, heard[sender])
		}
		heard[sender]++
	}
	for i := range accepted {
		if heard[i] < accepted[i] {
			t.Fatalf("member %d heard %d messages of %d, who had sent %d well before SIGTERM",
				l.id, heard[i], i, accepted[i])
		}
	}
}

// SIGTERM under load: what was accepted is delivered to everybody, in one order; everybody is told, not all at once;
// and the process ends well.
func TestAttackTermUnderLoad(t *testing.T) {
	members, pause := 300, 10*time.Millisecond
	if *soak > 0 {
		members, pause = 2000, 50*time.Millisecond
	}
	window := time.Second
	p := startProcess(t, settings{"DrainWindow": window})
	var all []*leaver
	var listening, sending sync.WaitGroup
	for i := range members {
		l := &leaver{client: p.join(t, "/broadcast"), id: i}
		_ = l.SetDeadline(time.Time{})
		all = append(all, l)
	}
	p.eventually("all are in", func(st processStats) bool { return st.Sessions == members })
	stop := make(chan struct{})
	for i, l := range all {
		listening.Go(l.listen)
		if i < senders {
			sending.Go(func() { l.talk(pause, stop) })
		}
	}
	time.Sleep(duration(time.Second))
	var accepted [senders]int64
	for i := range accepted {
		accepted[i] = all[i].sent.Load()
	}
	time.Sleep(slower(200 * time.Millisecond)) // for the server to read that
	began := time.Now()
	p.term()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the process ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the process goes on")
	}
	took := time.Since(began)
	close(stop)
	sending.Wait()
	listening.Wait()
	longest := slices.MaxFunc(all, func(a, b *leaver) int { return len(a.heard) - len(b.heard) }).heard
	var closed []time.Time
	for _, l := range all {
		if !slices.Equal(l.heard, longest[:len(l.heard)]) {
			t.Fatalf("member %d heard another order", l.id)
		}
		l.check(t, accepted)
		closed = append(closed, l.closedAt)
	}
	slices.SortFunc(closed, time.Time.Compare)
	spread := closed[members*95/100].Sub(closed[members*5/100])
	t.Logf("%d messages; the end took %v; nine of ten close frames came within %v",
		len(longest), took.Round(time.Millisecond), spread.Round(time.Millisecond))
	if spread < window/2 {
		t.Errorf("nine of ten close frames came within %v, and the window is %v", spread, window)
	}
}

// Drain ends a server as the end of Run's context does, and Draining tells of each of the ways, once it has begun.
func TestDrainingIsTold(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server.Server, context.CancelFunc) error{
		"Drain":    func(s *server.Server, _ context.CancelFunc) error { return s.Drain() },
		"Shutdown": func(s *server.Server, _ context.CancelFunc) error { return s.Shutdown(context.Background()) },
		"context":  func(_ *server.Server, cancel context.CancelFunc) error { cancel(); return nil },
	} {
		srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- srv.Run(ctx) }()
		<-srv.Ready()
		select {
		case <-srv.Draining():
			t.Errorf("%s: it drains already", name)
		default:
		}
		if err := errors.Join(end(srv, cancel), <-ended); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		<-srv.Draining()
	}
}
