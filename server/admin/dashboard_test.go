package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/benchmarks/chromium"
	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// The page shows what the server does, live, on a desk and on a phone, by day and by night; and who is behind can be
// ended from it. DASHBOARD_PICTURES=DIR keeps the pictures.
func TestDashboard(t *testing.T) {
	t.Parallel()
	events := admin.NewEvents(slog.NewTextHandler(io.Discard, nil))
	slog.New(events).Warn("something happened", "why", "<i>a test</i>")
	waiting := server.Options{DisconnectDelay: time.Hour}
	r := start(t, server.Config{Options: waiting}, admin.Options{Events: events})
	c := join(t, r, "/broadcast/websocket")
	poll(t, r) // which nobody asks for again: it falls behind
	say := func() {
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	say()
	tab := chromium.Open(t, chromium.Start(t), time.Minute, r.url+"/")
	tab.Until(t, "document.querySelector('#state').textContent === 'ready'")
	tab.Until(t, "document.querySelectorAll('#charts canvas').length === 7")
	tab.Until(t, "document.querySelector('#tiles b').textContent === '2'")
	tab.Until(t, "/broadcast.*2/.test(document.querySelector('#topics tbody').textContent)")
	tab.Until(t, "document.querySelector('#events tbody').textContent.includes('something happened  why=<i>a test</i>')")
	tab.Until(t, "/xhr-polling.*broadcast.*1/.test(document.querySelector('#readers tbody').textContent)")
	pictures := os.Getenv("DASHBOARD_PICTURES")
	for range 3 { // some history
		say()
		tab.Until(t, "document.querySelector('#readers tbody').textContent.includes('xhr-polling')")
	}
	for _, l := range chromium.Looks {
		tab.Show(t, l)
		tab.Until(t, "document.documentElement.scrollWidth <= innerWidth")
		tab.Until(t, "[...document.querySelectorAll('.plot')].every((p) => "+
			"Math.abs(p.clientWidth - p.querySelector('.uplot').offsetWidth) < 2)")
		picture := tab.Screenshot(t)
		if _, err := png.Decode(bytes.NewReader(picture)); err != nil {
			t.Error(err)
		}
		if pictures != "" {
			if err := os.WriteFile(filepath.Join(pictures, "dashboard-"+l.Name+".png"), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tab.Do(t, "document.querySelector('#readers button').click()")
	tab.Until(t, "document.querySelector('#tiles b').textContent === '1'")
	tab.Until(t, "document.querySelector('#readers tbody').textContent === 'Nobody is behind.'")
	r.stop()
	tab.Until(t, "document.querySelector('#state').textContent === 'no answer'")
	for _, complaint := range tab.Complaints() {
		if !strings.Contains(complaint, "503") { // of the server that has ended
			t.Error(complaint)
		}
	}
}

// With a token the page asks for it, and what it does needs it.
func TestDashboardAsksForTheToken(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{Token: "a token of some length"})
	tab := chromium.Open(t, chromium.Start(t), time.Minute, r.url+"/")
	tab.Until(t, "!document.querySelector('#login').hidden")
	enter := func(token string) {
		tab.Do(t, "document.querySelector('#token').value = %q; document.querySelector('#login button').click()", token)
	}
	enter("another token of some length")
	tab.Until(t, "document.querySelector('#reasons').textContent === 'the token is missing or wrong'")
	enter("a token of some length")
	tab.Until(t, "document.querySelector('#login').hidden && document.querySelector('#state').textContent === 'ready'")
}

// The page loads nothing from elsewhere, and nothing but itself may run in it.
func TestDashboardIsClosed(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{Token: "a token of some length"})
	for path, kind := range map[string]string{
		"/": "text/html", "/dashboard.js": "text/javascript", "/dashboard.css": "text/css", "/uplot.js": "text/javascript",
		"/uplot.css": "text/css",
	} {
		got := r.ask(t, "GET", path, "")
		policy := got.header.Get("Content-Security-Policy")
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), kind) ||
			!strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		if strings.Contains(got.body, "https://") && !strings.HasPrefix(path, "/uplot") {
			t.Errorf("%s names another place", path)
		}
	}
	if got := r.ask(t, "GET", "/index.html", ""); got.status != http.StatusUnauthorized {
		t.Errorf("what is no page of it: %d", got.status)
	}
}

// The last hundred events are kept, the latest first, with what their loggers were given.
func TestEvents(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	events := admin.NewEvents(slog.NewTextHandler(&out, nil))
	log := slog.New(events).With("server", 1).WithGroup("conn").With("id", 7)
	log.Debug("not enabled")
	for i := range 102 {
		log.Info(fmt.Sprint("event ", i), "long", strings.Repeat("x", 1000))
	}
	all := events.Last()
	if len(all) != 100 || all[0].Message != "event 101" || all[99].Message != "event 2" {
		t.Errorf("%d, from %v to %v", len(all), all[0], all[len(all)-1])
	}
	a := all[0].Attributes
	if a["server"] != "1" || a["conn.id"] != "7" || len(a["conn.long"]) > 510 || all[0].Level != "INFO" {
		t.Errorf("%v", all[0])
	}
	if n := strings.Count(out.String(), "\n"); n != 102 {
		t.Errorf("%d were passed on", n)
	}
	r := start(t, server.Config{}, admin.Options{Events: events})
	r.want(t, 200, `"message":"event 101"`, "GET", "/api/events", "")
	r.want(t, 200, `"go":"go1`, "GET", "/api/version", "")
}

// join opens a WebSocket.
func join(t *testing.T, r *running, path string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+r.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// poll opens a session over HTTP and asks no more.
func poll(t *testing.T, r *running) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost,
		"http://"+r.Addr().String()+"/broadcast/0/p/xhr", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %d", err, resp.StatusCode)
	}
}
