package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// What is published over HTTP reaches the subscribers, in order; what may not be published says why.
func TestPublish(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{MessageBytesMax: 100, BodyBytesMax: 50_000}, admin.Options{})
	c := r.join(t)
	const path = "/api/publish/broadcast"
	r.want(t, 200, `{"messages":1,"subscribers":1}`, "POST", path, `"one \"1\""`, asJSON)
	r.want(t, 200, `{"messages":2,"subscribers":1}`, "POST", path, `["zwei ü","three"]`, asJSON+"; charset=utf-8")
	r.want(t, 200, `{"messages":0,"subscribers":1}`, "POST", path, `[]`, asJSON)
	for _, want := range []string{`one "1"`, "zwei ü", "three"} {
		c.expect(t, want)
	}
	for _, tt := range []struct {
		topic, body string
		status      int
		want        string
	}{
		{"nobody", `"x"`, 404, "there is no topic of that name"},
		{"broadcast", `{"a":1}`, 400, "want a JSON string, or an array of strings"},
		{"broadcast", `null`, 400, "want a JSON string"},
		{"broadcast", `["x",null]`, 400, "want a JSON string"},
		{"broadcast", `["x"`, 400, "want a JSON string"},
		{"broadcast", "", 400, "want a JSON string"},
		{"broadcast", "\"\xff\"", 400, "not UTF-8"},
		{"broadcast", `["fine","` + strings.Repeat("x", 101) + `"]`, 413, "MessageBytesMax"},
		{"broadcast", `"` + strings.Repeat("x", 50_000) + `"`, 413, "at most 50000 bytes"},
		{"broadcast", `[""` + strings.Repeat(`,""`, 10_000) + `]`, 400, "want at most 10000"},
	} {
		r.want(t, tt.status, tt.want, "POST", "/api/publish/"+tt.topic, tt.body, asJSON)
	}
	r.want(t, 200, `"subscribers":1`, "POST", path, `"the refused left nothing"`, asJSON)
	c.expect(t, "the refused left nothing")
}

// A topic's name may have slashes and spaces in it.
func TestPublishToEscapedName(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	made := make(chan struct{})
	if err := r.Post(func() { r.NewTopic("a/b c"); close(made) }); err != nil {
		t.Fatal(err)
	}
	<-made
	r.want(t, 200, `"messages":1`, "POST", "/api/publish/a%2Fb%20c", `"x"`, asJSON)
}

// A full mailbox is 429, with the time after which to try again.
func TestPublishWithFullMailbox(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{MailboxMax: 1}, admin.Options{})
	release := r.holdLoop(t)
	defer release()
	if err := r.Post(func() {}); err != nil {
		t.Fatal(err)
	}
	got := r.want(t, 429, "the mailbox is full", "POST", "/api/publish/broadcast", `"x"`, asJSON)
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
	r.want(t, 503, "the mailbox is full", "GET", "/healthz", "")
	r.want(t, 503, "the loop does not answer", "GET", "/readyz", "")
	if got := r.ask(t, "GET", "/metrics", ""); !strings.Contains(got.body, "\nsockloop_up 0\n") {
		t.Errorf("%s", got.body)
	}
}

