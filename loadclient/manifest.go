package loadclient

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ManifestName is the file in a folder of results that says how they were made.
const ManifestName = "manifest.json"

// Manifest says how a folder of results was made: a file of records for each server, and ceiling.jsonl.
type Manifest struct {
	Machine    Machine          `json:"machine"`
	Suite      string           `json:"suite"`
	Levels     []int            `json:"levels"`
	Blocks     int              `json:"blocks"` // times that every server was to be measured
	Base       string           `json:"base"`   // the server that the others are compared with
	ServerCPU  int              `json:"server_cpu"`
	ClientCPUs string           `json:"client_cpus"`
	Started    time.Time        `json:"started"`
	Finished   time.Time        `json:"finished,omitzero"` // zero: it was interrupted
	Servers    []ManifestServer `json:"servers"`
}

// ManifestServer is a server that was measured, or why it was not.
type ManifestServer struct {
	Name     string   `json:"name"` // of its file
	About    string   `json:"about"`
	Protocol Protocol `json:"protocol"`
	Command  []string `json:"command"`
	Version  string   `json:"version,omitempty"`
	Skipped  string   `json:"skipped,omitempty"`  // why it was not measured
	Capacity float64  `json:"capacity,omitempty"` // of a control: what must be found, in received messages a second
}

// ReadManifest reads a folder's.
func ReadManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}
