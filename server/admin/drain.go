package admin

import "net/http"

// drain begins the end of the server and answers at once: the probes and the metrics tell how it goes on.
func (p *plane) drain(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := asking(r)
	defer cancel()
	if _, err := p.server.Stats(ctx); err != nil { // it does not run
		problemOf(err).write(w)
		return
	}
	p.log.Info("drain asked for by the admin plane", "remote", r.RemoteAddr)
	go func() { _ = p.server.Drain() }() // the server logs how it went
	writeJSON(w, http.StatusAccepted, "application/json", map[string]bool{"draining": true})
}
