package main

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// written is a log that a timer may write to.
type written struct {
	sync.Mutex
	bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	return w.Buffer.Write(p)
}

// lines are the log's new lines without their times.
func lines(log *written) []string {
	log.Lock()
	defer log.Unlock()
	var all []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, " ")
		all = append(all, strings.TrimSpace(line))
	}
	log.Reset()
	return all
}

func TestLogsAreLimitedByKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out written
		h := newLimited(slog.NewTextHandler(&out, nil))
		log := slog.New(h)
		for n := range 25 {
			log.With("n", n).WithGroup("g").Warn("refused", "why", "full")
			log.Info("refused")
		}
		log.Error("one")
		got := lines(&out)
		if len(got) != 41 || got[0] != "level=WARN msg=refused n=0 g.why=full" || got[40] != "level=ERROR msg=one" {
			t.Errorf("%d lines: %q", len(got), got)
		}
		time.Sleep(logWindow)
		synctest.Wait()
		got = lines(&out)
		if all := strings.Join(got, "\n"); len(got) != 2 ||
			!strings.Contains(all, "level=WARN msg=suppressed message=refused count=5") ||
			!strings.Contains(all, "level=INFO msg=suppressed message=refused count=5") {
			t.Errorf("at the end of the window: %q", got)
		}
		for range 22 { // the next window
			log.Info("refused")
		}
		if got := lines(&out); len(got) != logRecordsMax {
			t.Errorf("%d lines in the next window", len(got))
		}
		h.Close()
		if got := lines(&out); len(got) != 1 || got[0] != "level=INFO msg=suppressed message=refused count=2" {
			t.Errorf("at the end: %q", got)
		}
		time.Sleep(2 * logWindow)
		if got := lines(&out); len(got) > 0 {
			t.Errorf("after the end: %q", got)
		}
	})
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"auto": `"msg":"hello"`, "json": `"msg":"hello"`, "text": "msg=hello"} {
		var out bytes.Buffer
		level := &slog.LevelVar{}
		log := slog.New(logHandler(&out, format, level))
		log.Debug("too little")
		level.Set(slog.LevelDebug)
		log.Debug("hello")
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "little") {
			t.Errorf("%s: %s", format, got)
		}
	}
}
