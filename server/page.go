package server

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"net/http"
)

// page is content that does not change while the server runs.
type page struct {
	contentType string
	cache       string // Cache-Control
	expires     string // empty is none
	content     string
	etag        string
	moved       string // where the page is instead; else empty
}

func newPage(contentType, cache, content string) page {
	sum := sha256.Sum256([]byte(content))
	return page{
		contentType: contentType, cache: cache, content: content,
		etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
}

// serve answers with the page, or with 304 to those who have it.
func (p *page) serve(x *exchange) {
	if !x.allow(http.MethodGet, http.MethodHead) {
		return
	}
	if p.moved != "" {
		x.set("Location", p.moved)
		x.respond(http.StatusMovedPermanently, "")
		return
	}
	x.set("Cache-Control", p.cache)
	if p.expires != "" {
		x.set("Expires", p.expires)
	}
	x.set("ETag", p.etag)
	if known := x.r.Header.Get("If-None-Match"); known == p.etag || known == "W/"+p.etag {
		x.respond(http.StatusNotModified, "")
		return
	}
	x.set("Content-Type", p.contentType)
	x.set("X-Content-Type-Options", "nosniff")
	x.respond(http.StatusOK, p.content)
}

// clientScript is sockjs-client as npm has it, for the iframe page: the protocol's help for networks in which nothing
// else comes through should not depend on a network of its own.
//
//go:embed assets/sockjs-1.6.1.min.js
var clientScript string

// scriptPath is where each service serves its copy of the client.
const scriptPath = "/sockjs.min.js"

var script = newPage("application/javascript; charset=UTF-8", "public, max-age=86400", clientScript)

// HandlePage serves content that does not change at a path, such as "/" or "/style.css", behind Config.Prefix, to GET
// and HEAD. It must be called before Run.
func (s *Server) HandlePage(path, contentType, content string) error {
	if s.started.Load() {
		return errors.New("server: HandlePage after Run")
	}
	if !legalPath(path) {
		return errors.New("server: a page's path begins with a slash")
	}
	p := newPage(contentType, "no-cache", content) // to be asked for again, which costs a 304
	s.loop.pages[s.cfg.Prefix+path] = &p
	if path == "/" && s.cfg.Prefix != "" { // what is relative to the page wants the slash
		s.loop.pages[s.cfg.Prefix] = &page{moved: s.cfg.Prefix + path}
	}
	return nil
}
