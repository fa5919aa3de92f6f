package server

import (
	"strings"
	"testing"
)

// What gnet's poller has to say is of interest to who looks for a fault, unless it is one.
func TestWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	g := gnetLogger{textLogger(&log)}
	for name, say := range map[string]func(string, ...any){
		"DEBUG debug": g.Debugf, "DEBUG info": g.Infof, "DEBUG warn": g.Warnf, "ERROR error": g.Errorf,
		"ERROR fatal": g.Fatalf,
	} {
		log.Reset()
		say("number %d", 7)
		level, _, _ := strings.Cut(name, " ")
		if !strings.Contains(log.String(), "level="+level) || !strings.Contains(log.String(), `msg="number 7"`) {
			t.Errorf("%s: %q", name, log.String())
		}
	}
}
