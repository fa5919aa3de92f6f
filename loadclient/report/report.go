// Package report makes one HTML file of results: the table, the charts, the machine, whether it is valid, and how to
// repeat it. It needs no network, and works from file://.
package report

import (
	"cmp"
	"embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockloop/sockloop/internal/uplot"
	"github.com/sockloop/sockloop/loadclient/results"
)

//go:embed page.html page.css page.js benchmark-2011.csv
var files embed.FS

// page is what the template is filled with.
type page struct {
	Title    string
	Question string
	When     string
	Machine  results.Machine
	Settings []setting
	Servers  string // where server and client ran
	Command  string
	Findings []finding
	Skipped  []results.ManifestServer
	Tables   []table

	CSS, Script template.HTML
	Data        template.JS
}

// searched tells whether the results have saturation points, or loads alone that were the same for all.
func searched(r *results.Measurement) bool { return len(r.Levels()) > 0 }

func title(r *results.Measurement) string {
	switch {
	case searched(r):
		return "Messages a second until a server saturates"
	case len(r.Equal()) == 0 && len(r.RampTable()) > 0:
		return "Connections that do nothing"
	}
	return "Servers under the same load"
}

// question is what the results answer.
func question(r *results.Measurement) string {
	const everybody = "Clients that all hear each other, an open loop, and "
	switch {
	case searched(r):
		return everybody + "the question of 2011: at how many messages a second, nominally received (sent × " +
			"connections), does the mean round trip reach 200 ms?"
	case len(r.Equal()) == 0 && len(r.RampTable()) > 0:
		return "How many connections a second does the server open, and what does each cost it?"
	}
	return everybody + "the same rates for all servers: how long are the round trips, and what do they cost?"
}

type setting struct{ Name, Value string }

// table is one that needs no script.
type table struct {
	ID, Title, About string
	Head             []string
	Rows             [][]string
}

// tables are the loads that were equal for all, the walls, and what single agents measured.
func tables(r *results.Measurement) (all []table) {
	if head, rows := r.WallsTable(); len(rows) > 0 {
		all = append(all, table{"walls", "What comes in and what goes out", results.WallsText, head, rows})
	}
	if rows := r.RampTable(); len(rows) > 0 {
		all = append(all, table{
			"ramp", "Connections that do nothing", "Opened step by step. Memory is anonymous + file-backed; for each " +
				"connection it is what the server has more than when it was empty, and the kernel's sockets are " +
				"those of both ends.",
			results.RampHead, rows,
		})
	}
	for i, e := range r.Equal() {
		all = append(all, table{
			fmt.Sprintf("equal-%d", i+1), "Equal load: " + e.String(),
			"The medians of the blocks in which the rate was carried. Memory is anonymous + file-backed; the " +
				"kernel's is that of all TCP sockets of the machine.",
			results.EqualHead, e.Table(),
		})
	}
	if rows := r.AgentsTable(); len(rows) > 0 {
		all = append(all, table{"agents", "Load clients", results.AgentsText, results.AgentsHead, rows})
	}
	return all
}

// data is what the script draws.
type data struct {
	Base      string    `json:"base"`
	Levels    []int     `json:"levels"`
	Quantiles []float64 `json:"quantiles"`
	Servers   []server  `json:"servers"`
	Marks     marks     `json:"marks"`
	Walls     []wall    `json:"walls"`
	Equal     []equal   `json:"equal"`
	StandsAt  string    `json:"stands_at"` // what that column of the table is
}

// wall is the kernel's at a level.
type wall struct {
	Connections int     `json:"n"`
	Bytes       float64 `json:"bytes"`    // a second
	Messages    float64 `json:"messages"` // a second, of the size that the base server sends
}

// equal is what a server came to at a rate with which all were loaded.
type equal struct {
	Server      string  `json:"server"`
	Connections int     `json:"n"`
	Rate        float64 `json:"rate"`
	Mean        float64 `json:"mean"`
	P50         float64 `json:"p50"`
	P99         float64 `json:"p99"`
	P999        float64 `json:"p999"`
	CPU         float64 `json:"cpu"`
	RSS         float64 `json:"rss"`
}

func equalLoads(r *results.Measurement) []equal {
	all := []equal{}
	for _, e := range r.Equal() {
		for i := range e.Rows {
			if x := &e.Rows[i]; x.Carried() && x.Blocks > x.Void {
				all = append(all, equal{
					x.Server, e.Connections, e.Rate, x.Mean, x.P50, x.P99, x.P999, x.CPU, x.Memory.RSS,
				})
			}
		}
	}
	return all
}

