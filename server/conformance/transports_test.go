package conformance

import (
	"net/url"
	"strings"
	"testing"
)

func TestPoint13XHRSend(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	r, _ := post(t, s+"/xhr_send", `["x"]`)
	if r.status != 204 || !isType(r, "text/plain;charset=UTF-8") {
		t.Errorf("%s %v", r.line, r.names)
	}
	wantPoll(t, s, "a[\"x\"]\n")
	if r, _ := post(t, session(t, echo)+"/xhr_send", `["x"]`); r.status != 404 {
		t.Errorf("unknown session: %s", r.line)
	}
	for _, tt := range []struct{ payload, want string }{
		{"", "Payload expected."}, {`["x`, "Broken JSON encoding."}, {"[1", "Broken JSON encoding."},
		{"x", "Broken JSON encoding."},
	} {
		if r, body := post(t, s+"/xhr_send", tt.payload); r.status != 500 || !strings.Contains(body, tt.want) {
			t.Errorf("%q: %s %q, want %q", tt.payload, r.line, body, tt.want)
		}
	}
	want := []string{}
	for _, kind := range []string{
		"text/plain", "T", "application/json", "application/xml", "", "application/json; charset=utf-8",
		"text/xml; charset=utf-8", form,
	} {
		if r, _ := post(t, s+"/xhr_send", `["a"]`, "Content-Type", kind); r.status != 204 {
			t.Errorf("Content-Type %q: %s", kind, r.line)
		}
		want = append(want, `"a"`)
	}
	send(t, s, "[]")
	send(t, s, `["b"]`)
	wantPoll(t, s, "a["+strings.Join(append(want, `"b"`), ",")+"]\n")
}

// What is in the array and is no string is refused, and nothing is lost by it. Servers differ: see docs/sockjs.md.
func TestPoint13NotStrings(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	send(t, s, `["before"]`)
	for _, payload := range []string{`["lost",1]`, `[null]`, `[{"a":"b"}]`, `[["a"]]`, `["lost",true]`} {
		if r, body := post(t, s+"/xhr_send", payload); r.status != 500 ||
			!strings.Contains(body, "Broken JSON encoding.") {
			t.Errorf("%s: %s %q", payload, r.line, body)
		}
	}
	send(t, s, `["after"]`)
	wantPoll(t, s, "a[\"before\",\"after\"]\n")
}

func TestPoint14ContentTypesAndPrelude(t *testing.T) {
	t.Parallel()
	const script = "application/javascript;charset=UTF-8"
	if r, _ := post(t, session(t, echo)+"/xhr", ""); !isType(r, script) {
		t.Errorf("xhr: %v", r.names)
	}
	if r, _ := get(t, session(t, echo)+"/jsonp?c=x"); !isType(r, script) {
		t.Errorf("jsonp: %v", r.names)
	}
	r := dial(t).ask("POST", session(t, echo)+"/xhr_streaming", nil, "")
	if !isType(r, script) {
		t.Errorf("xhr_streaming: %v", r.names)
	}
	r.wantChunk(strings.Repeat("h", 2048) + "\n")
}

// A stream ends after 4096 bytes of payload: the prelude does not count, what stands around messages does. The session
// goes on with the next.
func TestPoint15ResponseLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, path, before, after string }{
		{"POST", "/xhr_streaming", "", "\n"}, {"GET", "/eventsource", "data: ", "\r\n\r\n"},
		{"GET", "/htmlfile?c=x", "<script>\np(\"", "\");\n</script>\r\n"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			s := session(t, echo)
			quote := func(frame string) string {
				if strings.HasPrefix(tt.path, "/htmlfile") {
					frame = strings.ReplaceAll(frame, `"`, `\"`)
				}
				return tt.before + frame + tt.after
			}
			c := dial(t)
			r := c.ask(tt.method, s+tt.path, nil, "")
			r.chunk()
			r.wantChunk(quote("o"))
			text := strings.Repeat("x", 128)
			for sent := len(quote("o")); sent < 4096; sent += len(quote(`a["` + text + `"]`)) {
				send(t, s, `["`+text+`"]`)
				r.wantChunk(quote(`a["` + text + `"]`))
			}
			r.wantChunk("")
			send(t, s, `["between"]`)
			r = c.ask(tt.method, s+tt.path, nil, "")
			r.chunk()
			r.wantChunk(quote(`a["between"]`))
			send(t, s, `["`+strings.Repeat("y", 5000)+`"]`) // one message beyond the limit leaves whole
			r.wantChunk(quote(`a["` + strings.Repeat("y", 5000) + `"]`))
			r.wantChunk("")
		})
	}
}

func TestPoint16EventSource(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	r := dial(t).ask("GET", s+"/eventsource", nil, "")
	if r.status != 200 || r.get("Content-Type") != "text/event-stream" {
		t.Errorf("%s %v", r.line, r.names)
	}
	r.wantChunk("\r\n")
	r.wantChunk("data: o\r\n\r\n")
	send(t, s, `["x"]`)
	r.wantChunk("data: a[\"x\"]\r\n\r\n")
	send(t, s, `["  \u0000\n\r "]`)
	r.wantChunk(`data: a["  \u0000\n\r "]` + "\r\n\r\n")
	send(t, s, `["100 % %41"]`) // the client decodes the data as a URI
	r.wantChunk(`data: a["100 %25 %2541"]` + "\r\n\r\n")
}

const htmlFile = `<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>`

