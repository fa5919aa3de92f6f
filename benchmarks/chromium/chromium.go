// Package chromium lets tests look at pages in a real browser.
package chromium

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Start starts a headless Chromium that ends with the test, or skips the test where there is none.
func Start(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("Chromium is not installed (Debian: chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until its profile is closed, or the folder could not be removed
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	return ctx
}

// Tab is a page in a tab of its own.
type Tab struct {
	context.Context
	mu         sync.Mutex
	complaints []string
}

// Open opens a page in a tab that ends with the test, or after a time.
func Open(t *testing.T, browser context.Context, patience time.Duration, url string) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	tab := &Tab{Context: ctx}
	exceptions, entries := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, log.EntryAdded)
	go func() {
		for e, err := range exceptions {
			if err != nil {
				return
			}
			tab.complain(fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		}
	}()
	go func() {
		for e, err := range entries {
			if err != nil {
				return
			}
			if e.Entry.Level == log.EntryLevelError {
				tab.complain(e.Entry.Text + " " + e.Entry.URL)
			}
		}
	}()
	tab.Go(t, url)
	return tab
}

// Go opens another page in the tab.
func (t *Tab) Go(tb testing.TB, url string) {
	tb.Helper()
	if err := chromedp.Do(t, chromedp.Navigate(url)); err != nil {
		tb.Fatal(err)
	}
}

func (t *Tab) complain(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complaints = append(t.complaints, s)
}

// Complaints are the errors in the page's console so far.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.complaints
}

// Await evaluates JavaScript in the tab and waits for its promise, if it is one.
func Await[T any](t *Tab, format string, args ...any) (T, error) {
	return chromedp.Run(t, chromedp.Evaluate[T](fmt.Sprintf(format, args...), chromedp.EvalAwaitPromise))
}

// Until waits until an expression of JavaScript is true in the tab.
func (t *Tab) Until(tb testing.TB, format string, args ...any) {
	tb.Helper()
	expression := fmt.Sprintf(format, args...)
	poll := chromedp.Poll[bool](expression,
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0))
	if _, err := chromedp.Run(t, poll); err != nil {
		tb.Fatalf("waiting until %s: %v", expression, err)
	}
}

// Do runs JavaScript in the tab.
func (t *Tab) Do(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if err := chromedp.Do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(format, args...))); err != nil {
		tb.Fatal(err)
	}
}

// Look is how a page is looked at.
type Look struct {
	Name          string
	Width, Height int64
	Dark          bool
}

// Looks are a desk and a phone, by day and by night.
var Looks = []Look{
	{"wide-light", 1200, 800, false}, {"wide-dark", 1200, 800, true},
	{"narrow-light", 390, 844, false}, {"narrow-dark", 390, 844, true},
}

// Show sets how the tab is looked at.
func (t *Tab) Show(tb testing.TB, l Look) {
	tb.Helper()
	scheme := "light"
	if l.Dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}
	emulate := func(ctx context.Context, target *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, target, emulation.SetEmulatedMedia, media)
		return v, err
	}
	if err := chromedp.Do(t, chromedp.EmulateViewport(l.Width, l.Height), emulate); err != nil {
		tb.Fatal(err)
	}
}

// Screenshot is what the tab shows, as PNG.
func (t *Tab) Screenshot(tb testing.TB) []byte {
	tb.Helper()
	p, err := chromedp.Run(t, chromedp.CaptureScreenshot())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
