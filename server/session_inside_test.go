package server

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// Sessions are refused for memory, for load, and for a reason of the caller's, and counted as what it was.
func TestWhySessionsAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare      func(l *loop)
		tooMany      bool
		refused      bool
		memory, load uint64
	}{
		"welcome":  {func(*loop) {}, false, false, 0, 0},
		"too many": {func(*loop) {}, true, true, 0, 0},
		"draining": {func(l *loop) { l.departure.draining = true }, false, true, 0, 0},
		"memory":   {func(l *loop) { l.memory.inputs.Charge(l.memory.low() + 1) }, true, true, 1, 0},
		"load":     {func(l *loop) { l.now, l.share.spentSince = 1<<20, 1 }, true, true, 0, 1},
	} {
		l := idle(t, Config{})
		tt.prepare(l)
		if got := l.refusesSessions(tt.tooMany); got != tt.refused {
			t.Errorf("%s: refused %v", name, got)
		}
		all := uint64(0)
		if tt.refused {
			all = 1
		}
		if st := &l.stats; st.SessionsRefused != all || st.RefusedForMemory != tt.memory ||
			st.RefusedForLoad != tt.load {
			t.Errorf("%s: %d refused, %d for memory, %d for load", name, st.SessionsRefused, st.RefusedForMemory,
				st.RefusedForLoad)
		}
	}
}

// The server knows how many sessions hear several topics, however they come to hear fewer.
func TestSessionsOfSeveralTopics(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(b *inside, s *Session){
		"unsubscribes": func(b *inside, s *Session) { s.Unsubscribe(b.topic) },
		"ends":         func(_ *inside, s *Session) { s.ended(CloseReason{}) },
		"topic closed": func(b *inside, _ *Session) { b.topic.Close(); b.topic.Close() },
	} {
		b := startInside(t, Config{})
		b.dial("/x")
		b.here(func() {
			s, want := b.session(), func(n int, when string) {
				t.Helper()
				if b.loop.multiTopic != n {
					t.Errorf("%s: %d sessions hear several topics %s, want %d", name, b.loop.multiTopic, when, n)
				}
			}
			want(0, "with one")
			s.Subscribe(b.topic)
			want(0, "with one, subscribed to twice")
			s.Unsubscribe(b.local)
			want(0, "without a second")
			s.Subscribe(b.local)
			want(1, "with two")
			s.Subscribe(b.local)
			want(1, "with two, subscribed to twice")
			leave(b, s)
			want(0, "afterwards")
			s.Unsubscribe(b.local)
			want(0, "at last")
		})
	}
}

// A session that hears one topic ends without a trace, and its service is told once.
func TestSessionsEndOnce(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/x")
	b.here(func() {
		told := 0
		s := b.session()
		s.route = &route{service: countingEnds{&told}}
		s.ended(CloseReason{Code: 1000})
		s.ended(CloseReason{Code: 1000})
		if st := &b.loop.stats; told != 1 || st.Sessions != 0 || b.loop.multiTopic != 0 {
			t.Errorf("told %d times, %d sessions, %d of them of several topics", told, st.Sessions, b.loop.multiTopic)
		}
	})
}

// countingEnds is a service that counts the sessions that end.
type countingEnds struct{ n *int }

func (countingEnds) OnOpen(*Session)                 {}
func (c countingEnds) OnClose(*Session, CloseReason) { *c.n++ }
func (countingEnds) OnMessage(*Session, *Message)    {}

// What was published before a session was closed, in the same turn, is sent to it; what comes after is not.
func TestCloseComesBehindWhatWasPublished(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.here(func() {
		b.publish("before")
		b.session().Close(4000, "enough")
		b.publish("after")
	})
	b.hears(c, "before")
	if op, payload := b.frame(c); op != ws.OpClose || string(payload[2:]) != "enough" {
		t.Errorf("%v %q instead of the end", op, payload)
	}
}

// A topic that is closed takes nothing of another's with it.
func TestClosingATopicLeavesTheOthers(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/local")
	b.here(func() {
		m := Text([]byte("hello"))
		b.publish("for nobody")
		b.local.Publish(&m)
		b.topic.Close()
		if len(b.loop.topics) != 1 || b.loop.lastPublished != b.local {
			t.Errorf("%d topics are left, and what was published to last is forgotten: %v", len(b.loop.topics),
				b.loop.lastPublished == nil)
		}
	})
	b.hears(c, "hello")
}

