package admin_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

const deployed = "../../deploy/"

// tool is the path of a program; without it the test is skipped.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: %s)", name, debian)
	}
	return path
}

type alert struct {
	Alert       string
	Expr        string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(deployed + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("%v in %d groups", err, len(file.Groups))
	}
	return file.Groups[0].Rules
}

// panel is one of the dashboard's.
type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
}

// charted are the expressions of the dashboard, with values for its variables.
func charted(t *testing.T) (expressions []string) {
	t.Helper()
	text, err := os.ReadFile(deployed + "grafana/sockloop.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$job", "sockloop", "$instance", ".*", "$__rate_interval", "1m")
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			expressions = append(expressions, fill.Replace(target.Expr))
		}
	}
	return expressions
}

// The rules are what promtool takes, and say what they are tested to say.
func TestAlertsWithPromtool(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		c := exec.CommandContext(t.Context(), promtool, args...)
		c.Dir = deployed + "prometheus"
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each alert is explained in docs/operation.md, where its link leads, and tested.
func TestAlertsAreExplained(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/operation.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(deployed + "prometheus/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	explained := regexp.MustCompile(`\n### (Sockloop\w+)\n`).FindAllStringSubmatch(string(doc), -1)
	all := alerts(t)
	if len(explained) != len(all) {
		t.Errorf("%d alerts are explained, and there are %d", len(explained), len(all))
	}
	for i, a := range all {
		if i < len(explained) && explained[i][1] != a.Alert {
			t.Errorf("docs/operation.md has %s in the place of %s", explained[i][1], a.Alert)
		}
		if !strings.HasSuffix(a.Annotations["runbook_url"], "docs/operation.md#"+strings.ToLower(a.Alert)) {
			t.Errorf("%s: the runbook is %s", a.Alert, a.Annotations["runbook_url"])
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s has no summary or no description", a.Alert)
		}
		if !strings.Contains(string(tests), a.Alert) {
			t.Errorf("%s is not tested", a.Alert)
		}
	}
}

// What the alerts and the dashboard name is exported.
func TestAlertsAndDashboardNameMetrics(t *testing.T) {
	t.Parallel()
	expressions := charted(t)
	for _, a := range alerts(t) {
		expressions = append(expressions, a.Expr)
	}
	families := carrying(t).scrape(t)
	named := regexp.MustCompile(`\b(?:sockloop|process|go)_\w+`)
	for _, e := range expressions {
		names := named.FindAllString(e, -1)
		if len(names) == 0 && !strings.HasPrefix(e, "up{") {
			t.Errorf("no metric in %s", e)
		}
		for _, name := range names {
			if families[name] == nil {
				t.Errorf("%s is not exported, in %s", name, e)
			}
		}
	}
}

// prometheus is a real Prometheus that scrapes a server.
type prometheus struct{ url string }

const prometheusConfig = `
global: {scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: sockloop
    authorization: {credentials: %s}
    static_configs: [{targets: [%s]}]
`

func startPrometheus(t *testing.T, target, token string) *prometheus {
	t.Helper()
	path := tool(t, "prometheus", "prometheus")
	rules, err := filepath.Abs(deployed + "prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yaml")
	text := fmt.Sprintf(prometheusConfig, rules, token, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	c := exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--enable-feature=native-histograms")
	var log strings.Builder
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return &prometheus{"http://" + addr}
}

// sample is a series and its value at the moment: a number, or a histogram.
type sample struct {
	Metric    map[string]string
	Value     []any
	Histogram []any
}

// query asks until the answer is not empty, and the server is ready at all.
func (p *prometheus) query(t *testing.T, expr string, wait bool) []sample {
	t.Helper()
	var why string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err != nil {
			why = err.Error()
			continue
		}
		var answer struct {
			Status string
			Error  string
			Data   struct{ Result []sample }
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err == nil && answer.Status == "error" {
			t.Fatalf("%s: %s", expr, answer.Error)
		}
		if err == nil && answer.Status == "success" && (!wait || len(answer.Data.Result) > 0) {
			return answer.Data.Result
		}
		why = fmt.Sprintf("%v %+v", err, answer)
	}
	t.Fatalf("%s: waited in vain: %s", expr, why)
	return nil
}

// A real Prometheus scrapes a server, with a token, and understands what it says.
func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	r := start(t, server.Config{}, admin.Options{Token: token})
	c := r.join(t)
	for range 3 {
		c.send(t, "hello")
		c.expect(t, "hello")
	}
	p := startPrometheus(t, strings.TrimPrefix(r.url, "http://"), token)
	got := p.query(t, `sockloop_messages_received_total{job="sockloop"}`, true)
	if len(got) != 1 || got[0].Value[1] != "3" {
		t.Errorf("messages received: %+v", got)
	}
	got = p.query(t, `sockloop_connections{transport="websocket-raw"}`, true)
	if len(got) != 1 || got[0].Value[1] != "1" {
		t.Errorf("connections: %+v", got)
	}
	got = p.query(t, `histogram_quantile(1, sockloop_batch_messages)`, true)
	if len(got) != 1 || got[0].Value[1] != "1" {
		t.Errorf("three batches of one message each: %+v", got)
	}
	got = p.query(t, `sockloop_turn_seconds`, true)
	if len(got) != 1 || len(got[0].Histogram) != 2 || got[0].Histogram[1].(map[string]any)["buckets"] == nil {
		t.Errorf("turns: %+v, want a native histogram", got)
	}
	for _, e := range charted(t) {
		p.query(t, e, false) // it is understood, whether or not there is enough to answer it
	}
}