func walls(r *results.Measurement) []wall {
	all := []wall{}
	for _, n := range r.Levels() {
		if bytes := r.Wall(n); bytes > 0 {
			all = append(all, wall{n, bytes, r.WallMessages(n)})
		}
	}
	return all
}

type server struct {
	Name     string          `json:"name"`
	About    string          `json:"about"`
	Version  string          `json:"version"`
	Protocol string          `json:"protocol"`
	Levels   []levelSummary  `json:"levels"`
	Points   []point         `json:"points"`
	Longest  map[int]longest `json:"longest"` // by level: the trials that show most of how round trips are distributed
}

// levelSummary is a level's figures, with what only the page needs.
type levelSummary struct {
	results.LevelSummary
	Searches int    // shadows the searches, whose trials the points have
	Failed   string // how many searches sustained nothing

	Ratio    results.Interval
	RatioMid float64
	Bound    results.Bound // of the ratio
	Limits   []string
	Warnings []string
	StandsAt string // what the saturation does, as in the summary
}

// longest is a trial with its distribution of round trips.
type longest struct {
	Nominal  float64   `json:"nominal"`
	Spectrum []float64 `json:"spectrum"`
	OverTime []float64 `json:"over"`
	Step     float64   `json:"step"` // seconds between two values over time
}