// Sessions are numbered in the order in which they began, and counted by what carries them, as long as they are open.
func TestSessionsAreNumberedAndCounted(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/x")
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	ask := b.asker()
	const id = "/local/0/s"
	ask("POST", id+"/xhr")
	counted := func(when string, want map[string]int) {
		t.Helper()
		b.here(func() {
			for i, name := range transports {
				if n := b.loop.stats.SessionsOf[i]; n != want[name] {
					t.Errorf("%s there are %d of %s, want %d", when, n, name, want[name])
				}
			}
		})
	}
	counted("at first", map[string]int{TransportRawWebSocket: 1, TransportXHRPolling: 1})
	all, err := b.Sessions(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	slices.SortFunc(all, func(a, b SessionInfo) int { return int(a.ID) - int(b.ID) })
	for i, want := range []string{TransportRawWebSocket, TransportXHRPolling} {
		if all[i].ID != uint64(i+1) || all[i].Transport != want {
			t.Errorf("number %d is %+v", i+1, all[i])
		}
	}
	b.here(func() {
		if s := b.fallback("s").session.(*Session); s.ID() != 2 || s.Transport() != TransportXHRPolling {
			t.Errorf("number %d, by %s", s.ID(), s.Transport())
		}
		b.fallback("s").session.Close(4000, "enough")
	})
	ask("POST", id+"/xhr") // is told of the end
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	stream := b.connect()
	_, _ = io.WriteString(stream, "GET "+id+"/eventsource HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if said, err := io.ReadAll(stream); err != nil || !strings.Contains(string(said), `c[4000,"enough"]`) {
		t.Errorf("%q %v", said, err)
	}
	counted("after the end", map[string]int{TransportRawWebSocket: 1})
}

// A ping that came while the socket was full is answered when it is not, and the latest one alone.
func TestPongsWaitForTheSocket(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/local")
	b.here(func() {
		of := b.only()
		w := of.protocol.(*webSocket)
		before := b.loop.stats.BytesSent
		of.blocked = true
		w.answerPing([]byte("first"))
		w.answerPing([]byte("second"))
		if !w.pongDue || w.kept() < len("second") || before != b.loop.stats.BytesSent {
			t.Errorf("a pong waits: %v, with %d bytes", w.pongDue, w.kept())
		}
		of.blocked = false
		w.pump()
	})
	if op, payload := b.frame(c); op != ws.OpPong || string(payload) != "second" {
		t.Errorf("%v %q", op, payload)
	}
}

// What a session published to last is of its last message, whoever published something before.
func TestWhatASessionPublishedTo(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/local")
	b.here(func() {
		s, m := b.session(), Text([]byte("x"))
		if s.message(&m); s.published != b.local {
			t.Error("it published to its room")
		}
		s.route = &route{service: countingEnds{new(int)}}
		b.loop.published, b.loop.foundFull = b.topic, b.topic
		if wait := s.message(&m); s.published != nil || !wait.none() {
			t.Error("it published nothing")
		}
	})
}

// A topic whose log is more than half of what it may be has readers who may be behind.
func TestDeepTopics(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 1 << 20, BatchBytesMax: 64 << 10})
	b.dial("/x")
	b.here(func() {
		b.session().transport.(*webSocket).c.blocked = true // nothing leaves
		for _, tt := range []struct {
			messages uint64
			deep     bool
		}{{1, false}, {10, true}} {
			for b.topic.log.Published() < tt.messages {
				b.publish(strings.Repeat("x", 60_000))
				b.topic.seal()
			}
			if b.topic.deep != tt.deep {
				t.Errorf("with %d bytes it is deep: %v", b.topic.log.LogBytes(), b.topic.deep)
			}
		}
	})
}

// Who falls off a log when that is cut is ended in the turn that follows.
func TestWhoFallsOffALogIsEnded(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 1 << 20, BatchBytesMax: 64 << 10})
	b.dial("/x")
	b.here(func() {
		b.session().transport.(*webSocket).c.blocked = true // nothing leaves
		for range 10 {
			b.publish(strings.Repeat("x", 60_000))
			b.topic.seal()
		}
		b.loop.armed = false
		if b.topic.log.Shrink(1 << 20); len(b.loop.evicted) != 1 || !b.loop.armed {
			t.Errorf("%d fell off, and a turn follows: %v", len(b.loop.evicted), b.loop.armed)
		}
	})
	if st := b.await(func(st Stats) bool { return st.Sessions == 0 }); st.SlowConsumersClosed != 1 {
		t.Errorf("%d are counted", st.SlowConsumersClosed)
	}
}

// It is known why a server is not ready.
func TestReadinessOfMemory(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	if r := b.Readiness(t.Context()); !r.Ready {
		t.Errorf("%+v", r)
	}
	b.here(func() {
		m := &b.loop.memory
		m.inputs.Charge(m.low() + 1 - m.budget.Used())
		if r := b.Readiness(t.Context()); r.Ready || len(r.Reasons) != 1 || r.Reasons[0] != "memory is nearly spent" {
			t.Errorf("%+v", r)
		}
	})
}
