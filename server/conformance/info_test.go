package conformance

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

type info struct {
	WebSocket    *bool        `json:"websocket"`
	CookieNeeded *bool        `json:"cookie_needed"`
	Origins      []string     `json:"origins"`
	Entropy      *json.Number `json:"entropy"`
}

func getInfo(t *testing.T, service string) info {
	t.Helper()
	r, body := get(t, service+"/info")
	var i info
	if err := json.Unmarshal([]byte(body), &i); err != nil || r.status != 200 || i.WebSocket == nil ||
		i.CookieNeeded == nil || i.Entropy == nil {
		t.Fatalf("%s %q: %v", r.line, body, err)
	}
	if !isType(r, "application/json;charset=UTF-8") || r.has("Set-Cookie") {
		t.Errorf("%v", r.names)
	}
	return i
}

func TestPoint09Info(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 5 {
		i := getInfo(t, echo)
		if !*i.WebSocket || *i.CookieNeeded || len(i.Origins) != 1 || i.Origins[0] != "*:*" {
			t.Errorf("%+v", i)
		}
		if n, err := strconv.ParseUint(i.Entropy.String(), 10, 32); err != nil {
			t.Errorf("entropy %d: %v", n, err)
		}
		seen[i.Entropy.String()] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d different numbers of 5", len(seen))
	}
	if *getInfo(t, noWebSocket).WebSocket {
		t.Error("WebSocket is off, and /info says that it is on")
	}
	if !*getInfo(t, cookies).CookieNeeded {
		t.Error("the cookie is on, and /info says that it is off")
	}
}

const neverCached = "no-store, no-cache, no-transform, must-revalidate, max-age=0"

func wantNotCached(t *testing.T, what string, r *response) {
	t.Helper()
	if r.get("Cache-Control") != neverCached || r.has("Expires") || r.has("Last-Modified") {
		t.Errorf("%s may be cached: %v", what, r.names)
	}
}

// dynamic are the transports and what each needs to answer.
var dynamic = []struct{ method, path, body string }{
	{"POST", "/xhr", ""}, {"POST", "/xhr_streaming", ""}, {"GET", "/eventsource", ""},
	{"GET", "/htmlfile?c=callback", ""}, {"GET", "/jsonp?c=callback", ""},
	{"POST", "/xhr_send", `["a"]`}, {"POST", "/jsonp_send", `["a"]`},
}

// sessionFor is a session that the transport can be asked for: those that send need an open one.
func sessionFor(t *testing.T, service, path string) string {
	t.Helper()
	s := session(t, service)
	if strings.HasSuffix(path, "_send") {
		wantPoll(t, s, "o\n")
	}
	return s
}

func TestPoint10NothingDynamicIsCached(t *testing.T) {
	t.Parallel()
	r, _ := get(t, echo+"/info")
	wantNotCached(t, "info", r)
	for _, tt := range dynamic {
		r := dial(t).ask(tt.method, sessionFor(t, echo, tt.path)+tt.path, nil, tt.body)
		if r.status != 200 && r.status != 204 {
			t.Errorf("%s: %s", tt.path, r.line)
		}
		wantNotCached(t, tt.path, r)
	}
}

func TestPoint11CORS(t *testing.T) {
	t.Parallel()
	for _, tt := range append(dynamic[:2:2], dynamic[5]) {
		for _, origin := range []string{"test", "null", "http://example.com", ""} {
			var h header
			if origin != "" {
				h = header{"Origin", origin}
			}
			wantCORS(t, dial(t).ask(tt.method, sessionFor(t, echo, tt.path)+tt.path, h, tt.body), origin)
		}
	}
	r, _ := get(t, echo+"/info", "Origin", "null")
	wantCORS(t, r, "null")
}

func wantCORS(t *testing.T, r *response, origin string) {
	t.Helper()
	want, credentials := origin, "true"
	if origin == "" {
		want, credentials = "*", ""
	}
	if r.get("Access-Control-Allow-Origin") != want || r.get("Access-Control-Allow-Credentials") != credentials {
		t.Errorf("origin %q: %v", origin, r.names)
	}
}

func TestPoint12Preflight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, method string }{
		{"/info", "GET"}, {"/abc/abc/xhr", "POST"}, {"/abc/abc/xhr_send", "POST"}, {"/abc/abc/xhr_streaming", "POST"},
	} {
		for _, origin := range []string{"test", "null"} {
			for _, asked := range []string{"a, b, c", "", "absent"} {
				h := header{"Origin", origin, "Access-Control-Request-Method", tt.method}
				if asked != "absent" {
					h = append(h, "Access-Control-Request-Headers", asked)
				}
				r := dial(t).ask("OPTIONS", echo+tt.path, h, "")
				if r.status != 204 && r.status != 200 || r.body() != "" {
					t.Fatalf("%s: %s", tt.path, r.line)
				}
				wantCacheable(t, r)
				wantCORS(t, r, origin)
				if age, err := strconv.Atoi(r.get("Access-Control-Max-Age")); err != nil || age <= 1_000_000 {
					t.Errorf("%s: Access-Control-Max-Age %q", tt.path, r.get("Access-Control-Max-Age"))
				}
				for _, m := range []string{"OPTIONS", tt.method} {
					if !strings.Contains(r.get("Access-Control-Allow-Methods"), m) {
						t.Errorf("%s: methods %q", tt.path, r.get("Access-Control-Allow-Methods"))
					}
				}
				if want := asked == "a, b, c"; r.has("Access-Control-Allow-Headers") != want ||
					want && r.get("Access-Control-Allow-Headers") != asked {
					t.Errorf("%s: asked for %q, got %v", tt.path, asked, r.names)
				}
			}
		}
	}
}