type connections struct {
	Matching    int
	Connections []struct {
		ID          uint64
		Address     string
		Transport   string
		LagMessages uint64 `json:"lag_messages"`
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	first, second := r.join(t), r.join(t)
	poll, err := http.Post("http://"+r.Addr().String()+"/broadcast/0/poller/xhr", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = poll.Body.Close()
	r.want(t, 200, "", "POST", "/api/publish/broadcast", `["one","two"]`, asJSON)
	first.expect(t, "one")
	second.expect(t, "one")

	all := get[connections](t, r, "/api/connections")
	if all.Matching != 3 || len(all.Connections) != 3 || all.Connections[0].Transport != "xhr-polling" ||
		all.Connections[0].LagMessages == 0 || !strings.HasPrefix(all.Connections[1].Address, "127.0.0.1:") {
		t.Fatalf("%+v", all)
	}
	for query, want := range map[string]int{
		"?transport=websocket-raw": 2, "?transport=eventsource": 0, "?lag_min=1": 1, "?limit=2": 3,
		"?address=127.0.0.1": 3, "?address=127.0.0.0/8&transport=xhr-polling": 1, "?address=10.0.0.0/8": 0,
	} {
		if got := get[connections](t, r, "/api/connections"+query); got.Matching != want ||
			len(got.Connections) != min(want, 2) && query == "?limit=2" {
			t.Errorf("%s: %+v", query, got)
		}
	}
	for query, want := range map[string]string{
		"?address=here": "want an IP address", "?transport=pigeon": "want one of websocket, ",
		"?lag_min=-1": "want a number", "?limit=0": "want a number from 1", "?sort=age": "no such parameter",
	} {
		r.want(t, 400, want, "GET", "/api/connections"+query, "")
	}

	path := fmt.Sprintf("/api/connections/%d", all.Connections[1].ID)
	r.want(t, 204, "", "DELETE", path, "")
	first.expect(t, "two")
	if _, _, err := first.Read(t.Context()); websocket.CloseStatus(err) != server.CodeGoAway {
		t.Errorf("the client was closed with %v", err)
	}
	r.eventually(t, "the session is gone", func(st server.Stats) bool { return st.SessionsOf[1] == 1 })
	r.want(t, 404, "there is no connection of that id", "DELETE", path, "")
	r.want(t, 400, "want the id", "DELETE", "/api/connections/first", "")
}

func TestTopicsAndStats(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	c := r.join(t)
	c.send(t, "hello")
	c.expect(t, "hello")
	topics := get[struct {
		Topics []struct {
			Name        string
			Subscribers int
			Published   int `json:"published_messages"`
		}
	}](t, r, "/api/topics").Topics
	if len(topics) != 1 || topics[0].Name != "broadcast" || topics[0].Subscribers != 1 || topics[0].Published != 1 {
		t.Errorf("%+v", topics)
	}
	st := get[map[string]any](t, r, "/api/stats")
	if st["messages_received"] != 1.0 || st["batch_messages"].(map[string]any)["sum"] != 1.0 ||
		st["sessions_of"].(map[string]any)["websocket-raw"] != 1.0 || st["turn_wait_seconds"] == nil {
		t.Errorf("%v", st)
	}
	if fields := reflect.TypeFor[server.Stats]().NumField(); len(st) != fields {
		t.Errorf("%d fields, want the %d of server.Stats", len(st), fields)
	}
}

// The probes tell what a server is about to do; a drain ends it.
func TestProbesAndDrain(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	r.want(t, 200, `{"ready":true}`, "GET", "/readyz", "")
	r.want(t, 200, `{"healthy":true}`, "GET", "/healthz", "")
	c := r.join(t) // which does not answer its close frame, so that the drain goes on
	r.want(t, 202, `{"draining":true}`, "POST", "/api/drain", "", asJSON)
	r.eventually(t, "it drains", func(st server.Stats) bool { return st.Draining })
	got := r.want(t, 503, "not ready: draining", "GET", "/readyz", "")
	var p struct{ Reasons []string }
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || len(p.Reasons) != 1 || p.Reasons[0] != "draining" {
		t.Errorf("%s %v", got.body, err)
	}
	r.want(t, 200, `{"healthy":true}`, "GET", "/healthz", "")
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client was closed with %v", err)
	}
	r.stop()
	for _, path := range []string{"/healthz", "/readyz", "/api/stats", "/api/topics", "/api/connections"} {
		r.want(t, 503, "not running", "GET", path, "")
	}
	r.want(t, 503, "not running", "POST", "/api/drain", "", asJSON)
}

func TestUnknownPathsAreProblems(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	r.want(t, 404, "there is no /api/rooms", "GET", "/api/rooms", "")
	r.want(t, 405, "want GET, HEAD", "DELETE", "/api/stats", "")
	r.want(t, 404, "there is no /debug/pprof/", "GET", "/debug/pprof/", "")
	r.want(t, 200, "openapi: 3", "GET", "/api/openapi.yaml", "")
}

func TestPprof(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{Pprof: true})
	r.want(t, 200, "goroutine profile", "GET", "/debug/pprof/goroutine?debug=1", "")
}
