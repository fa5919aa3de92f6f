package admin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// Without a token this machine alone is answered, and no page that runs in a browser on it.
func TestGuardWithoutToken(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	const path = "/api/publish/broadcast"
	for _, tt := range []struct {
		name   string
		status int
		header string
	}{
		{"a program", 200, "Accept: */*"},
		{"localhost", 200, "Host: LOCALHOST:9090"},
		{"IPv6", 200, "Host: [::1]:9090"},
		{"IPv6 on port 80", 200, "Host: [::1]"},
		{"a name that was made to resolve to here", 403, "Host: evil.example:9090"},
		{"a name that begins so", 403, "Host: localhost.evil.example"},
		{"another machine's address", 403, "Host: 192.0.2.1"},
		{"a page of another origin", 403, "Sec-Fetch-Site: cross-site"},
		{"a page of another port", 403, "Sec-Fetch-Site: same-site"},
		{"a page of here", 200, "Sec-Fetch-Site: same-origin"},
		{"a page in an old browser", 403, "Origin: https://evil.example"},
		{"a page from a file", 403, "Origin: null"},
		{"a form", 415, "Content-Type: text/plain"},
		{"a proxy on this machine", 403, "X-Forwarded-For: 192.0.2.1"},
		{"a proxy that says nothing of it", 403, "X-Forwarded-For: "},
		{"a proxy by RFC 7239", 403, "Forwarded: for=192.0.2.1"},
		{"a proxy that names itself", 403, "Via: 1.1 proxy"},
		{"a proxy's other header", 403, "X-Real-Ip: 192.0.2.1"},
	} {
		headers := []string{asJSON, tt.header}
		if got := r.ask(t, "POST", path, `"x"`, headers...); got.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, got.status, got.body, tt.status)
		}
	}
	for _, site := range []string{"cross-site", "same-site"} { // which may not have expensive answers made, unread
		for _, path := range []string{"/api/connections", "/metrics", "/debug/pprof/profile", "/none"} {
			r.want(t, 403, "other origins", "GET", path, "", "Sec-Fetch-Site: "+site)
		}
		for _, path := range []string{"/", "/dashboard.js", "/healthz", "/readyz"} {
			r.want(t, 200, "", "GET", path, "", "Sec-Fetch-Site: "+site)
		}
	}
	r.want(t, 200, "", "GET", "/api/connections", "", "Sec-Fetch-Site: none") // somebody who types the address
	r.want(t, 403, "other origins", "DELETE", "/api/connections/1", "", "Sec-Fetch-Site: cross-site")
	r.want(t, 415, "application/json", "POST", "/api/drain", "")
	r.want(t, 403, "without a token", "GET", "/healthz", "", "Host: evil.example")
	got := r.ask(t, "GET", "/api/stats", "", "Origin: https://evil.example")
	if got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", got.header)
	}
}

// A library's user may listen anywhere: without a token other machines are refused whatever they say.
func TestGuardRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Config{ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	h, err := admin.New(s, admin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]int{
		"192.0.2.1:4711": 403, "[::ffff:192.0.2.1]:4711": 403, "": 403, "127.0.0.1:4711": 200, "[::1]:4711": 200,
	} {
		req := httptest.NewRequest(http.MethodGet, "http://localhost/api/openapi.yaml", nil)
		req.RemoteAddr = from
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, req); w.Code != want {
			t.Errorf("from %q: got %d, want %d", from, w.Code, want)
		}
	}
}

func TestGuardWithToken(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{Token: "0123456789abcdef"})
	for header, want := range map[string]int{
		"Authorization: Bearer 0123456789abcdef": 200, "Authorization: bearer 0123456789abcdef": 200,
		"Authorization: Bearer 0123456789abcdeg": 401, "Authorization: Bearer ": 401,
		"Authorization: 0123456789abcdef": 401, "Authorization: Basic 0123456789abcdef": 401, "Accept: */*": 401,
	} {
		for _, path := range []string{"/api/stats", "/metrics", "/api/openapi.yaml"} {
			if got := r.ask(t, "GET", path, "", header, "Host: sockloop.example"); got.status != want {
				t.Errorf("%s %s: got %d, want %d", path, header, got.status, want)
			}
		}
	}
	got := r.want(t, 401, "want Authorization: Bearer", "POST", "/api/publish/broadcast", `"x"`, asJSON)
	if got.header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
	r.want(t, 200, "healthy", "GET", "/healthz", "", "Host: 10.0.0.7:9090")
	r.want(t, 200, "ready", "GET", "/readyz", "", "Host: 10.0.0.7:9090")
	if _, err := admin.New(r.Server, admin.Options{Token: "short"}); err == nil {
		t.Error("a short token was taken")
	}
}