func TestPoint17HTMLFile(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	r := dial(t).ask("GET", s+"/htmlfile?c=%63allback", nil, "")
	if r.status != 200 || !isType(r, "text/html;charset=UTF-8") {
		t.Errorf("%s %v", r.line, r.names)
	}
	if head := r.chunk(); strings.TrimSpace(head) != htmlFile || len(head) < 1024 {
		t.Errorf("the first chunk is %q", head)
	}
	r.wantChunk("<script>\np(\"o\");\n</script>\r\n")
	send(t, s, `["x"]`)
	r.wantChunk("<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n")
	// Nothing that a client sends can end the script.
	send(t, s, `["</script><script>alert(1)</script><!--"]`)
	if got := r.chunk(); strings.Count(got, "<") != 2 {
		t.Errorf("a payload broke out: %q", got)
	}
	wantCallbackChecked(t, "/htmlfile")
}

func wantCallbackChecked(t *testing.T, path string) {
	t.Helper()
	for query, want := range map[string]string{
		"": `"callback" parameter required`, "?c=": `"callback" parameter required`,
		"?c=%20": `invalid "callback" parameter`, "?c=*": `invalid "callback" parameter`,
		"?c=abc(": `invalid "callback" parameter`, "?c=abc%28": `invalid "callback" parameter`,
		"?c=" + strings.Repeat("a", 33): `invalid "callback" parameter`,
		"?c=%3Cscript%3E":               `invalid "callback" parameter`,
		"?c=a%0Ab":                      `invalid "callback" parameter`, "?c=%C3%A9": `invalid "callback" parameter`,
	} {
		r := dial(t).ask("GET", session(t, echo)+path+query, nil, "")
		if r.status != 500 { // and its body may have no end
			t.Errorf("%s%s: %s", path, query, r.line)
		} else if body := r.body(); !strings.Contains(body, want) {
			t.Errorf("%s%s: %q", path, query, body)
		}
	}
}

func TestPoint18JSONP(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	r, body := get(t, s+"/jsonp?c=%63allback")
	if r.status != 200 || body != "/**/callback(\"o\");\r\n" || r.get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %q %v", r.line, body, r.names)
	}
	send(t, s, `["x","\"\\"]`)
	if _, body := get(t, s+"/jsonp?c=_jp.a-Z09"); body != `/**/_jp.a-Z09("a[\"x\",\"\\\"\\\\\"]");`+"\r\n" {
		t.Errorf("%s", body)
	}
	_, body = get(t, session(t, echo)+"/jsonp?callback="+strings.Repeat("a", 32))
	if !strings.Contains(body, `aaaa("o");`) {
		t.Errorf("a callback of 32 characters: %q", body)
	}
	wantCallbackChecked(t, "/jsonp")
}

func TestPoint19JSONPSend(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantJSONP(t, s, "o")
	for _, tt := range []struct{ kind, body string }{
		{form, "d=" + url.QueryEscape(`["form"]`)}, {form + "; charset=UTF-8", "x=y&d=%5B%22with+a+space%22%5D"},
		{"text/plain", `["%61bc"]`}, {form, "d=%5B%5D"},
	} {
		r, body := post(t, s+"/jsonp_send", tt.body, "Content-Type", tt.kind)
		if r.status != 200 || body != "ok" || !isType(r, "text/plain;charset=UTF-8") {
			t.Errorf("%s: %s %q %v", tt.body, r.line, body, r.names)
		}
		wantNotCached(t, "jsonp_send", r)
	}
	for _, body := range []string{"", "d=", "p=p"} {
		if r, got := post(t, s+"/jsonp_send", body, "Content-Type", form); r.status != 500 ||
			!strings.Contains(got, "Payload expected.") {
			t.Errorf("%q: %s %q", body, r.line, got)
		}
	}
	if r, got := post(t, s+"/jsonp_send", "d=%5B%22x", "Content-Type", form); r.status != 500 ||
		!strings.Contains(got, "Broken JSON encoding.") {
		t.Errorf("%s %q", r.line, got)
	}
	if r, _ := post(t, session(t, echo)+"/jsonp_send", `["x"]`); r.status != 404 {
		t.Errorf("unknown session: %s", r.line)
	}
	wantJSONP(t, s, `a[\"form\",\"with a space\",\"%61bc\"]`)
}

func wantJSONP(t *testing.T, session, want string) {
	t.Helper()
	if _, body := get(t, session+"/jsonp?c=x"); body != `/**/x("`+want+"\");\r\n" {
		t.Errorf("%s, want %s", body, want)
	}
}

func TestPoint20JSessionID(t *testing.T) {
	t.Parallel()
	for _, tt := range dynamic {
		for sent, want := range map[string]string{
			"": "JSESSIONID=dummy; path=/", "JSESSIONID=abcdef; other=x": "JSESSIONID=abcdef; path=/",
		} {
			var h header
			if sent != "" {
				h = header{"Cookie", sent}
			}
			r := dial(t).ask(tt.method, sessionFor(t, cookies, tt.path)+tt.path, h, tt.body)
			if got := r.get("Set-Cookie"); !strings.EqualFold(got, want) {
				t.Errorf("%s with %q: cookie %q, want %q", tt.path, sent, got, want)
			}
		}
	}
	if r, _ := get(t, cookies+"/info"); r.has("Set-Cookie") {
		t.Error("/info sets a cookie")
	}
	if r, _ := post(t, session(t, echo)+"/xhr", ""); r.has("Set-Cookie") {
		t.Error("a cookie that nobody asked for")
	}
}
