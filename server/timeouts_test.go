package server

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

// What may last so many milliseconds lasts them, and not one more.
func TestTimeoutsOfConnections(t *testing.T) {
	t.Parallel()
	const path, sockJS = "/local/websocket", "/local/0/s/websocket"
	cfg := Config{
		HandshakeTimeout: 11 * time.Second, KeepAliveTimeout: 13 * time.Second, PongTimeout: 17 * time.Second,
		CloseTimeout: 19 * time.Second, Options: Options{HeartbeatDelay: time.Hour},
	}
	for name, tt := range map[string]struct {
		path  string // of a WebSocket; empty is a connection that has said nothing
		limit time.Duration
		began func(c *conn, at int64)
		count func(st *Stats) uint64 // 1 afterwards; nil is nothing
	}{
		"a pong": {path, cfg.PongTimeout, func(c *conn, at int64) {
			w := c.protocol.(*webSocket)
			w.pinged, w.heardAt = true, at
		}, func(st *Stats) uint64 { return st.PongTimeouts }},
		"an answer to our close frame": {sockJS, cfg.CloseTimeout, func(c *conn, at int64) {
			w := c.protocol.(*webSocket)
			w.ending, w.endingAt = true, at
		}, nil},
		"the peer's end": {path, cfg.CloseTimeout, func(c *conn, at int64) {
			if _, lingers := c.protocol.(*lingering); !lingers {
				c.linger()
			}
			c.protocol.(*lingering).since = at
		}, nil},
		"the first request": {"", cfg.HandshakeTimeout, func(c *conn, at int64) {
			c.protocol.(*httpProtocol).since = at
		}, func(st *Stats) uint64 { return st.HandshakeTimeouts }},
		"the next request": {"", cfg.KeepAliveTimeout, func(c *conn, at int64) {
			h := c.protocol.(*httpProtocol)
			h.served, h.since = true, at
		}, nil},
		"a PROXY header": {"", cfg.HandshakeTimeout, func(c *conn, at int64) {
			c.protocol = &proxyHeader{c: c, since: at}
		}, func(st *Stats) uint64 { return st.HandshakeTimeouts }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startInside(t, cfg)
			if tt.path == "" {
				b.connect()
			} else {
				b.dialPath(tt.path)
			}
			b.await(func(st Stats) bool { return st.Connections == 1 })
			b.later(func(l *loop) {
				c := b.only()
				before := l.stats
				for _, over := range []int64{0, 1} {
					tt.began(c, l.now-tt.limit.Milliseconds()-over)
					c.protocol.tick()
					if c.dead != (over > 0) {
						t.Errorf("%d ms after the limit its end is %v", over, c.dead)
					}
				}
				all := func(st *Stats) uint64 { return st.PongTimeouts + st.HandshakeTimeouts }
				want := uint64(0)
				if tt.count != nil {
					want = 1
				}
				if tt.count != nil && tt.count(&l.stats) != 1 || all(&l.stats)-all(&before) != want {
					t.Errorf("counted as %+v", l.stats)
				}
			})
		})
	}
}

// Silence that is as long as the delay of heartbeats is broken: by a ping, if the peer has said nothing, and on SockJS
// by a frame, if it was sent nothing.
func TestHeartbeatsAfterSilence(t *testing.T) {
	t.Parallel()
	const delay = 100_000
	b := startInside(t, Config{Options: Options{HeartbeatDelay: delay * time.Millisecond}})
	b.dialPath("/local/0/s/websocket")
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	b.later(func(l *loop) {
		c := b.only()
		w := c.protocol.(*webSocket)
		const ping, heartbeat = "\x89\x00", "\x81\x01h"
		for _, tt := range []struct {
			heard, wrote int64 // ms ago
			raw          bool
			said         string
		}{
			{delay - 1, delay - 1, false, ""},
			{delay, delay - 1, false, ping},
			{delay - 1, delay, false, heartbeat},
			{delay, delay, false, ping + heartbeat},
			{delay, delay, true, ping},
		} {
			w.raw, w.pinged, w.heardAt, c.wroteAt = tt.raw, false, l.now-tt.heard, l.now-tt.wrote
			before := len(w.outflow.Outbox())
			w.tick()
			if said := string(w.outflow.Outbox()[before:]); said != tt.said {
				t.Errorf("heard %d ms ago, written %d, raw %v: %q, want %q", tt.heard, tt.wrote, tt.raw, said, tt.said)
			}
			if pinged := tt.heard == delay; w.pinged != pinged || pinged && w.heardAt != l.now {
				t.Errorf("after %d ms it was pinged: %v, and heard at %d of %d", tt.heard, w.pinged, w.heardAt, l.now)
			}
		}
		w.raw, w.heardAt, c.wroteAt = false, l.now, l.now
	})
}

