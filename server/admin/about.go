package admin

import (
	_ "embed"
	"net/http"
	"runtime"

	"github.com/sockloop/sockloop/internal/version"
)

//go:embed openapi.yaml
var spec []byte

func serveSpec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(spec) // a peer that has gone learns nothing
}

func serveVersion(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]string{"version": version.Own(), "go": runtime.Version()})
}
