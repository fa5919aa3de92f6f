package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// setCORS lets a page read the response, with its cookies if it told its origin. Origins that may not have been refused
// before; the literal null, which pages from files have, is echoed as any other.
func (x *exchange) setCORS() {
	origin := x.r.Header.Get("Origin")
	if origin == "" {
		x.set("Access-Control-Allow-Origin", "*")
		return
	}
	x.set("Access-Control-Allow-Origin", origin)
	x.set("Access-Control-Allow-Credentials", "true")
	x.set("Vary", "Origin")
}

const (
	// yearSeconds is how long a preflight or the iframe page may be remembered.
	yearSeconds = "31536000"
	// farFuture is when they expire, for caches that know no max-age.
	farFuture = "Thu, 31 Dec 2099 23:59:59 GMT"
)

// servePreflight answers the question that a browser asks before a request across origins.
func servePreflight(x *exchange, method string) {
	x.setCORS()
	x.set("Access-Control-Allow-Methods", "OPTIONS, "+method)
	x.set("Access-Control-Max-Age", yearSeconds)
	if asked := x.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		x.set("Access-Control-Allow-Headers", asked)
	}
	x.set("Cache-Control", "public, max-age="+yearSeconds)
	x.set("Expires", farFuture)
	x.respond(http.StatusNoContent, "")
}

// mayUse tells whether the page behind a request may use the service, and answers 403 if not. Browsers name the origin
// of every WebSocket, POST and request across origins; on what a page can load as a script, a frame or a stream without
// naming it (byScript), the Referer has to do, and one of them must be there. Elsewhere a request without either comes
// from no browser.
func (x *exchange) mayUse(o *Options, byScript bool) bool {
	if len(o.Origins) == 0 {
		return true
	}
	origin := x.r.Header.Get("Origin")
	if origin == "" {
		if u, err := url.Parse(x.r.Referer()); err == nil && u.Host != "" {
			origin = originOf(u)
		}
	}
	if origin == "" && !byScript || slices.Contains(o.Origins, strings.ToLower(origin)) {
		return true
	}
	x.text(http.StatusForbidden,
		"This origin may not use the service; the server's list of origins does not have it.\n")
	return false
}
