package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// polled are the events of a descriptor that an epoll instance of this process watches; false if none does.
func polled(t *testing.T, fd int) (events uint32, ok bool) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if to, err := os.Readlink(path); err != nil || to != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(path))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(info)) {
			var tfd int
			var mask uint32
			if n, _ := fmt.Sscanf(line, "tfd: %d events: %x", &tfd, &mask); n == 2 && tfd == fd {
				return mask, true
			}
		}
	}
	return 0, false
}

// The poller watches what is asked of it, whatever it watched before.
func TestWhatIsWatched(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.connect()
	b.await(func(st Stats) bool { return st.Connections == 1 })
	const both = watchIn | watchOut
	b.here(func() {
		c := b.only()
		for _, was := range []interest{0, watchIn, watchOut, both} {
			for _, want := range []interest{0, watchIn, watchOut, both} {
				c.watchFor(was)
				c.watchFor(want)
				events, ok := polled(t, c.fd)
				if in, out := events&unix.EPOLLIN != 0, events&unix.EPOLLOUT != 0; ok != (want != 0) ||
					in != (want&watchIn != 0) || out != (want&watchOut != 0) || c.watched != want || c.dead {
					t.Errorf("from %b to %b: watched %v for %x", was, want, ok, events)
				}
			}
		}
		for why, want := range map[hold]map[bool]interest{ // by whether the socket is full
			holdNone: {false: watchIn, true: both}, holdResponse: {false: watchIn, true: both},
			holdPublisher: {false: 0, true: watchOut}, holdSocket: {false: 0, true: watchOut},
		} {
			for full, want := range want {
				c.hold, c.blocked = why, full
				if c.watch(); c.watched != want {
					t.Errorf("held for %d, full %v: watched for %b", why, full, c.watched)
				}
			}
		}
		for _, was := range []interest{0, watchIn} { // until the next turn nothing changes
			c.hold, c.blocked = holdShare, false
			c.watchFor(was)
			if c.watch(); c.watched != was {
				t.Errorf("until the next turn: watched for %b, before %b", c.watched, was)
			}
		}
		c.hold = holdNone
		c.watch()
	})
}

// A connection that cannot be watched is given up, and the log says why.
func TestConnectionsThatCannotBeWatched(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	b := startInside(t, Config{Logger: textLogger(&log)})
	b.connect()
	b.await(func(st Stats) bool { return st.Connections == 1 })
	b.here(func() {
		c := b.only()
		c.watchFor(0)
		fd := c.fd
		c.fd, c.attachment.FD = -1, -1
		c.watchFor(watchIn)
		if c.fd = fd; !c.dead || c.interrupted || !strings.Contains(log.String(), "watching a connection") {
			t.Errorf("given up: %v; the log says %q", c.dead, log.String())
		}
	})
}
