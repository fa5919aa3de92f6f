package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// routes are the services, the longest prefix first.
type routes []*route

// add checks and adds a service. ownOrigins tells that its origins are not those of the configuration.
func (rs *routes) add(prefix string, service Service, o Options, ownOrigins bool) error {
	prefix = strings.TrimRight(prefix, "/")
	if !legalPath(prefix) {
		return fmt.Errorf("server: prefix %q: want a path such as /broadcast", prefix)
	}
	for _, r := range *rs {
		if r.prefix == prefix {
			return fmt.Errorf("server: prefix %q has a service already", prefix)
		}
	}
	o.fillIn()
	var f faults
	if o.check(&f); len(f) > 0 {
		return errors.Join(f...)
	}
	r := &route{
		prefix: prefix, service: service, options: o, ownOrigins: ownOrigins, sessions: map[string]*fallback{},
	}
	r.iframe = iframePage(r)
	*rs = append(*rs, r)
	sort.Slice(*rs, func(i, j int) bool { return len((*rs)[i].prefix) > len((*rs)[j].prefix) })
	return nil
}

// legalPath tells whether a path can be a prefix.
func legalPath(path string) bool {
	return strings.HasPrefix(path, "/") && !strings.ContainsAny(path, "?#% ")
}

// find is the service that answers for a path, and what follows its prefix.
func (rs routes) find(path string) (r *route, rest string, ok bool) {
	for _, r := range rs {
		if rest, ok := strings.CutPrefix(path, r.prefix); ok && (rest == "" || rest[0] == '/') {
			return r, rest, true
		}
	}
	return nil, "", false
}

// endpoint is one path of a service.
type endpoint struct {
	method     string                                      // beside OPTIONS
	transports []string                                    // one of which must be on; none means always
	serve      func(x *exchange, r *route, session string) // once the request may be served
	byScript   bool                                        // a page can load it without naming its origin
	noCORS     bool                                        // no page reads the response, or browsers do not ask
	noCookie   bool
}

// endpoints are the paths under a service's prefix, sessionEndpoints those under /{server}/{session}.
var (
	endpoints        = map[string]*endpoint{"/info": &info, "/websocket": &rawWebSocketEndpoint}
	sessionEndpoints = map[string]*endpoint{
		"websocket": &webSocketEndpoint, "xhr": &xhr, "xhr_send": &xhrSend, "xhr_streaming": &xhrStreaming,
		"eventsource": &eventSource, "htmlfile": &htmlFile, "jsonp": &jsonp, "jsonp_send": &jsonpSend,
	}
)

// serve answers a request.
func (l *loop) serve(x *exchange) {
	path := x.r.URL.EscapedPath()
	if p, ok := l.pages[path]; ok {
		p.serve(x)
		return
	}
	r, rest, ok := l.routes.find(path)
	if !ok {
		x.notFound("Not Found\n")
		return
	}
	switch e := endpoints[rest]; {
	case rest == "" || rest == "/":
		if x.allow(http.MethodGet, http.MethodHead) {
			x.text(http.StatusOK, "Welcome to SockJS!\n")
		}
	case e != nil:
		e.answer(x, r, "")
	case isIframe(rest):
		serveIframe(x, r)
	case rest == scriptPath:
		script.serve(x)
	default:
		serveSession(x, r, rest)
	}
}

// serveSession answers a request for /{server}/{session}/{transport}.
func serveSession(x *exchange, r *route, rest string) {
	session, transport, ok := sessionURL(rest)
	if !ok {
		x.notFound("Not Found\n")
		return
	}
	if e := sessionEndpoints[transport]; e != nil {
		e.answer(x, r, session)
		return
	}
	x.notFound("Not Found\n")
}

// sessionBytesMax is the length of a session id; clients make them of 8 characters, UUIDs have 36.
const sessionBytesMax = 128

// sessionURL takes /{server}/{session}/{transport} apart. Server and session are any text that is not empty and has no
// dot; ids that are longer than any client makes them, or no text, are not found either. The server part is for
// balancers.
func sessionURL(rest string) (session, transport string, ok bool) {
	parts := strings.Split(rest, "/")
	if len(parts) != 4 || !legalID(parts[1]) || !legalID(parts[2]) {
		return "", "", false
	}
	return parts[2], parts[3], true
}

func legalID(escaped string) bool {
	id, err := url.PathUnescape(escaped)
	return err == nil && id != "" && len(escaped) <= sessionBytesMax && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, func(r rune) bool { return r == '.' || r == '/' || r < ' ' || r == 0x7f })
}

// answer serves a request for the endpoint, if it may be made.
func (e *endpoint) answer(x *exchange, r *route, session string) {
	switch {
	case len(e.transports) > 0 && !slices.ContainsFunc(e.transports, r.options.has):
		x.notFound("This transport is off.\n")
	case x.r.Method == http.MethodOptions && !e.noCORS:
		if x.mayUse(&r.options, false) {
			servePreflight(x, e.method)
		}
	case !x.allow(e.methods()...):
	case x.mayUse(&r.options, e.byScript):
		x.set("Cache-Control", neverCached)
		if !e.noCORS {
			x.setCORS()
		}
		if r.options.JSessionID && !e.noCookie {
			x.setJSessionID()
		}
		e.serve(x, r, session)
	}
}

func (e *endpoint) methods() []string {
	if e.noCORS {
		return []string{e.method}
	}
	return []string{e.method, http.MethodOptions}
}

// setJSessionID gives balancers that are sticky by a cookie of this name what they want; its value means nothing to us.
func (x *exchange) setJSessionID() {
	value := "dummy"
	if c, err := x.r.Cookie("JSESSIONID"); err == nil && c.Value != "" {
		value = c.Value
	}
	x.set("Set-Cookie", "JSESSIONID="+value+"; path=/")
}

func (x *exchange) notFound(why string) { x.text(http.StatusNotFound, why) }

// allow answers 405 to any method but those: with Allow, and with neither body nor Content-Type, as the SockJS protocol
// wants it.
func (x *exchange) allow(methods ...string) bool {
	if slices.Contains(methods, x.r.Method) {
		return true
	}
	x.response.loop.stats.RequestsRefused++
	x.set("Allow", strings.Join(methods, ", "))
	x.respond(http.StatusMethodNotAllowed, "")
	return false
}
