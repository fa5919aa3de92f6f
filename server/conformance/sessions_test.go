package conformance

import (
	"fmt"
	"testing"
	"time"
)

const (
	stillOpen   = `c[2010,"Another connection still open"]`
	goAway      = `c[3000,"Go away!"]`
	interrupted = `c[1002,"Connection interrupted"]`
)

func TestPoint21SecondReceiver(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	first := stream(t, s)
	second := dial(t).ask("POST", s+"/xhr_streaming", nil, "")
	second.chunk()
	second.wantChunk(stillOpen + "\n")
	second.wantChunk("")
	wantPoll(t, s, stillOpen+"\n")
	send(t, s, `["the first goes on"]`)
	first.wantChunk("a[\"the first goes on\"]\n")
}

func TestPoint22ClosedByTheApplication(t *testing.T) {
	t.Parallel()
	s := session(t, closing)
	wantPoll(t, s, "o\n")
	for range 3 {
		wantPoll(t, s, goAway+"\n")
	}
	s = session(t, closing)
	first := stream(t, s)
	first.wantChunk(goAway + "\n")
	second := dial(t).ask("POST", s+"/xhr_streaming", nil, "") // not 2010: the first has been let go
	second.chunk()
	second.wantChunk(goAway + "\n")
	first.wantChunk("")
	second.wantChunk("")
	s = session(t, closing)
	wantJSONP(t, s, "o")
	wantJSONP(t, s, `c[3000,\"Go away!\"]`)
	wantJSONP(t, s, `c[3000,\"Go away!\"]`)
}

// The request behind a receiver that dropped is never told that another connection is open, however soon it comes.
func TestPoint23DroppedReceiver(t *testing.T) {
	t.Parallel()
	for range 50 {
		s := session(t, echo)
		dropped := stream(t, s)
		_ = dropped.c.Close()
		r := dial(t).ask("POST", s+"/xhr_streaming", nil, "")
		r.chunk()
		if got := r.chunk(); got != "o\n" && got != interrupted+"\n" {
			t.Fatalf("a stream behind a dropped one: %q", got)
		}
		_ = r.c.Close()

		s = session(t, echo)
		wantPoll(t, s, "o\n")
		c := dial(t)
		// When the greeting is here, the poll behind it has arrived.
		c.raw(fmt.Sprintf("GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n"+
			"POST %s%s/xhr HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", base, echo, addr, base, s, addr))
		c.head().body()
		wantPoll(t, s, stillOpen+"\n")
		_ = c.Close()
		if got := poll(t, s); got != "o\n" && got != interrupted+"\n" {
			t.Fatalf("a poll behind a dropped one: %q", got)
		}
	}
}

func TestPoint24Heartbeat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, path, open, beat string }{
		{"POST", "/xhr_streaming", "o\n", "h\n"}, {"GET", "/eventsource", "data: o\r\n\r\n", "data: h\r\n\r\n"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			r := dial(t).ask(tt.method, session(t, echo)+tt.path, nil, "")
			r.chunk()
			r.wantChunk(tt.open)
			began := time.Now()
			r.wantChunk(tt.beat)
			if d := time.Since(began); d < *heartbeatDelay*7/10 {
				t.Errorf("a heartbeat after %v, want %v", d, *heartbeatDelay)
			}
		})
	}
	t.Run("xhr", func(t *testing.T) {
		t.Parallel()
		s := session(t, echo)
		wantPoll(t, s, "o\n")
		wantPoll(t, s, "h\n")
		wantPoll(t, s, "h\n")
	})
}

func TestPoint24SessionWithoutReceiver(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	began := time.Now()
	for {
		r, _ := post(t, s+"/xhr_send", `["x"]`) // which does not keep it alive
		d := time.Since(began)
		if r.status == 404 {
			if d < *disconnectDelay*8/10-tick {
				t.Errorf("gone after %v", d)
			}
			break
		}
		if d > *disconnectDelay*12/10+patience/4 {
			t.Fatalf("still there after %v", d)
		}
		time.Sleep(*disconnectDelay / 50)
	}
	wantPoll(t, s, "o\n") // a new one
}

// tick is how coarsely a server may look at its timeouts.
const tick = 150 * time.Millisecond
