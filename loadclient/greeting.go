package loadclient

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// greet ends the opening of a connection: what TLS has kept of the server's first words is taken, and what the target
// wants to hear first is sent.
func (w *worker) greet(c *conn) error {
	for _, s := range c.link.sockets() {
		if s.secure == nil {
			continue
		}
		if err := w.broken(c, s.secure.receive(nil)); err != nil {
			return err
		}
	}
	texts := make([]string, len(w.target.SendFirst))
	for i, text := range w.target.SendFirst {
		texts[i] = strings.ReplaceAll(text, string(idPiece), strconv.Itoa(w.idBase+c.index))
	}
	if len(texts) == 0 {
		return nil
	}
	return w.broken(c, c.link.say(texts))
}

const (
	// quietAfterGreeting is how long a server says nothing that has said all it had to say to newcomers, and
	// greetingTimeMax how long that is waited for: one that always says something is measured all the same.
	quietAfterGreeting = 250 * time.Millisecond
	greetingTimeMax    = 10 * time.Second
	greetingPoll       = 5 * time.Millisecond
)

// hearOut hears out a server that greets its clients, before anything is measured. With announcements of who has joined
// there are as many messages as connections squared.
func (l *local) hearOut(ctx context.Context) error {
	if l.Target.Greeting == nil && len(l.Target.SendFirst) == 0 {
		return nil
	}
	begun := time.Now()
	for heard := begun; time.Since(heard) < quietAfterGreeting && time.Since(begun) < greetingTimeMax; {
		for _, w := range l.workers {
			before := w.bytes
			if err := w.poll(greetingPoll); err != nil {
				return fmt.Errorf("before anything was measured: %w", err)
			}
			if w.bytes > before {
				heard = time.Now()
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// template is what a connection sends.
func (w *worker) template(id int) template { return w.stencils.template(id) }
