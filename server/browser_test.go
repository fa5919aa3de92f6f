package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/benchmarks/chromium"
	"github.com/sockloop/sockloop/server"
)

// The real client, in a real browser, with each transport forced, from the server's own origin and from another: 1,000
// messages each way, echoed and broadcast, whatever they hold; order and count exact.
func TestBrowser(t *testing.T) {
	t.Parallel()
	const client = "interop/node_modules/sockjs-client/dist/sockjs.js"
	script, err := os.ReadFile(client)
	if err != nil {
		t.Skip("the npm packages are not installed (npm ci in server/interop)")
	}
	html, err := os.ReadFile("testdata/transports.html")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Replace(string(html), "SCRIPT", "/sockjs-client.js", 1)
	browser := chromium.Start(t)
	const messages = 1000
	for _, tt := range []struct {
		transport string
		elsewhere bool // it works across origins
	}{
		{"websocket", true}, {"websocket compressed", true}, {"xhr-streaming", true}, {"xhr-polling", true},
		{"eventsource", true}, {"htmlfile", false}, {"jsonp-polling", true},
		{"iframe-eventsource", true}, {"iframe-htmlfile", true}, {"iframe-xhr-polling", true},
	} {
		for _, where := range []string{"its own origin", "another origin"} {
			if where == "another origin" && !tt.elsewhere {
				continue
			}
			t.Run(tt.transport+" from "+where, func(t *testing.T) {
				t.Parallel()
				transport, _, compressed := strings.Cut(tt.transport, " ")
				srv, err := server.New(server.Config{
					Addr: "127.0.0.1:0", ConnectionsMax: 100, Compress: compressed, CompressBytesMin: 1,
				})
				if err != nil {
					t.Fatal(err)
				}
				for path, service := range map[string]server.Service{
					"/echo": server.Echo(), "/broadcast": srv.Broadcast(),
				} {
					if err := srv.Handle(path, service); err != nil {
						t.Fatal(err)
					}
				}
				for path, p := range map[string][2]string{
					"/": {"text/html", page}, "/sockjs-client.js": {"application/javascript", string(script)},
				} {
					if err := srv.HandlePage(path, p[0], p[1]); err != nil {
						t.Fatal(err)
					}
				}
				s := serve(t, srv)
				at := "http://" + s.addr
				if where == "another origin" {
					at = elsewhere(t, page, string(script))
				}
				tab := chromium.Open(t, browser, 3*patience, at)
				used, err := chromium.Await[string](tab, "echo('http://%s', '%s', %d)", s.addr, transport, messages)
				if err != nil || used != transport {
					t.Fatalf("echo over %q: %v", used, err)
				}
				got, err := chromium.Await[string](tab, "broadcast('http://%s', '%s', %d)", s.addr, transport,
					messages)
				if err != nil || got != fmt.Sprintf("%d,%d", messages, messages) {
					t.Errorf("broadcast: %q %v", got, err)
				}
				if st := s.stats(t); st.MessagesReceived != 3*messages ||
					st.HandlerPanics+st.ProtocolErrors+st.SlowConsumersClosed > 0 ||
					compressed != (st.SessionsDeflate > 0) {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// elsewhere serves the page from another origin.
func elsewhere(t *testing.T, page, script string) string {
	t.Helper()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sockjs-client.js" {
			w.Header().Set("Content-Type", "application/javascript")
			_, _ = w.Write([]byte(script))
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(other.Close)
	return other.URL
}
