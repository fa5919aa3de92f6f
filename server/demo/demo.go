// Package demo is a page for the server's root that shows what the server does: a live room, who is in it, over which
// transport, and how many messages a second the server carries.
package demo

import (
	"embed"
	"errors"
	"io/fs"
	"path"

	"github.com/sockloop/sockloop/internal/uplot"
	"github.com/sockloop/sockloop/server"
)

// page is served as it is: it needs nothing from any network.
//
//go:embed page
var page embed.FS

// contentTypes are those of the page's files.
var contentTypes = map[string]string{
	".html": "text/html; charset=UTF-8",
	".css":  "text/css; charset=UTF-8",
	".js":   "text/javascript; charset=UTF-8",
}

// Mount adds the page at "/" and its room at "/room" to a server that does not run yet. The room wants its Run to be
// called beside the server's.
func Mount(s *server.Server) (*Room, error) {
	files, err := fs.ReadDir(page, "page")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		content, readErr := fs.ReadFile(page, "page/"+f.Name())
		at := "/" + f.Name()
		if f.Name() == "index.html" {
			at = "/"
		}
		err = errors.Join(err, readErr, s.HandlePage(at, contentTypes[path.Ext(f.Name())], string(content)))
	}
	err = errors.Join(err, s.HandlePage("/uplot.css", contentTypes[".css"], uplot.CSS),
		s.HandlePage("/uplot.js", contentTypes[".js"], uplot.Script))
	r := newRoom(s)
	return r, errors.Join(err, s.Handle("/room", r))
}
