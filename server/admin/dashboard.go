package admin

import (
	"embed"
	"net/http"
	"path"

	"github.com/sockloop/sockloop/internal/uplot"
)

// dashboard is the page at the root. It has nothing of the server in it: that it asks the API for, with the token if
// there is one.
//
//go:embed dashboard
var dashboard embed.FS

// contentPolicy lets the page load its own files and ask its own API, and be in no frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pages are the paths of the dashboard and what is there.
func pages() map[string][]byte {
	all := map[string][]byte{"/uplot.js": []byte(uplot.Script), "/uplot.css": []byte(uplot.CSS)}
	files, err := dashboard.ReadDir("dashboard")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, f := range files {
		text, err := dashboard.ReadFile("dashboard/" + f.Name())
		if err != nil {
			panic(err)
		}
		all["/"+f.Name()] = text
	}
	all["/"] = all["/index.html"]
	delete(all, "/index.html")
	return all
}

// pagePaths is what is at which path.
var pagePaths = pages()

// pageTypes are the media types of the dashboard's files. Package mime would read the system's table of a thousand.
var pageTypes = map[string]string{
	"":     "text/html; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
}

// servePages adds the dashboard to a mux.
func servePages(mux *http.ServeMux) {
	for at, text := range pagePaths {
		kind := pageTypes[path.Ext(at)]
		if at == "/" {
			at = "/{$}"
		}
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", contentPolicy)
			w.Header().Set("Referrer-Policy", "no-referrer")
			_, _ = w.Write(text) // a peer that has gone learns nothing
		})
	}
}

// isPage tells whether a path is one of the dashboard's.
func isPage(at string) bool {
	_, ok := pagePaths[at]
	return ok
}