// point is a trial.
type point struct {
	Level     int     `json:"n"`
	Phase     string  `json:"phase"`
	Verdict   string  `json:"verdict"`
	Nominal   float64 `json:"nominal"`
	Delivered float64 `json:"delivered"`
	Sent      float64 `json:"sent"`
	Mean      float64 `json:"mean"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	FromSend  float64 `json:"fromSend"`
	CPU       float64 `json:"cpu"`
	RSS       float64 `json:"rss"`
	PerFrame  float64 `json:"perFrame"`
	PerRead   float64 `json:"perRead"`
	Busy      float64 `json:"busy"`
	Lag       float64 `json:"lag"`
}

// marks are the saturation points of 2011, by server.
type marks map[string][][2]float64

// Write writes the report of results.
func Write(w io.Writer, r *results.Measurement) error {
	marks, err := readMarks()
	if err != nil {
		return err
	}
	d := data{Base: r.Manifest.Base, Levels: r.Levels(), Quantiles: results.Quantiles, Marks: marks,
		Walls: walls(r), Equal: equalLoads(r), StandsAt: results.StandsText}
	for i := range r.Servers {
		d.Servers = append(d.Servers, newServer(r, &r.Servers[i], d.Levels))
	}
	slices.SortStableFunc(d.Servers, func(a, b server) int { return cmp.Compare(b.most(), a.most()) })
	text, err := json.Marshal(d) // which escapes what would end the script
	if err != nil {
		return err
	}
	p := page{
		Title: title(r), Question: question(r), When: when(r.Manifest), Machine: r.Manifest.Machine,
		Settings: settings(r), Servers: where(r.Manifest), Command: command(r.Manifest.Machine.Command),
		Findings: findings(r), Tables: tables(r),
		CSS:    inline("style", uplot.CSS, read("page.css")),
		Script: inline("script", uplot.Script, read("page.js")),
		Data:   template.JS(text), //nolint:gosec // our own
	}
	for _, s := range r.Manifest.Servers {
		if s.Skipped != "" {
			p.Skipped = append(p.Skipped, s)
		}
	}
	t, err := template.ParseFS(files, "page.html")
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// inline is texts in an element.
func inline(element string, texts ...string) template.HTML {
	return template.HTML( //nolint:gosec // our own
		"<" + element + ">\n" + strings.Join(texts, "\n") + "\n</" + element + ">")
}

// read is a file of the page.
func read(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

func readMarks() (marks, error) {
	f, err := files.Open("benchmark-2011.csv")
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	m := marks{}
	for _, row := range rows[1:] {
		n, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			return nil, err
		}
		for i, cell := range row[1:] {
			rate, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, err
			}
			name := rows[0][i+1]
			m[name] = append(m[name], [2]float64{n, rate})
		}
	}
	return m, nil
}

func newServer(r *results.Measurement, s *results.Server, levels []int) server {
	out := server{
		Name: s.Name, About: s.About, Version: s.ServerVersion(), Protocol: string(s.Protocol),
		Points: []point{}, Levels: []levelSummary{}, Longest: map[int]longest{},
	}
	for _, n := range levels {
		if x := newLevelSummary(r, s, n); x.Searches > 0 {
			out.Levels = append(out.Levels, x)
		}
	}
	for i := range s.Trials {
		t := &s.Trials[i]
		switch t.Phase {
		case results.PhaseIdle, results.PhaseWarm, results.PhaseProbe:
			continue
		}
		if t.Nominal == 0 {
			continue
		}
		out.Points = append(out.Points, newPoint(t))
		l, known := out.Longest[t.Connections]
		if t.Valid() && len(t.OverTime) > 0 && (!known || len(t.OverTime) >= len(l.OverTime)) {
			out.Longest[t.Connections] = longest{t.Nominal, t.Spectrum, t.OverTime, results.OverTimeStep.Seconds()}
		}
	}
	return out
}

func newLevelSummary(r *results.Measurement, s *results.Server, n int) levelSummary {
	x := levelSummary{LevelSummary: s.At(n)}
	x.Searches = len(x.LevelSummary.Searches)
	for _, f := range x.LevelSummary.Searches {
		x.Limits = append(x.Limits, string(f.Limit))
		x.Warnings = append(x.Warnings, f.Warnings...)
	}
	for _, at := range x.Strays {
		f := x.LevelSummary.Searches[at]
		x.Warnings = append(x.Warnings, fmt.Sprintf("block %d stands apart: %s/s", f.Block, results.Short(f.Rate)))
	}
	if f := x.Sustained; f.Failed > 0 {
		x.Failed = fmt.Sprintf("%d of %d failed", f.Failed, f.Of)
	}
	if c, ok := r.Ratio(s, n); ok {
		x.RatioMid, x.Ratio, x.Bound = c.Ratio, c.Interval, c.Bound
		x.Warnings = append(x.Warnings, c.Warnings...)
	}
	x.StandsAt = r.StandsAt(s, &x.LevelSummary)
	x.LevelSummary.Searches = nil
	return x
}

// most is the highest rate at which the server saturates.
func (s *server) most() (rate float64) {
	for _, l := range s.Levels {
		rate = max(rate, l.Rate.Median)
	}
	return rate
}

func newPoint(t *results.Trial) point {
	p := point{
		Level: t.Connections, Phase: string(t.Phase), Verdict: string(t.Verdict),
		Nominal: t.Nominal, Delivered: t.Delivered, Sent: t.SendRate,
		Mean: t.RTT.Mean, P50: t.RTT.P50, P99: t.RTT.P99, FromSend: t.RTTActual.Mean,
		PerFrame: t.MessagesPerFrame, PerRead: t.MessagesPerRead, Busy: t.Busiest(), Lag: t.LagP99,
	}
	if t.Server != nil {
		p.CPU, p.RSS = t.Server.CPU, float64(t.Server.RSS)
	}
	return p
}

func when(m results.Manifest) string {
	s := m.Started.Format(time.DateOnly)
	if end := m.Finished.Format(time.DateOnly); !m.Finished.IsZero() && end != s {
		s += " to " + end
	}
	return s
}

func where(m results.Manifest) string {
	if m.Suite == "" {
		return ""
	}
	s := fmt.Sprintf("each server on CPU %d, the load client on CPU %s", m.ServerCPU, m.ClientCPUs)
	if m.Blocks > 1 {
		s += fmt.Sprintf(", %d interleaved blocks", m.Blocks)
	}
	return s
}

// command is the command line that makes such results, with the program's name alone.
func command(args []string) string {
	if len(args) == 0 {
		return ""
	}
	words := []string{filepath.Base(args[0])}
	for _, a := range args[1:] {
		if strings.ContainsAny(a, " '\"$&|;<>()*?#~`\\") || a == "" {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// settings are the machine's, in a fixed order.
func settings(r *results.Measurement) []setting {
	m := r.Manifest.Machine
	all := []setting{
		{"CPU", fmt.Sprintf("%s, %d CPUs", m.CPU, m.CPUs)}, {"kernel", "Linux " + m.Kernel}, {"Go", m.Go},
		{"sockload", r.ClientVersion()},
	}
	for i := range r.Servers {
		all = append(all, setting{r.Servers[i].Name, r.Servers[i].ServerVersion()})
	}
	for _, from := range []map[string]string{m.Sysctls, m.Mitigations} {
		for _, name := range sortedKeys(from) {
			all = append(all, setting{name, from[name]})
		}
	}
	return all
}