// So is that of a response that streams, between two frames.
func TestHeartbeatsOfResponses(t *testing.T) {
	t.Parallel()
	const delay = 100_000
	b := startInside(t, Config{Options: Options{HeartbeatDelay: delay * time.Millisecond}})
	c := b.connect()
	_, _ = io.WriteString(c, "POST /local/0/s/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	b.later(func(l *loop) {
		c := b.only()
		r := c.protocol.(*httpProtocol).pending.(*fallback).receiver
		for _, tt := range []struct {
			began, wrote int64 // ms ago
			blocked      bool
			silent       bool
		}{
			{delay - 1, delay, false, false}, {delay, delay - 1, false, false}, {delay, delay, false, true},
			{delay, delay, true, false},
		} {
			r.since, c.wroteAt, c.blocked = l.now-tt.began, l.now-tt.wrote, tt.blocked
			if got := r.silent(delay); got != tt.silent {
				t.Errorf("%+v: silent %v", tt, got)
			}
		}
		c.blocked = false
		for _, inFrame := range []bool{true, false} {
			before := l.stats.BytesSent
			r.since, c.wroteAt, r.inFrame = 0, 0, inFrame
			r.h.tick()
			if sent := l.stats.BytesSent - before; (sent == 0) != inFrame {
				t.Errorf("inside a frame %v: %d bytes were sent", inFrame, sent)
			}
		}
	})
}

// A session over HTTP whose client does not ask again ends in time, and its id is free.
func TestSessionsTimeOutToTheMillisecond(t *testing.T) {
	t.Parallel()
	const delay = 100_000
	b := startInside(t, Config{Options: Options{DisconnectDelay: delay * time.Millisecond}})
	if status := b.asker()("POST", "/local/0/s/xhr"); status != http.StatusOK {
		t.Fatal(status)
	}
	b.later(func(l *loop) {
		f := b.fallback("s")
		r := f.route
		for _, over := range []int64{-1, 0} {
			f.detachedAt = l.now - delay - over
			l.timeOut()
			if ended := over >= 0; (l.stats.Sessions == 0) != ended || (r.sessions["s"] == nil) != ended ||
				(l.stats.SessionsTimedOut == 1) != ended || (l.httpSessions == 0) != ended {
				t.Errorf("%d ms after the delay: %d sessions, %d timed out", over, l.stats.Sessions,
					l.stats.SessionsTimedOut)
			}
		}
	})
}

// A listener that is left alone after an error is watched again in time.
func TestPauseOfTheListener(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.later(func(l *loop) {
		l.pauseListening(errors.New("no descriptor"))
		l.pauseListening(errors.New("no descriptor again"))
		if l.stats.AcceptErrors != 2 {
			t.Errorf("%d errors are counted", l.stats.AcceptErrors)
		}
		for _, over := range []int64{-1, 0} {
			l.listener.pausedAt = l.now - acceptPause - over
			if l.listenAgain(); (l.listener.pausedAt == 0) != (over >= 0) {
				t.Errorf("%d ms after the pause it is paused since %d", over, l.listener.pausedAt)
			}
		}
		l.listenAgain() // which it is not to do twice
		if l.stats.AcceptErrors != 2 || l.listener.pausedAt != 0 {
			t.Errorf("%d errors are counted, paused since %d", l.stats.AcceptErrors, l.listener.pausedAt)
		}
	})
	b.dial("/x")
}

// Whoever is held back is not silent: what it has said is not read. Who is to read its own first is, unless it reads.
func TestHeldConnectionsAreNotSilent(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{PongTimeout: 10 * time.Second})
	b.dial("/local")
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	b.later(func(l *loop) {
		c := b.only()
		w := c.protocol.(*webSocket)
		for _, tt := range []struct {
			why    hold
			wrote  int64 // ms ago
			heard  int64 // ms ago, afterwards
			pinged bool
		}{
			{holdPublisher, 9000, 0, true}, {holdShare, 9000, 0, true}, {holdReader, 9000, 5000, true},
			{holdReader, 3000, 3000, false}, {holdNone, 3000, 5000, true},
		} {
			c.hold, c.wroteAt, w.heardAt, w.pinged = tt.why, l.now-tt.wrote, l.now-5000, true
			if w.tick(); l.now-w.heardAt != tt.heard || w.pinged != tt.pinged || c.dead {
				t.Errorf("held for %d, written to %d ms ago: heard %d ms ago, pinged %v", tt.why, tt.wrote,
					l.now-w.heardAt, w.pinged)
			}
		}
		c.hold, w.heardAt, c.wroteAt = holdNone, l.now, l.now
	})
}
