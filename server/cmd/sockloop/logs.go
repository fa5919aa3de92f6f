package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// logHandler writes text, or JSON; auto is text on a terminal.
func logHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	f, isFile := w.(*os.File)
	if format == "text" || format == "auto" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

// Of each kind of record, a level with a message, so many are written in a window.
const (
	logRecordsMax = 20
	logWindow     = time.Minute
)

// limited is a handler that lets a number of records of each kind pass, and says at the end of the window how many it
// has kept back. Messages are constants of the program, so there are few kinds.
type limited struct {
	slog.Handler
	kinds *kinds
}

// kinds is what all handlers made of one have in common.
type kinds struct {
	plain slog.Handler // without anybody's attributes

	mu    sync.Mutex
	seen  map[kind]int // in this window
	timer *time.Timer  // ends the window; nil when there is none
}

type kind struct {
	level   slog.Level
	message string
}

func newLimited(h slog.Handler) *limited {
	return &limited{h, &kinds{plain: h, seen: map[kind]int{}}}
}

// Handle writes a record, unless there have been too many of its kind.
func (l *limited) Handle(ctx context.Context, r slog.Record) error {
	if !l.kinds.mayPass(kind{r.Level, r.Message}) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs is the handler with attributes; it counts with the first.
func (l *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limited{l.Handler.WithAttrs(attrs), l.kinds}
}

// WithGroup is the handler with a group; it counts with the first.
func (l *limited) WithGroup(name string) slog.Handler {
	return &limited{l.Handler.WithGroup(name), l.kinds}
}

// Close writes how many records have been kept back. The handler may be used on.
func (l *limited) Close() { l.kinds.endWindow() }

func (k *kinds) mayPass(this kind) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil {
		k.timer = time.AfterFunc(logWindow, k.endWindow)
	}
	k.seen[this]++
	return k.seen[this] <= logRecordsMax
}

func (k *kinds) endWindow() {
	k.mu.Lock()
	seen := k.seen
	k.seen = map[kind]int{}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	k.mu.Unlock()
	for this, n := range seen {
		if n > logRecordsMax {
			slog.New(k.plain).Log(context.Background(), this.level, "suppressed",
				"message", this.message, "count", n-logRecordsMax)
		}
	}
}
