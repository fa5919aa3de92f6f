package conformance

import (
	"regexp"
	"strings"
	"testing"
)

func TestPoint06Greeting(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/"} {
		r, body := get(t, echo+path)
		if r.status != 200 || body != "Welcome to SockJS!\n" || !isType(r, "text/plain;charset=UTF-8") ||
			r.has("Set-Cookie") {
			t.Errorf("%q: %s %q %v", path, r.line, body, r.names)
		}
	}
	for _, path := range []string{"//", "///", "/a", "/a/", "/a/a", "/a/a/", "/a.html"} {
		if r, _ := get(t, echo+path); r.status != 404 {
			t.Errorf("%s: %s", path, r.line)
		}
	}
}

// isType compares a Content-Type, whatever its spaces.
func isType(r *response, want string) bool {
	return strings.ReplaceAll(r.get("Content-Type"), " ", "") == want
}

func TestPoint07SessionURLs(t *testing.T) {
	t.Parallel()
	id := session(t, "")[len("/000/"):]
	for _, path := range []string{
		"/a/" + id, "/_/_" + id, "/1/" + id + "x", "/abc_i-j%20/%20" + id, "/server%20part/" + id + "~!$&'()*+,;=:@",
	} {
		wantPoll(t, echo+path, "o\n")
	}
	for _, path := range []string{"/", "//", "///", "/a./a", "/a/a.", "/./.", "//a", "/a/"} {
		for _, method := range []string{"GET", "POST"} {
			if r := dial(t).ask(method, echo+path+"/xhr", nil, ""); r.status != 404 {
				t.Errorf("%s %s: %s", method, path, r.line)
			}
		}
	}
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	send(t, s, `["a"]`)
	wantPoll(t, strings.Replace(s, "/000/", "/another%20server/", 1), "a[\"a\"]\n")
}

var iframe = regexp.MustCompile(`^<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="(/|http)[^"]*"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe\(\);
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>\s*$`)

func TestPoint08Iframe(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"/iframe.html", "/iframe-a.html", "/iframe-.html", "/iframe-0.1.2.html", "/iframe-0.1.2abc-dirty.2144.html",
		"/iframe-a.html?t=1234",
	} {
		r, body := get(t, echo+path)
		if r.status != 200 || !isType(r, "text/html;charset=UTF-8") || !iframe.MatchString(body) {
			t.Errorf("%s: %s %v %q", path, r.line, r.names, body)
		}
		if r.get("ETag") == "" || r.has("Last-Modified") || r.has("Set-Cookie") {
			t.Errorf("%s: %v", path, r.names)
		}
		wantCacheable(t, r)
	}
	for _, path := range []string{
		"/iframe.htm", "/iframe", "/IFRAME.HTML", "/IFRAME", "/iframe.HTML", "/iframe.xml", "/iframe-/.html",
	} {
		if r, _ := get(t, echo+path); r.status != 404 {
			t.Errorf("%s: %s", path, r.line)
		}
	}
	first, _ := get(t, echo+"/iframe.html")
	if again, _ := get(t, echo+"/iframe.html"); again.get("ETag") != first.get("ETag") {
		t.Error("the ETag changes")
	}
	c := dial(t)
	r := c.ask("GET", echo+"/iframe.html", header{"If-None-Match", first.get("ETag")}, "")
	if r.status != 304 || r.has("Content-Type") {
		t.Errorf("%s %v", r.line, r.names)
	}
	if !strings.EqualFold(r.get("Connection"), "close") { // no body: what follows is the next response
		if r := c.ask("GET", echo, nil, ""); r.status != 200 {
			t.Errorf("%s", r.line)
		}
	}
}

var longAge = regexp.MustCompile(`max-age=[1-9][0-9]{6}`)

func wantCacheable(t *testing.T, r *response) {
	t.Helper()
	if cc := r.get("Cache-Control"); !strings.Contains(cc, "public") || !longAge.MatchString(cc) ||
		r.get("Expires") == "" {
		t.Errorf("not cacheable: %v", r.names)
	}
}
