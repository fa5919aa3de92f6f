package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/benchmarks/chromium"
	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/demo"
)

// patience is how long a test waits for something that must happen.
const patience = 60 * time.Second

// start runs a server with the page until the test ends.
func start(t *testing.T, c server.Config) string {
	t.Helper()
	c.Addr, c.ConnectionsMax = "127.0.0.1:0", 300
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	room, err := demo.Mount(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { room.Run(ctx); ended <- nil }()
	<-s.Ready()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return s.Addr().String() + c.Prefix
}

// guest is a member without a browser.
type guest struct {
	t *testing.T
	*websocket.Conn
}

func join(t *testing.T, addr string) guest {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/room/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return guest{t, c}
}

func (g guest) send(text string) {
	g.t.Helper()
	if err := g.Write(g.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		g.t.Fatal(err)
	}
}

// next is the next event of a type.
func (g guest) next(kind string) map[string]any {
	g.t.Helper()
	for {
		_, p, err := g.Read(g.t.Context())
		if err != nil {
			g.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var e map[string]any
		if err := json.Unmarshal(p, &e); err != nil {
			g.t.Fatalf("%s: %v", p, err)
		}
		if e["type"] == kind {
			return e
		}
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	addr := start(t, server.Config{})
	a := join(t, addr)
	if w := a.next("welcome"); w["you"] != 1. || len(w["members"].([]any)) != 1 {
		t.Errorf("%v", w)
	}
	b := join(t, addr)
	if w := b.next("welcome"); w["you"] != 2. || len(w["members"].([]any)) != 2 {
		t.Errorf("%v", w)
	}
	for a.next("joined")["id"] != 2. {
	}
	a.send("{\"name\":\" A\u202eda\\u0000 \"}")
	if e := b.next("renamed"); e["name"] != "Ada" {
		t.Errorf("%v", e)
	}
	a.send(`{"say":"<b>hello</b>"}`)
	if e := b.next("said"); e["name"] != "Ada" || e["text"] != "<b>hello</b>" || e["at"].(float64) < 1.7e12 {
		t.Errorf("%v", e)
	}
	for _, bad := range []string{
		"", "x", "[]", `{"say":1}`, `{}`, `{"say":"  "}`, `{"name":""}`, `{"say":"` + strings.Repeat("x", 501) + `"}`,
		`{"name":"` + strings.Repeat("x", 31) + `"}`,
	} {
		a.send(bad)
		if e := a.next("refused"); e["why"] == "" {
			t.Errorf("%.20q: %v", bad, e)
		}
	}
	if e := b.next("rate"); e["sessions"] != 2. {
		t.Errorf("%v", e)
	}
	_ = a.CloseNow()
	if e := b.next("left"); e["id"] != 1. {
		t.Errorf("%v", e)
	}
}

// A newcomer to a full room is told of some, and how many more there are.
func TestFullRoom(t *testing.T) {
	t.Parallel()
	addr := start(t, server.Config{})
	for range 205 {
		join(t, addr).next("welcome")
	}
	if w := join(t, addr).next("welcome"); len(w["members"].([]any)) != 200 || w["hidden"] != 6. {
		t.Errorf("%d members, %v hidden", len(w["members"].([]any)), w["hidden"])
	}
}

// The page in a real browser: it joins, hears and is heard, over whichever transport is forced; nothing complains.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	addr := start(t, server.Config{Prefix: "/rt"})
	tab := chromium.Open(t, browser, patience, "http://"+addr+"/")
	tab.Until(t, "document.getElementById('state').textContent === 'connected over websocket'")
	other := join(t, addr)
	other.next("welcome")
	tab.Until(t, "document.querySelectorAll('#members li').length === 2 && "+
		"document.getElementById('count').textContent === '(2)'")

	tab.Do(t, "document.getElementById('text').value = 'hello <b>there</b> 🎉'; "+
		"document.querySelector('#say button').click()")
	if e := other.next("said"); e["text"] != "hello <b>there</b> 🎉" {
		t.Errorf("%v", e)
	}
	other.send(`{"name":"Grace"}`)
	other.send(`{"say":"hello yourself <img src=x onerror=alert(1)>"}`)
	tab.Until(t, "document.querySelector('#log li:last-child').textContent.includes('Gracehello yourself <img src=x')")
	tab.Until(t, "document.querySelectorAll('#log img').length === 0 && "+
		"document.getElementById('rtt').textContent.endsWith(' ms')")
	tab.Do(t, "document.getElementById('name').value = 'Ada'; document.querySelector('#rename button').click()")
	for other.next("renamed")["name"] != "Ada" {
	}
	tab.Until(t, "document.querySelector('#members .me b').textContent === 'Ada'")
	tab.Until(t, "document.getElementById('sessions').textContent === '2'")

	for _, transport := range []string{
		"xhr-streaming", "eventsource", "htmlfile", "xhr-polling", "jsonp-polling", "websocket",
	} {
		tab.Do(t, "document.getElementById('transport').value = '%s'; "+
			"document.getElementById('transport').dispatchEvent(new Event('change'))", transport)
		tab.Until(t, "document.getElementById('state').textContent === 'connected over %s'", transport)
		tab.Until(t, "document.querySelector('#members .me b')?.textContent === 'Ada'") // the name is remembered
		tab.Do(t, "document.getElementById('text').value = 'over %s'; document.querySelector('#say button').click()",
			transport)
		if e := other.next("said"); e["text"] != "over "+transport || e["name"] != "Ada" {
			t.Errorf("%s: %v", transport, e)
		}
		tab.Until(t, "[...document.querySelectorAll('#log .mine')].some((li) => li.textContent.includes('over %s'))",
			transport)
	}
	for _, c := range tab.Complaints() {
		// A poll by script tag cannot be taken back: sockjs-client forgets its callback, and the answer comes all the
		// same.
		if !strings.Contains(c, "_jp.") {
			t.Errorf("the console complains: %s", c)
		}
	}
}

// What the page looks like, for somebody to look at: go test -run Screenshots -artifacts. Nothing may stick out of the
// window, and by night it must be dark.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	browser := chromium.Start(t)
	addr := start(t, server.Config{})
	var guests []guest
	for _, name := range []string{"Ada", "Grace", "Margaret", "Barbara"} {
		g := join(t, addr)
		g.send(fmt.Sprintf(`{"name":%q}`, name))
		guests = append(guests, g)
	}
	for _, look := range chromium.Looks {
		t.Run(look.Name, func(t *testing.T) {
			tab := chromium.Open(t, browser, patience, "about:blank")
			tab.Show(t, look)
			tab.Go(t, "http://"+addr+"/")
			tab.Until(t, "document.querySelectorAll('#members li').length >= 5")
			for i, text := range []string{
				"hello, is this one loop?", "one loop, one core",
				"and every message once: " + strings.Repeat("a long line ", 20), "then turn the load on",
			} {
				guests[i].send(fmt.Sprintf(`{"say":%q}`, text))
			}
			tab.Do(t, "document.getElementById('text').value = 'here it comes'; "+
				"document.querySelector('#say button').click()")
			tab.Until(t, "document.querySelectorAll('#log .mine').length >= 1")
			tab.Until(t, "document.getElementById('sessions').textContent === '5'")
			// A minute and a half as it looks when load comes; the real one takes as long.
			tab.Do(t, "for (let i = 1; i <= 90; i++) chart.add({ at: Date.now() + 1000 * i, delivered: 1.6e8 / (1 + "+
				"Math.exp((40 - i) / 5)) * (1 + Math.sin(i) / 20), received: 8e4 })")
			shot := tab.Screenshot(t)
			image, err := png.Decode(bytes.NewReader(shot))
			if err != nil {
				t.Fatal(err)
			}
			if r, _, _, _ := image.At(2, image.Bounds().Dy()/2).RGBA(); (r < 0x4000) != look.Dark {
				t.Errorf("dark is %v, and the page's red is %#x", look.Dark, r)
			}
			if wide, err := chromium.Await[bool](tab, "document.documentElement.scrollWidth > innerWidth"); wide ||
				err != nil {
				t.Errorf("something sticks out of the window (%v)", err)
			}
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), look.Name+".png"), shot, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}
