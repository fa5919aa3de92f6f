package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// eventsKept is how many of the last events are kept, and eventBytesMax how long each of their texts may be.
const (
	eventsKept    = 100
	eventBytesMax = 500
)

// Event is a line of the log.
type Event struct {
	Time       time.Time         `json:"time"`
	Level      string            `json:"level"`
	Message    string            `json:"message"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Events is a handler of a log that keeps the last hundred lines, for the dashboard, and passes all on to another.
type Events struct {
	next  slog.Handler
	named []slog.Attr // of the logger
	group string
	ring  *ring
}

type ring struct {
	sync.Mutex
	events []Event // in a circle, the oldest at next once it is full
	next   int
}

// NewEvents keeps what next is given.
func NewEvents(next slog.Handler) *Events { return &Events{next: next, ring: &ring{}} }

// Enabled is the next handler's.
func (e *Events) Enabled(ctx context.Context, level slog.Level) bool {
	return e.next.Enabled(ctx, level)
}

// WithAttrs is slog.Handler's.
func (e *Events) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *e
	c.next = e.next.WithAttrs(attrs)
	c.named = slices.Clone(e.named)
	for _, a := range attrs {
		c.named = append(c.named, slog.Attr{Key: e.group + a.Key, Value: a.Value})
	}
	return &c
}

// WithGroup is slog.Handler's.
func (e *Events) WithGroup(name string) slog.Handler {
	c := *e
	c.next = e.next.WithGroup(name)
	c.group += name + "."
	return &c
}

// Handle keeps a line and passes it on.
func (e *Events) Handle(ctx context.Context, r slog.Record) error {
	x := Event{Time: r.Time.UTC(), Level: r.Level.String(), Message: cut(r.Message)}
	if n := len(e.named) + r.NumAttrs(); n > 0 {
		x.Attributes = make(map[string]string, n)
	}
	for _, a := range e.named {
		x.Attributes[a.Key] = cut(a.Value.String())
	}
	r.Attrs(func(a slog.Attr) bool {
		x.Attributes[e.group+a.Key] = cut(fmt.Sprint(a.Value.Resolve().Any()))
		return true
	})
	e.ring.add(x)
	return e.next.Handle(ctx, r)
}

// cut shortens a text to what is kept of it.
func cut(text string) string {
	if len(text) > eventBytesMax {
		return text[:eventBytesMax] + "…"
	}
	return text
}

func (r *ring) add(x Event) {
	r.Lock()
	defer r.Unlock()
	if len(r.events) < eventsKept {
		r.events = append(r.events, x)
		return
	}
	r.events[r.next] = x
	r.next = (r.next + 1) % eventsKept
}

// Last are the events that are kept, the latest first.
func (e *Events) Last() []Event {
	e.ring.Lock()
	defer e.ring.Unlock()
	all := slices.Concat(e.ring.events[e.ring.next:], e.ring.events[:e.ring.next])
	slices.Reverse(all)
	return all
}

// serve answers with the last events; of no log there are none.
func (e *Events) serve(w http.ResponseWriter, _ *http.Request) {
	all := []Event{}
	if e != nil {
		all = append(all, e.Last()...)
	}
	answer(w, map[string][]Event{"events": all})
}
