package admin

import (
	"net/http"
	"strings"
)

// health tells whether the process does its work at all: the loop answers. Who restarts what is not healthy asks here.
func (p *plane) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := asking(r)
	defer cancel()
	if _, err := p.server.Stats(ctx); err != nil {
		problem{Status: http.StatusServiceUnavailable, Detail: problemOf(err).Detail}.write(w)
		return
	}
	answer(w, struct {
		Healthy bool `json:"healthy"`
	}{true})
}

// readiness tells whether newcomers should be sent here. Balancers ask here.
func (p *plane) readiness(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := asking(r)
	defer cancel()
	state := p.server.Readiness(ctx)
	if !state.Ready {
		problem{Status: http.StatusServiceUnavailable, Detail: "not ready: " + strings.Join(state.Reasons, "; "),
			Reasons: state.Reasons, RetryAfterSeconds: retryAfterSeconds}.write(w)
		return
	}
	answer(w, struct {
		Ready    bool     `json:"ready"`
		Degraded []string `json:"degraded,omitempty"`
	}{true, p.degraded()})
}

// isProbe tells whether a path is a probe's.
func isProbe(at string) bool { return at == "/healthz" || at == "/readyz" }
