package admin_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// One list of connections is made at a time.
func TestOneListingAtATime(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{})
	release := r.holdLoop(t)
	got := make(chan reply, 2)
	for range 2 {
		go func() { got <- r.ask(t, "GET", "/api/connections?limit=10000", "") }()
	}
	if refused := <-got; refused.status != 429 || refused.header.Get("Retry-After") != "1" {
		t.Errorf("one too many was answered %d %s", refused.status, refused.body)
	}
	release()
	if first := <-got; first.status != 200 {
		t.Errorf("the first was answered %d %s", first.status, first.body)
	}
	r.want(t, 200, "", "GET", "/api/connections", "")
}

// One profile is made at a time, whatever it is of.
func TestOneProfileAtATime(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{}, admin.Options{Pprof: true})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan int, 2)
	for range 2 {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/debug/pprof/heap?seconds=60", nil)
			if err != nil {
				t.Error(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				got <- 0 // it is cancelled
				return
			}
			_ = resp.Body.Close()
			got <- resp.StatusCode
		}()
	}
	if status := <-got; status != 429 {
		t.Errorf("one too many was answered %d", status)
	}
	r.want(t, 429, "one is answered at a time", "GET", "/debug/pprof/profile?seconds=1", "")
	cancel()
	<-got
}
