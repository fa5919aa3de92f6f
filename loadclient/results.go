package loadclient

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/tuning"
)

// Record is one line of a result file: exactly one field is set.
type Record struct {
	Machine    *Machine    `json:"machine,omitempty"`
	Trial      *Trial      `json:"trial,omitempty"`
	Saturation *Saturation `json:"saturation,omitempty"`
	Ceiling    *Ceiling    `json:"ceiling,omitempty"`
	Discarded  *Discarded  `json:"discarded,omitempty"`
}

// Discarded says that the last search before it at a level does not count, because it is made again. Its trials do.
type Discarded struct {
	Connections int    `json:"connections"`
	Reason      string `json:"reason"`
}

// Machine is where and how a result was measured.
type Machine struct {
	Time    time.Time `json:"time"`
	Kernel  string    `json:"kernel"`
	CPU     string    `json:"cpu"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	Version string    `json:"version"`
	Command []string  `json:"command"`

	CPUSet      string            `json:"cpu_set,omitempty"`     // that the process may run on
	Mitigations map[string]string `json:"mitigations,omitempty"` // of the processor's vulnerabilities, by name
	Sysctls     map[string]string `json:"sysctls,omitempty"`     // that matter to many connections
}

// sysctls are the settings below /proc/sys that a result depends on.
var sysctls = []string{
	"net/core/somaxconn", "net/core/rmem_max", "net/core/wmem_max", "net/core/busy_poll", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
	"net/ipv4/tcp_congestion_control", "net/ipv4/ip_local_port_range", "kernel/sched_autogroup_enabled",
}

const vulnerabilities = "/sys/devices/system/cpu/vulnerabilities"

// settings reads files, by name; what is not there is left out.
func settings(dir string, names []string) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		if p, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			all[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(string(p)), " ")
		}
	}
	return all
}

func mitigations() map[string]string {
	entries, err := os.ReadDir(vulnerabilities)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	all := settings(vulnerabilities, names)
	for name, state := range all {
		if state == "Not affected" {
			delete(all, name)
		}
	}
	return all
}

// ThisMachine describes the machine that the process runs on.
func ThisMachine() *Machine {
	m := &Machine{Time: time.Now().UTC(), CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Command: os.Args}
	m.Mitigations, m.Sysctls = mitigations(), settings("/proc/sys", sysctls)
	if allowed, err := tuning.Allowed(); err == nil {
		m.CPUSet = allowed.String()
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		m.Version = b.Main.Version
	}
	return m
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read from
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Recorder writes records as JSON lines, each as soon as there is one.
type Recorder struct{ w io.Writer }

// NewRecorder records to w.
func NewRecorder(w io.Writer) *Recorder { return &Recorder{w} }

// Record writes one line.
func (r *Recorder) Record(x Record) error { return json.NewEncoder(r.w).Encode(x) }

// ReadRecords reads what a Recorder wrote.
func ReadRecords(r io.Reader) ([]Record, error) {
	var records []Record
	for d := json.NewDecoder(r); ; {
		var x Record
		switch err := d.Decode(&x); err {
		case nil:
			records = append(records, x)
		case io.EOF:
			return records, nil
		default:
			return records, fmt.Errorf("result %d: %w", len(records)+1, err)
		}
	}
}

// ReadFile reads a result file. With an error it returns what came before it.
func ReadFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	records, err := ReadRecords(f)
	if err != nil {
		return records, fmt.Errorf("%s is no result file of sockload run --out: %w", path, err)
	}
	return records, nil
}

// Searches are those of a result file that count, in the order in which they were made.
func Searches(records []Record) []Saturation {
	var all []Saturation
	for _, r := range records {
		switch {
		case r.Saturation != nil:
			all = append(all, *r.Saturation)
		case r.Discarded != nil:
			for i, s := range slices.Backward(all) {
				if s.Connections == r.Discarded.Connections {
					all = slices.Delete(all, i, i+1)
					break
				}
			}
		}
	}
	return all
}

// Unfinished are the searches of the last run in a result file, if the given command made it: the same command goes on
// behind them. What an interrupted run had of another level is left to be searched anew.
func Unfinished(records []Record, command []string) []Saturation {
	var found []Saturation
	ours := false
	for _, r := range records {
		switch {
		case r.Machine != nil:
			ours, found = slices.Equal(r.Machine.Command, command), nil
		case r.Saturation != nil && ours:
			found = append(found, *r.Saturation)
		}
	}
	return found
}

// csvHeader names the seven columns of 2011.
var csvHeader = []string{"concurrency", "effective_rate", "N", "min", "mean", "max", "stdev"}

// CSV writes trials as the load client of 2011 did: the rate at which messages were really sent, and the round trips
// from the actual send in milliseconds.
type CSV struct{ w *csv.Writer }

// NewCSV writes the header, unless the table goes on.
func NewCSV(w io.Writer, goesOn bool) (*CSV, error) {
	c := &CSV{csv.NewWriter(w)}
	if goesOn {
		return c, nil
	}
	if err := c.w.Write(csvHeader); err != nil {
		return nil, err
	}
	return c, c.flush()
}

// Write adds a trial. One that lacks an own message has no row, as in 2011; nor has one that says nothing of the
// server, unless it is of the ramp of 2011, which knew no verdicts.
func (c *CSV) Write(t Trial) error {
	if !t.Valid() && t.Phase != PhaseRamp || t.RTTActual.Count == 0 || t.OwnMissing > 0 {
		return nil
	}
	ms := func(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) }
	whole := func(x float64) string { return strconv.FormatFloat(x, 'f', 0, 64) }
	l := t.RTTActual
	row := []string{strconv.Itoa(t.Connections), ms(float64(t.Sent-t.SentLate) / t.Window), strconv.FormatInt(l.Count, 10), whole(l.Min), ms(l.Mean), whole(l.Max), ms(l.StdDev)}
	if err := c.w.Write(row); err != nil {
		return err
	}
	return c.flush()
}

func (c *CSV) flush() error {
	c.w.Flush()
	return c.w.Error()
}
