package results

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Prometheus gathers results as metrics, for node_exporter's textfile collector or a push. All are gauges but the
// distributions: what was measured does not grow from one run to the next, as a counter would. Round trips are
// summaries and no histograms, because their quantiles are known, and known better than buckets could tell; that
// summaries of several processes cannot be added up matters to nobody here.
type Prometheus struct {
	path    string
	metrics []prometheus.Metric
}

// NewPrometheus is for a file that can be written to.
func NewPrometheus(path string) (*Prometheus, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file, so another cannot take its place", path)
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return &Prometheus{path: path}, nil
}

// Describe tells nothing, so that a registry compares what is collected.
func (p *Prometheus) Describe(chan<- *prometheus.Desc) {}

// Collect sends what was added.
func (p *Prometheus) Collect(to chan<- prometheus.Metric) {
	for _, m := range p.metrics {
		to <- m
	}
}

// Write puts the metrics into the file, at once and as a whole. Without any the file stays as it was.
func (p *Prometheus) Write() error {
	if len(p.metrics) == 0 {
		return nil
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(p); err != nil {
		return err
	}
	return prometheus.WriteToTextfile(p.path, registry)
}

// gauge is a metric of a T; ok tells whether there is one.
type gauge[T any] struct {
	name, help string
	value      func(*T) (v float64, ok bool)
}

func always[T any](value func(*T) float64) func(*T) (float64, bool) {
	return func(x *T) (float64, bool) { return value(x), true }
}

// positive is a rate that is 0 when there is none.
func positive[T any](value func(*T) float64) func(*T) (float64, bool) {
	return func(x *T) (float64, bool) { v := value(x); return v, v > 0 }
}

func ofServer(value func(*Usage) float64) func(*Trial) (float64, bool) {
	return func(t *Trial) (float64, bool) {
		if t.Server == nil {
			return 0, false
		}
		return value(t.Server), true
	}
}

var trialGauges = []gauge[Trial]{
	{"timestamp_seconds", "When the trial's window began, since 1970.",
		always(func(t *Trial) float64 { return float64(t.Time.UnixMilli()) / 1000 })},
	{"window_seconds", "Length of the trial's window.", always(func(t *Trial) float64 { return t.Window })},
	{"nominal_messages_per_second", "Messages due a second × connections that hear a message.",
		always(func(t *Trial) float64 { return t.Nominal })},
	{"delivered_messages_per_second", "Messages received in the window, over all connections.",
		always(func(t *Trial) float64 { return t.Delivered })},
	{"sent_messages", "Messages sent.", always(func(t *Trial) float64 { return float64(t.Sent) })},
	{"expected_messages", "Messages sent × connections that hear a message.",
		always(func(t *Trial) float64 { return float64(t.Expected) })},
	{"received_messages", "Messages received until the drain ended, over all connections.",
		always(func(t *Trial) float64 { return float64(t.Received) })},
	{"lost_messages", "Messages lost, over all connections.",
		always(func(t *Trial) float64 { return float64(t.Lost) })},
	{"duplicated_messages", "Messages received once too often.",
		always(func(t *Trial) float64 { return float64(t.Duplicated) })},
	{"reordered_messages", "Messages received behind a later one of the same sender.",
		always(func(t *Trial) float64 { return float64(t.Reordered) })},
	{"foreign_messages", "Messages received that are not of the trial.",
		always(func(t *Trial) float64 { return float64(t.Foreign) })},
	{"not_completed_messages", "Messages missing when the drain ended: lost, or later than that.",
		always(func(t *Trial) float64 { return float64(t.NotCompleted) })},
	{"client_busy_ratio", "Share of the window in which the load client's busiest worker was.",
		always((*Trial).Busiest)},
	{"server_cpu_ratio", "CPU seconds that the server used a second; 1 is one core.",
		ofServer(func(u *Usage) float64 { return u.CPU })},
	{"server_resident_memory_bytes", "Resident memory of the server.",
		ofServer(func(u *Usage) float64 { return float64(u.RSS) })},
	{"server_anonymous_memory_bytes", "Memory of the server that no file backs.",
		ofServer(func(u *Usage) float64 { return float64(u.Anon) })},
	{"server_file_memory_bytes", "Resident pages of files of the server.",
		ofServer(func(u *Usage) float64 { return float64(u.File) })},
	{"kernel_socket_memory_bytes", "Memory of all TCP sockets of the machine.",
		ofServer(func(u *Usage) float64 { return float64(u.KernelSockets) })},
}

var trialSummaries = []struct {
	name, help string
	value      func(*Trial) *Latency
}{
	{"round_trip_seconds", "Round trips from when the message was due.",
		func(t *Trial) *Latency { return &t.RTT }},
	{"round_trip_from_send_seconds", "Round trips from when the message was sent.",
		func(t *Trial) *Latency { return &t.RTTActual }},
	{"arrival_seconds", "From when a message was due until a receiver had it, over a sample.",
		func(t *Trial) *Latency { return &t.Arrival }},
}

var searchGauges = []gauge[Saturation]{
	{"timestamp_seconds", "When the search ended, since 1970.",
		always(func(s *Saturation) float64 { return float64(s.Time.UnixMilli()) / 1000 })},
	{"saturation_messages_per_second", "Nominal rate at which the server saturates, or a lower bound: see the limit.",
		always(func(s *Saturation) float64 { return s.Rate })},
	{"sustained_messages_per_second", "Highest nominal rate that was carried with flat round trips.",
		always(func(s *Saturation) float64 { return s.Sustained })},
	{"delivered_messages_per_second", "Most that was really received in a window.",
		always(func(s *Saturation) float64 { return s.MaxDelivered })},
	{"overload_messages_per_second", "Lowest nominal rate at which a trial had to be given up.",
		positive(func(s *Saturation) float64 { return s.Overload })},
	{"ceiling_messages_per_second", "What the load client itself can receive at this level.",
		positive(func(s *Saturation) float64 {
			if s.Ceiling == nil {
				return 0
			}
			return s.Ceiling.Rate()
		})},
	{"trials", "Trials that were made.", always(func(s *Saturation) float64 { return float64(s.Trials) })},
	{"invalid_trials", "Trials that said nothing of the server.",
		always(func(s *Saturation) float64 { return float64(s.Invalid) })},
}

// Trial adds a trial, by its number among those of a command.
func (p *Prometheus) Trial(t *Trial, number int) { p.trial(t, strconv.Itoa(number)) }

// bestTrial is the number of the trial that a search gives as its best.
const bestTrial = "best"

func (p *Prometheus) trial(t *Trial, number string) {
	l := labels("sockload_trial_", t.Target, t.Protocol, t.Connections)
	l.values["trial"] = number
	p.info(l, "Which programs made the trial, and what it is good for.", t.Provenance,
		prometheus.Labels{"verdict": string(t.Verdict)})
	for _, g := range trialGauges {
		if v, ok := g.value(t); ok {
			p.gauge(l, g.name, g.help, v)
		}
	}
	for _, s := range trialSummaries {
		if x := s.value(t); x.Count > 0 {
			p.metrics = append(p.metrics, prometheus.MustNewConstSummary(
				l.describe(s.name, s.help), uint64(x.Count), float64(x.Count)*x.Mean/1000, map[float64]float64{
					0: x.Min / 1000, 0.5: x.P50 / 1000, 0.9: x.P90 / 1000, 0.99: x.P99 / 1000, 0.999: x.P999 / 1000,
					1: x.Max / 1000,
				}))
		}
	}
}

// Search adds what a search found, and its best trial.
func (p *Prometheus) Search(s *Saturation) {
	l := labels("sockload_search_", s.Target, s.Protocol, s.Connections)
	p.info(l, "Which programs made the search, and what ended it.", s.Provenance,
		prometheus.Labels{"limit": string(s.Limit), "profile": s.Profile})
	for _, g := range searchGauges {
		if v, ok := g.value(s); ok {
			p.gauge(l, g.name, g.help, v)
		}
	}
	if s.Best != nil {
		best := *s.Best
		best.Provenance = s.Provenance
		p.trial(&best, bestTrial)
	}
}

// labeled is what the names of metrics begin with, and the labels of all of them.
type labeled struct {
	prefix string
	values prometheus.Labels
}

func labels(prefix, target string, protocol Protocol, connections int) labeled {
	return labeled{prefix, prometheus.Labels{
		"target": target, "protocol": string(protocol), "connections": strconv.Itoa(connections),
	}}
}

func (l labeled) describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(l.prefix+name, help, nil, l.values)
}

func (p *Prometheus) gauge(l labeled, name, help string, v float64) {
	p.metrics = append(p.metrics,
		prometheus.MustNewConstMetric(l.describe(name, help), prometheus.GaugeValue, v))
}

// info adds what is said in words, as labels of a metric that is always 1.
func (p *Prometheus) info(l labeled, help string, made Provenance, words prometheus.Labels) {
	words["client_version"], words["server_version"] = made.ClientVersion, made.ServerVersion
	for name, value := range l.values {
		words[name] = value
	}
	p.gauge(labeled{l.prefix, words}, "info", help, 1)
}
