package admin_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// scrape is what the admin plane exports, in the format in which Prometheus asks for native histograms.
func (r *running) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", string(format))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	families := map[string]*dto.MetricFamily{}
	for d := expfmt.NewDecoder(resp.Body, format); ; {
		f := &dto.MetricFamily{}
		if err := d.Decode(f); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			t.Fatal(err)
		}
		families[f.GetName()] = f
	}
}

// carrying is a server that has carried one message to one client.
func carrying(t *testing.T) *running {
	t.Helper()
	r := start(t, server.Config{Broker: silent{}}, admin.Options{})
	c := r.join(t)
	c.send(t, "hello")
	c.expect(t, "hello")
	return r
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := carrying(t)
	families := r.scrape(t)
	for name, want := range map[string]float64{
		"sockloop_up": 1, "sockloop_sockets": 1, "sockloop_sockets_max": 100, "sockloop_messages_received_total": 1,
		"sockloop_messages_delivered_total": 1, "sockloop_turn_target_seconds": 0.2, "sockloop_build_info": 1,
	} {
		m := families[name].GetMetric()
		if len(m) != 1 || m[0].GetGauge().GetValue()+m[0].GetCounter().GetValue() != want {
			t.Errorf("%s: got %v, want %v", name, m, want)
		}
	}
	for _, m := range families["sockloop_connections"].GetMetric() {
		want := 0.0
		if m.GetLabel()[0].GetValue() == server.TransportRawWebSocket {
			want = 1
		}
		if m.GetGauge().GetValue() != want {
			t.Errorf("connections: %v", m)
		}
	}
	if n := len(families["sockloop_connections"].GetMetric()); n != len(server.Transports()) {
		t.Errorf("connections by %d transports", n)
	}
	h := families["sockloop_batch_messages"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 1 || h.GetSampleSum() != 1 || h.GetSchema() != server.HistogramSchema ||
		len(h.GetPositiveSpan()) != 1 || h.GetPositiveDelta()[0] != 1 || h.GetPositiveSpan()[0].GetOffset() != 0 {
		t.Errorf("one batch of one message: %v", h)
	}
	if families["process_cpu_seconds_total"] == nil || families["go_goroutines"] == nil {
		t.Error("nothing of the process and the runtime")
	}
}

// Names, units and help are as Prometheus's conventions have them.
func TestMetricsFollowConventions(t *testing.T) {
	t.Parallel()
	r := carrying(t)
	text := r.want(t, 200, "", "GET", "/metrics", "").body
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// docs/operation.md describes each metric with its type and labels, and no other.
func TestOperationDescribesEveryMetric(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Metrics\n")
	table, _, _ = strings.Cut(table, "\n## ")
	described := map[string]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `sockloop_") && len(cells) == 3 {
			described[strings.Trim(cells[0], "| `")] = cells[1]
		}
	}
	for name, f := range carrying(t).scrape(t) {
		if !strings.HasPrefix(name, "sockloop_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		if kind := strings.ToLower(f.GetType().String()); described[name] != kind {
			t.Errorf("%s is a %s, and described as %q", name, kind, described[name])
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("%s is described, and is not exported", name)
	}
}
