package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// quoted is n messages of so many bytes each, in their JSON form, as one payload.
func quoted(n, bytes int) string {
	m := `"` + strings.Repeat("x", bytes-2) + `"`
	return "[" + strings.TrimSuffix(strings.Repeat(m+",", n), ",") + "]"
}

// A session may publish what a second allows at once. What is more waits, is not lost, and comes in time.
func TestSessionsAreHeldToTheirRate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		c          server.Config
		once, more int // messages of 100 bytes that may leave at once, and more
	}{
		"messages": {server.Config{PublishRate: 100}, 50, 160},
		"bytes":    {server.Config{PublishBytes: 10_000}, 50, 160},
		"both":     {server.Config{PublishRate: 100, PublishBytes: 1 << 30}, 50, 160},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.c)
			reader, c := s.join(t, "/broadcast"), s.join(t, "/broadcast")
			begun := time.Now()
			c.send(quoted(tt.once, 100))
			reader.messages(tt.once)
			if st := s.stats(t); st.PublishersHeld != 0 {
				t.Errorf("held for half of what a second allows: %+v", st)
			}
			c.send(quoted(tt.more, 100))
			reader.messages(tt.more)
			if took := time.Since(begun); took < 400*time.Millisecond { // the loop's clock may be a tick late
				t.Errorf("2.1 seconds' worth took %v", took)
			}
			if st := s.stats(t); st.PublishersHeld == 0 {
				t.Error("nobody was held")
			}
			held := s.stats(t).PublishersHeld
			other := s.join(t, "/broadcast") // has a rate of its own
			other.send(quoted(tt.once, 100))
			reader.messages(tt.once)
			if n := s.stats(t).PublishersHeld - held; n != 0 {
				t.Errorf("another session was held %d times", n)
			}
		})
	}
}

// Without a rate nobody is held.
func TestSessionsWithoutARate(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	reader, c := s.join(t, "/broadcast"), s.join(t, "/broadcast")
	c.send(quoted(500, 100))
	reader.messages(500)
	if n := s.stats(t).PublishersHeld; n != 0 {
		t.Errorf("held %d times", n)
	}
}

// A shutdown waits for no rate: what publishers had sent before is sent on, and then everybody is told.
func TestShutdownReleasesPublishers(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{PublishRate: 1, DrainWindow: 300 * time.Millisecond, CloseTimeout: patience})
	reader, c := s.join(t, "/broadcast"), s.join(t, "/broadcast")
	const n = 100 // at one a second they would take longer than the test waits
	c.send(quoted(n, 10))
	reader.messages(1)
	s.eventually(t, "it is held", func(st server.Stats) bool { return st.PublishersHeld > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(ctx) }()
	got := 1
	for {
		op, payload, err := reader.next()
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(payload, "a[") {
			got += strings.Count(payload, `"`) / 2
		}
		if op == 8 {
			reader.say(frame(op, payload))
		}
	}
	_ = reader.Close()
	c.hangUp()
	if err := <-down; err != nil || got != n {
		t.Errorf("%d of %d messages, Shutdown: %v", got, n, err)
	}
}
