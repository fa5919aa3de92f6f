package results

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// exposed reads a file of metrics, which must be as Prometheus wants it.
func exposed(t *testing.T, path string) map[string]*dto.MetricFamily {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint() // what promtool check metrics says
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func labelsOf(m *dto.Metric) string {
	var all []string
	for _, l := range m.GetLabel() {
		all = append(all, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(all, " ")
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sockload.prom")
	p, err := NewPrometheus(path)
	if err != nil {
		t.Fatal(err)
	}
	made := Provenance{ClientVersion: "c1", ServerVersion: "s1", Block: 1}
	x := Trial{
		Provenance: made, Time: time.UnixMilli(1_700_000_000_500), Target: "ws://h:1/x", Protocol: SockJS,
		Connections: 25, Window: 3, Nominal: 2500, Delivered: 2490, Verdict: OK, Sent: 300, Received: 7470, Lost: 30,
		RTT:    Latency{Count: 300, Mean: 2, Min: 1, Max: 50, P50: 1.5, P90: 3, P99: 20, P999: 40},
		Server: &Usage{CPU: 0.5, RSS: 3 << 20, Anon: 2 << 20, File: 1 << 20, KernelSockets: 4096},
	}
	second := x
	second.Verdict, second.Server, second.RTT = Overloaded, nil, Latency{}
	p.Trial(&x, 1)
	p.Trial(&second, 2)
	best := x
	best.Provenance = Provenance{}
	p.Search(&Saturation{
		Provenance: made, Target: x.Target, Protocol: SockJS, Connections: 25, Profile: "quick", Rate: 1e6,
		Sustained: 9e5, MaxDelivered: 95e4, Limit: Overloaded, Trials: 20, Invalid: 2, Best: &best,
		Ceiling: &Ceiling{Delivered: 2e6, ClientBusy: []float64{0.5}},
	})
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	families := exposed(t, path)
	for _, tt := range []struct {
		name   string
		values []float64
	}{
		{"sockload_trial_timestamp_seconds", []float64{1_700_000_000.5, 1_700_000_000.5, 1_700_000_000.5}},
		{"sockload_trial_window_seconds", []float64{3, 3, 3}},
		{"sockload_trial_delivered_messages_per_second", []float64{2490, 2490, 2490}},
		{"sockload_trial_lost_messages", []float64{30, 30, 30}},
		{"sockload_trial_server_resident_memory_bytes", []float64{3 << 20, 3 << 20}},
		{"sockload_trial_kernel_socket_memory_bytes", []float64{4096, 4096}},
		{"sockload_search_saturation_messages_per_second", []float64{1e6}},
		{"sockload_search_ceiling_messages_per_second", []float64{4e6}},
		{"sockload_search_overload_messages_per_second", nil},
		{"sockload_search_invalid_trials", []float64{2}},
	} {
		var got []float64
		for _, m := range families[tt.name].GetMetric() {
			got = append(got, m.GetGauge().GetValue())
		}
		if len(got) != len(tt.values) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.values)
			continue
		}
		for i := range got {
			if got[i] != tt.values[i] {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.values)
			}
		}
	}
	for name, want := range map[string][]string{
		"sockload_trial_info": {
			"client_version=c1 connections=25 protocol=sockjs server_version=s1 target=ws://h:1/x trial=1 verdict=OK",
			"client_version=c1 connections=25 protocol=sockjs server_version=s1 target=ws://h:1/x trial=2 " +
				"verdict=OVERLOADED",
			"client_version=c1 connections=25 protocol=sockjs server_version=s1 target=ws://h:1/x trial=best " +
				"verdict=OK",
		},
		"sockload_search_info": {"client_version=c1 connections=25 limit=OVERLOADED profile=quick protocol=sockjs " +
			"server_version=s1 target=ws://h:1/x"},
		"sockload_trial_window_seconds": {
			"connections=25 protocol=sockjs target=ws://h:1/x trial=1",
			"connections=25 protocol=sockjs target=ws://h:1/x trial=2",
			"connections=25 protocol=sockjs target=ws://h:1/x trial=best",
		},
	} {
		var got []string
		for _, m := range families[name].GetMetric() {
			got = append(got, labelsOf(m))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	trips := families["sockload_trial_round_trip_seconds"].GetMetric()
	if len(trips) != 2 { // the second trial has none
		t.Fatalf("%d summaries of round trips", len(trips))
	}
	s := trips[0].GetSummary()
	if s.GetSampleCount() != 300 || s.GetSampleSum() != 0.6 || len(s.GetQuantile()) != 6 ||
		s.GetQuantile()[3].GetQuantile() != 0.99 || s.GetQuantile()[3].GetValue() != 0.02 {
		t.Errorf("%v", s)
	}
}

// A file is replaced as a whole and only when there is something; nothing is left beside it.
func TestPrometheusFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "sockload.prom")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close() //nolint:errcheck // only read from
	p, err := NewPrometheus(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "old" {
		t.Errorf("without results: %q %v", text, err)
	}
	p.Trial(&Trial{Verdict: OK}, 1)
	if err := p.Write(); err != nil {
		t.Fatal(err)
	}
	exposed(t, path)
	text := make([]byte, 3)
	if _, err := old.Read(text); err != nil || string(text) != "old" {
		t.Errorf("a reader of the old file has %q %v", text, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	for path, want := range map[string]string{
		dir:                            "is no regular file",
		"/dev/null":                    "is no regular file",
		filepath.Join(dir, "no", "no"): "no such file",
	} {
		if _, err := NewPrometheus(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
