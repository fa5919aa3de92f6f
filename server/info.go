package server

import (
	"fmt"
	"math/rand/v2"
	"net/http"
)

// serveInfo answers /info: what a SockJS client asks before it chooses a transport.
func serveInfo(x *exchange) {
	if x.r.Method == http.MethodOptions {
		servePreflight(x, http.MethodGet)
		return
	}
	if !x.allow(http.MethodGet, http.MethodOptions) {
		return
	}
	x.setCORS()
	x.set("Cache-Control", neverCached)
	x.set("Content-Type", "application/json; charset=UTF-8")
	x.respond(http.StatusOK, fmt.Sprintf(`{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":%d}`, rand.Uint32()))
}

// setCORS lets any page read the response, with its cookies if it told its origin.
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

// yearSeconds is how long a preflight may be remembered.
const yearSeconds = "31536000"

// servePreflight answers the question that a browser asks before a request across origins.
func servePreflight(x *exchange, method string) {
	x.setCORS()
	x.set("Access-Control-Allow-Methods", "OPTIONS, "+method)
	x.set("Access-Control-Max-Age", yearSeconds)
	if asked := x.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		x.set("Access-Control-Allow-Headers", asked)
	}
	x.set("Cache-Control", "public, max-age="+yearSeconds)
	x.set("Expires", "Thu, 31 Dec 2099 23:59:59 GMT")
	x.respond(http.StatusNoContent, "")
}
