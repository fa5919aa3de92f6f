package server

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
)

// routes are the prefixes of the services, longest first.
type routes []route

type route struct {
	prefix  string // "/echo"; no slash at the end
	service Service
}

// add checks and adds a prefix.
func (rs *routes) add(prefix string, service Service) error {
	prefix = strings.TrimRight(prefix, "/")
	if prefix == "" || prefix[0] != '/' || strings.ContainsAny(prefix, "?#% ") {
		return fmt.Errorf("server: prefix %q: want a path such as /broadcast", prefix)
	}
	for _, r := range *rs {
		if r.prefix == prefix {
			return fmt.Errorf("server: prefix %q has a service already", prefix)
		}
	}
	*rs = append(*rs, route{prefix, service})
	sort.Slice(*rs, func(i, j int) bool { return len((*rs)[i].prefix) > len((*rs)[j].prefix) })
	return nil
}

// find is the service that answers for a path, and what follows its prefix.
func (rs routes) find(path string) (r route, rest string, ok bool) {
	for _, r := range rs {
		if rest, ok := strings.CutPrefix(path, r.prefix); ok && (rest == "" || rest[0] == '/') {
			return r, rest, true
		}
	}
	return route{}, "", false
}

// sessionURL takes /{server}/{session}/{transport} apart. Server and session are any text that is not empty and has no
// dot; anything else is not found.
func sessionURL(rest string) (session, transport string, ok bool) {
	parts := strings.Split(rest, "/")
	if len(parts) != 4 || parts[1] == "" || parts[2] == "" || strings.Contains(parts[1]+parts[2], ".") {
		return "", "", false
	}
	return parts[2], parts[3], true
}

// serve answers a request.
func (l *loop) serve(x *exchange) {
	r, rest, ok := l.routes.find(x.r.URL.EscapedPath())
	if !ok {
		x.notFound()
		return
	}
	switch rest {
	case "", "/":
		if x.allow(http.MethodGet, http.MethodHead) {
			x.text(http.StatusOK, "Welcome to SockJS!\n")
		}
	case "/info":
		serveInfo(x)
	case "/websocket":
		serveWebSocket(x, r.service, true)
	default:
		if _, transport, ok := sessionURL(rest); ok && transport == "websocket" {
			serveWebSocket(x, r.service, false)
			return
		}
		x.notFound()
	}
}

func (x *exchange) notFound() { x.text(http.StatusNotFound, "Not Found\n") }

// allow answers 405 to any method but those: with Allow, and with neither body nor Content-Type, as the SockJS protocol
// wants it.
func (x *exchange) allow(methods ...string) bool {
	for _, m := range methods {
		if x.r.Method == m {
			return true
		}
	}
	x.h.c.loop.stats.RequestsRefused++
	x.set("Allow", strings.Join(methods, ", "))
	x.respond(http.StatusMethodNotAllowed, "")
	return false
}
