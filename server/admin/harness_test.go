package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// patience is how long a test waits for something that must happen. Nothing waits that long unless it fails.
const patience = 20 * time.Second

// running is a server with its admin plane.
type running struct {
	*server.Server
	url    string // of the admin plane
	stop   func() // ends the server and waits for it
	routes routers.Router
}

// start runs a server and its admin plane until the test ends.
func start(t *testing.T, c server.Config, o admin.Options) *running {
	t.Helper()
	c.Addr, c.ConnectionsMax = "127.0.0.1:0", 100
	c.DrainWindow, c.CloseTimeout = time.Millisecond, time.Hour
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("/broadcast", s.Broadcast()); err != nil {
		t.Fatal(err)
	}
	h, err := admin.New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	plane := httptest.NewServer(h)
	t.Cleanup(plane.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	r := &running{Server: s, url: plane.URL, routes: described(t, plane.URL)}
	go func() { ended <- s.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err, first := <-ended; first && err != nil {
			t.Errorf("Run: %v", err)
		} else if first {
			close(ended)
		}
	}
	t.Cleanup(r.stop)
	<-s.Ready()
	return r
}

// described are the requests that openapi.yaml describes, at a URL.
func described(t *testing.T, url string) routers.Router {
	t.Helper()
	spec, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: url}}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	routes, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return routes
}

// reply is what the admin plane answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with the headers, given as "Name: value", and checks the answer against the description.
func (r *running) ask(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.conforms(req, resp, got); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(got)}
}

// conforms tells whether an answer is as described; what is not described at all must be a problem.
func (r *running) conforms(req *http.Request, resp *http.Response, body []byte) error {
	bare := req.Clone(req.Context())
	bare.Host = strings.TrimPrefix(r.url, "http://")
	route, params, err := r.routes.FindRoute(bare)
	if err != nil {
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode >= 400 && kind != "application/problem+json" &&
			!strings.HasPrefix(req.URL.Path, "/debug/") {
			return fmt.Errorf("an error of type %s", kind)
		}
		return nil
	}
	return openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: bare, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// want checks an answer's status and that it has some text.
func (r *running) want(t *testing.T, status int, text, method, path, body string, headers ...string) reply {
	t.Helper()
	got := r.ask(t, method, path, body, headers...)
	if got.status != status || !strings.Contains(got.body, text) {
		t.Errorf("%s %s: got %d %s, want %d with %s", method, path, got.status, got.body, status, text)
	}
	return got
}

// get reads an answer's JSON.
func get[T any](t *testing.T, r *running, path string) (x T) {
	t.Helper()
	got := r.want(t, http.StatusOK, "", "GET", path, "")
	if err := json.Unmarshal([]byte(got.body), &x); err != nil {
		t.Fatalf("%s: %v in %s", path, err, got.body)
	}
	return x
}

const asJSON = "Content-Type: application/json"

// client is a client of the server.
type client struct{ *websocket.Conn }

// join opens a raw WebSocket, which is a subscriber as soon as the loop has seen it.
func (r *running) join(t *testing.T) client {
	t.Helper()
	before, err := r.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+r.Addr().String()+"/broadcast/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	r.eventually(t, "a session opens", func(st server.Stats) bool { return st.SessionsOpened > before.SessionsOpened })
	return client{c}
}

func (c client) expect(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, got, err := c.Read(ctx); err != nil || string(got) != want {
		t.Errorf("a client received %q %v, want %q", got, err, want)
	}
}

func (c client) send(t *testing.T, message string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until the counters are so.
func (r *running) eventually(t *testing.T, what string, is func(server.Stats) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		st, err := r.Stats(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if is(st) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s: %+v", what, st)
		}
	}
}

// holdLoop keeps the loop from doing anything until release is called.
func (r *running) holdLoop(t *testing.T) (release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := r.Post(func() { close(entered); <-leave }); err != nil {
		t.Fatal(err)
	}
	<-entered
	return func() { close(leave) }
}
