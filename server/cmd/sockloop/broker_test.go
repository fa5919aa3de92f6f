package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/internal/natstest"
)

// brokered is a sockloop of several that one broker joins.
type brokered struct {
	*exec.Cmd
	t      *testing.T
	addr   string
	lines  chan string // of its log, closed at its end
	log    strings.Builder
	member *websocket.Conn
	said   int
}

var listeningAt = regexp.MustCompile(`msg=listening.* addr=(\S+)`)

func startBrokered(t *testing.T, bin, url string) *brokered {
	t.Helper()
	c := exec.Command(bin, "--addr", "127.0.0.1:0", "--log-format=text")
	p := &brokered{Cmd: c, t: t, lines: make(chan string, 1000)}
	p.Env = append(os.Environ(), "SOCKLOOP_BROKER="+url)
	log, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(log); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	for line := range p.lines {
		if m := listeningAt.FindStringSubmatch(line); m != nil {
			p.addr = m[1]
			break
		}
	}
	p.member, _, err = websocket.Dial(t.Context(), "ws://"+p.addr+"/broadcast/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.member.SetReadLimit(-1)
	t.Cleanup(func() { _ = p.member.CloseNow() })
	return p
}

// say says the next number with so many bytes behind it.
func (p *brokered) say(bytes int) {
	p.said++
	text := fmt.Sprintf("%d %s", p.said, strings.Repeat("x", bytes))
	if err := p.member.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Error(err)
	}
}

// whileTalking has the member say numbers while f runs.
func (p *brokered) whileTalking(f func()) {
	stop := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		for ticks := time.Tick(5 * time.Millisecond); ; p.say(0) {
			select {
			case <-ticks:
			case <-stop:
				return
			}
		}
	})
	defer talking.Wait()
	defer close(stop)
	f()
}

// hear is the next number that the member hears.
func (p *brokered) hear() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	_, text, err := p.member.Read(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	number, _, _ := bytes.Cut(text, []byte(" "))
	n, err := strconv.Atoi(string(number))
	if err != nil {
		p.t.Fatalf("heard %.100q", text)
	}
	return n
}

// hearUntil hears what comes up to a number, in order and once, and returns how many are missing.
func (p *brokered) hearUntil(last, until int) (missed int) {
	p.t.Helper()
	for last < until {
		n := p.hear()
		if n <= last {
			p.t.Fatalf("heard %d after %d", n, last)
		}
		missed += n - last - 1
		last = n
	}
	return missed
}

// counted is what the process's log says at its end of one of the broker's counters.
func (p *brokered) counted(name string) int {
	p.t.Helper()
	_, line, ok := strings.Cut(p.log.String(), `msg="broker closed"`)
	_, value, found := strings.Cut(line, " "+name+"=")
	n, err := strconv.Atoi(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\n' })[0])
	if !ok || !found || err != nil {
		p.t.Fatalf("there is no %s in %s", name, &p.log)
	}
	return n
}

// term ends the process as an operator does.
func (p *brokered) term() {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	_ = p.member.CloseNow()
	for line := range p.lines {
		p.log.WriteString(line + "\n")
	}
	if err := p.Wait(); err != nil {
		p.t.Errorf("the process ended with %v: %s", err, &p.log)
	}
}

// Three processes are one room. One of them stops for a while: the others hear everything meanwhile, and it misses
// nothing but what it counts. What was published before SIGTERM is heard by the others.
func TestThreeProcessesAreOneRoom(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	var all [3]*brokered
	for i := range all {
		all[i] = startBrokered(t, build(t), s.URL())
	}
	talker, hearer, slow := all[0], all[1], all[2]
	var from [3]int
	talker.whileTalking(func() { // until each is subscribed
		for i, p := range all {
			from[i] = p.hear()
		}
	})
	begun := talker.said
	for i, p := range all {
		if missed := p.hearUntil(from[i], begun); missed > 0 {
			t.Errorf("%d missed %d before anything happened", i, missed)
		}
	}
	if err := slow.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 400 { // 24 MB: more than the process keeps, and the kernel
		talker.say(60_000)
		for _, p := range all[:2] {
			if missed := p.hearUntil(talker.said-1, talker.said); missed > 0 {
				t.Fatalf("%d were missed beside a process that is slow", missed)
			}
		}
	}
	if err := slow.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	stopped, lost := talker.said, 0
	talker.whileTalking(func() { lost = slow.hearUntil(begun, stopped+1) }) // something that was said since
	for range 100 {
		talker.say(1000)
	}
	talker.hearUntil(stopped, talker.said) // it has accepted everything
	talker.term()
	if missed := hearer.hearUntil(stopped, talker.said); missed > 0 {
		t.Errorf("%d messages were lost with the process that had accepted them", missed)
	}
	hearer.term()
	slow.term()
	// While it was stopped each message was a batch of its own.
	if dropped := slow.counted("batches_dropped"); lost > dropped && slow.counted("disconnects") == 0 {
		t.Errorf("the slow process has lost %d messages, and counts %d: %s", lost, dropped, &slow.log)
	}
	if n := talker.counted("messages_out"); n != talker.said {
		t.Errorf("%d messages were sent to the broker, of %d", n, talker.said)
	}
	t.Logf("%d of %d messages were lost by the process that stopped", lost, talker.said)
}

// What is wrong with a broker is said in a line, without its password.
func TestBrokersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"URL", []string{"--broker", "redis://ada:secret@host"}, "want nats://host:4222"},
		{"prefix", []string{"--broker", "nats://host", "--broker-prefix", "x"}, "a dot behind it"},
		{"credentials", []string{"--broker", "nats://host", "--broker-credentials", "/nonexistent"}, "no such file"},
		{"CA", []string{"--broker", "nats://host", "--broker-ca", "/nonexistent"}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, log bytes.Buffer
			err := run(tt.args, &out, &log)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") ||
				strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}
