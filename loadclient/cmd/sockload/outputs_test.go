package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

// What a trial gives to other tools is what it says itself.
func TestTrialForOtherTools(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	dir := t.TempDir()
	metrics, log := filepath.Join(dir, "x.prom"), filepath.Join(dir, "x.hlog")
	var out, notes bytes.Buffer
	err := run(t.Context(), []string{
		"trial", "--target", r.URL(), "--connections", "3", "--rate", "300", "--window", "100ms", "--count", "2",
		"--json", "--prometheus", metrics, "--hdr", log,
	}, &out, &notes)
	if err != nil && !errors.Is(err, errInvalid) { // a machine that is busy with other tests may well be the limit
		t.Fatal(err)
	}
	text, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil || len(families["sockload_trial_round_trip_seconds"].GetMetric()) != 2 {
		t.Fatalf("%v\n%s", err, text)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	intervals := hdrhistogram.NewHistogramLogReader(f)
	said := json.NewDecoder(&out)
	for i := range 2 {
		var x results.Trial
		if err := said.Decode(&x); err != nil {
			t.Fatal(err)
		}
		s := families["sockload_trial_round_trip_seconds"].GetMetric()[i].GetSummary()
		if s.GetSampleCount() != uint64(x.RTT.Count) || math.Abs(s.GetQuantile()[3].GetValue()*1000-x.RTT.P99) > 1e-9 {
			t.Errorf("%v, want %+v", s, x.RTT)
		}
		h, err := intervals.NextIntervalHistogram()
		if err != nil || h == nil || h.TotalCount() != x.RTT.Count || h.StartTimeMs()/2 != x.Time.UnixMilli()/2 {
			t.Fatalf("%+v %v, want %+v", h, err, x)
		}
		for q, ms := range map[float64]float64{50: x.RTT.P50, 90: x.RTT.P90, 99: x.RTT.P99, 100: x.RTT.Max} {
			if ns := float64(h.ValueAtQuantile(q)); math.Abs(ns/1e6-ms) > ms/1000 {
				t.Errorf("%v %% are %v ns, want %v ms", q, ns, ms)
			}
		}
	}
}

// A run gives a histogram for each trial with round trips, and metrics of what it found.
func TestRunForOtherTools(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	dir := t.TempDir()
	metrics, log, file := filepath.Join(dir, "x.prom"), filepath.Join(dir, "x.hlog"), filepath.Join(dir, "x.jsonl")
	var out, notes bytes.Buffer
	err := run(t.Context(), []string{
		"run", "--target", r.URL(), "--levels", "2", "--window", "100ms", "--threshold", "20ms", "--overload", "100ms",
		"--confirm", "100ms", "--curve", "0.5", "--precision", "1", "--drain", "300ms", "--no-ceiling",
		"--out", file, "--prometheus", metrics, "--hdr", log,
	}, &out, &notes)
	if err != nil && !errors.Is(err, errInvalid) {
		t.Fatal(err)
	}
	records, err := results.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trips := int64(0)
	for _, x := range records {
		if x.Trial != nil {
			trips += x.Trial.RTT.Count
		}
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	for intervals := hdrhistogram.NewHistogramLogReader(f); ; {
		h, err := intervals.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			break
		}
		trips -= h.TotalCount()
	}
	if trips != 0 {
		t.Errorf("%d round trips are missing in the log", trips)
	}
	text, err := os.ReadFile(metrics)
	if err != nil || !strings.Contains(string(text), `sockload_search_info{`) ||
		!strings.Contains(string(text), `trial="best"`) {
		t.Errorf("%v\n%s", err, text)
	}
}
