package results

import (
	"bytes"
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
	Machine Machine `json:"machine"`
	// ClientVersion is sockload's. It and the servers' versions are what the run must go on with.
	ClientVersion string           `json:"client_version,omitempty"`
	Suite         string           `json:"suite"`
	Levels        []int            `json:"levels"`
	Blocks        int              `json:"blocks"` // times that every server was to be measured
	Base          string           `json:"base"`   // the server that the others are compared with
	ServerCPU     int              `json:"server_cpu"`
	ClientCPUs    string           `json:"client_cpus"`
	Started       time.Time        `json:"started"`
	Finished      time.Time        `json:"finished,omitzero"` // zero: it was interrupted
	Servers       []ManifestServer `json:"servers"`
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
	Of       string   `json:"of,omitempty"`       // the server that this is, but for the connections that send
}

// ReadManifest reads a folder's.
func ReadManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Write writes the manifest into a folder.
func (m *Manifest) Write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ManifestName), append(text, '\n'), 0o644)
}

// Continues is an error unless the versions are those of an earlier run, which was interrupted: what one run measures,
// one version of client and servers measures.
func (m *Manifest) Continues(old *Manifest) error {
	differ := func(program, was, is string) error {
		return fmt.Errorf("the interrupted run is of %s %s, and this is %s: build that version again "+
			"to go on with it, --fresh replaces it, --out another folder keeps it", program, orOld(was), orOld(is))
	}
	if m.ClientVersion != old.ClientVersion {
		return differ("sockload", old.ClientVersion, m.ClientVersion)
	}
	for _, was := range old.Servers {
		for _, is := range m.Servers {
			if was.Name == is.Name && was.Version != is.Version && was.Skipped == "" && is.Skipped == "" {
				return differ(is.Name, was.Version, is.Version)
			}
		}
	}
	return nil
}
