// Package admin is the admin plane of a server: metrics for Prometheus, probes, publishing from outside, and what an
// operator asks and does. It is an http.Handler for an address of its own, which clients must not reach.
//
//	h, err := admin.New(s, admin.Options{})
//	err = admin.Serve(ctx, listener, h, logger)
//
// Answers are JSON, errors application/problem+json (RFC 9457); openapi.yaml describes both.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/sockloop/sockloop/server"
)

// Options of the admin plane. The zero value answers only this machine.
type Options struct {
	// Token is what a request has to bring, as in "Authorization: Bearer TOKEN", all but the probes /healthz and
	// /readyz, and the dashboard's own files, which ask for it. Without one only requests from this machine to a
	// loopback address or localhost are answered.
	Token string
	// Pprof adds Go's profiles under /debug/pprof/.
	Pprof bool
	// Logger is told of what is done to the server: publishing (debug), ended connections, drains. nil is silent.
	Logger *slog.Logger
	// Events are what the dashboard shows of the log; nil is nothing.
	Events *Events
}

// tokenBytesMin is the length of the shortest token that is taken: 96 bits in base64.
const tokenBytesMin = 16

// patience is how long the loop may take to answer. A turn takes a fifth of a second at worst; a loop that says
// nothing for as long as this has hung.
const patience = 3 * time.Second

// plane is the admin plane of one server.
type plane struct {
	server *server.Server
	log    *slog.Logger
}

// New makes the handler for a server, which need not run yet.
func New(s *server.Server, o Options) (http.Handler, error) {
	if o.Token != "" && len(o.Token) < tokenBytesMin {
		return nil, errors.New("admin: the token has less than 16 characters; make one with: openssl rand -base64 24")
	}
	p := &plane{server: s, log: o.Logger}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /readyz", p.readiness)
	mux.Handle("GET /metrics", p.metrics())
	mux.HandleFunc("GET /api/openapi.yaml", serveSpec)
	mux.HandleFunc("GET /api/version", serveVersion)
	mux.HandleFunc("GET /api/events", o.Events.serve)
	mux.HandleFunc("GET /api/stats", p.stats)
	mux.HandleFunc("GET /api/topics", p.topics)
	mux.HandleFunc("GET /api/connections", newSingle().serve(p.connections))
	mux.HandleFunc("DELETE /api/connections/{id}", p.endConnection)
	mux.HandleFunc("POST /api/publish/{topic}", p.publish)
	mux.HandleFunc("POST /api/drain", p.drain)
	servePages(mux)
	if o.Pprof {
		servePprof(mux)
	}
	return guard(o.Token, withProblems(mux)), nil
}

// servePprof adds Go's profiles to a mux, one at a time.
func servePprof(mux *http.ServeMux) {
	one := newSingle()
	mux.HandleFunc("GET /debug/pprof/", one.serve(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", one.serve(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", one.serve(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", one.serve(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", one.serve(pprof.Trace))
}

// asking is the context of a question to the loop.
func asking(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience)
}
