package report

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/benchmarks/chromium"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

var (
	picturesOf = flag.String("results", "", "folder of results to make pictures of")
	picturesTo = flag.String("pictures", "", "folder for the pictures")
	series     = flag.String("series", "", "the lines of the pictures; default: all")
	pictureOf  = flag.String("chart", "saturation", "the chart of the pictures")
	choices    = flag.String("choose", "", "what its selections are set to, such as cpu")
	allowOld   = flag.Bool("allow-old", false, "results without versions and blocks")
)

// made is what the records of a block say of who made them.
func made(block int) results.Provenance {
	return results.Provenance{ClientVersion: "7131663", ServerVersion: "8a3c3e1", Block: block}
}

// The report says with what speed the slowest of the searches was made.
func TestSpeedsAreFindings(t *testing.T) {
	t.Parallel()
	server := func(name string, work float64) results.Server {
		s, trials := search(1, 25, 1e6)
		for i := range trials {
			trials[i].Noise = &results.Noise{Work: work}
		}
		return results.Server{
			ManifestServer: results.ManifestServer{Name: name}, Searches: []results.Saturation{s}, Trials: trials,
		}
	}
	for work, want := range map[float64]finding{
		0:  {}, // not known
		22: {true, "at least 91 % in the trials that count, with slower at 25 connections."},
		40: {false, "at least 50 % in the trials that count, with slower at 25 connections. That is not to be"},
	} {
		all := []results.Server{server("faster", min(work, 20)), server("slower", work)}
		got := speeds(&results.Measurement{Servers: all})
		if want.Text == "" {
			if got != nil {
				t.Errorf("%+v of what is not known", got)
			}
			continue
		}
		if len(got) != 1 || got[0].Good != want.Good || !strings.Contains(got[0].Text, want.Text) {
			t.Errorf("%v µs: %+v, want %+v", work, got, want)
		}
	}
}

// search is what a search of a server with a capacity finds, and its trials.
func search(block, connections int, capacity float64) (s results.Saturation, trials []results.Trial) {
	trial := func(phase results.Phase, share, rtt float64, v results.Verdict) results.Trial {
		t := results.Trial{
			Provenance: made(block), Connections: connections, Phase: phase, Verdict: v, Window: 3,
			Nominal: share * capacity, Delivered: min(share, 1) * capacity,
			SendRate: share * capacity / float64(connections),
			RTT:      results.Latency{Mean: rtt, P50: rtt, P99: 3 * rtt}, RTTActual: results.Latency{Mean: rtt},
			MessagesPerFrame: 2, MessagesPerRead: 5, ClientBusy: []float64{0.5}, LagP99: 0.1,
			Server: &results.Usage{
				CPU: min(share, 1), RSS: int64(10e6 + 1000*connections), Anon: 8e6, File: 2e6, KernelSockets: 66e6,
			},
		}
		for q := range results.Quantiles {
			t.Spectrum = append(t.Spectrum, rtt*float64(q+1))
		}
		for range 30 {
			t.OverTime = append(t.OverTime, rtt)
		}
		return t
	}
	trials = []results.Trial{
		trial(results.PhaseIdle, 0, 0, results.OK), trial(results.PhaseBracket, 1.1, 150, results.OK),
		trial(results.PhaseBracket, 1.15, 230, results.Overloaded), trial(results.PhaseConfirm, 0.98, 10, results.OK),
		trial(results.PhaseCurve, 0.55, 2, results.OK), trial(results.PhaseCurve, 1.3, 500, results.ClientLimited),
		trial(results.PhaseCurve, 2, 1600, results.Overloaded),
	}
	return results.Saturation{
		Provenance: made(block), Connections: connections, Protocol: results.SockJS,
		Rate: 1.13 * capacity, Held: 1.1 * capacity, Fell: 1.15 * capacity,
		Sustained: 0.98 * capacity, MaxDelivered: capacity, Best: &trials[3], Limit: results.Overloaded,
	}, trials
}

// folder writes a folder of results as a benchmark does. At 2000 connections the last block of "slow" ends with a
// failure of the server, and sustains nothing.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, records ...results.Record) {
		var b bytes.Buffer
		for _, x := range records {
			if err := results.NewWriter(&b).Write(x); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name+".jsonl"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := results.Manifest{
		Machine: results.Machine{
			Time: time.Now(), Command: []string{"/x/bin/benchmarks", "--suite", "peers & more"},
			Machine: tuning.Machine{CPU: "A </script> CPU", CPUs: 2, Kernel: "6"},
		},
		Suite: "peers", Base: "slow", ClientCPUs: "1", Blocks: 3, Started: time.Now(), Finished: time.Now(),
	}
	for name, capacity := range map[string]float64{"fast": 150e6, "fast-again": 151e6, "slow": 45_000,
		"fixed": 200_000} {
		server := results.ManifestServer{Name: name, About: "a <b>server</b>"}
		if name == "fixed" {
			server.Capacity = 201_000
		}
		m.Servers = append(m.Servers, server)
		var records []results.Record
		for block := range 3 {
			for _, n := range results.LevelsOf2011 {
				s, trials := search(block+1, n, capacity*(1+0.01*float64(block)-0.01)*(1+float64(n-25)/4000))
				if name == "slow" && n == 2000 && block == 2 {
					s.Limit, s.Sustained = results.TargetFailed, 0
				}
				for i := range trials {
					records = append(records, results.Record{Trial: &trials[i]})
				}
				records = append(records, results.Record{Saturation: &s})
			}
		}
		write(name, records...)
	}
	m.Servers = append(m.Servers, results.ManifestServer{Name: "absent", Skipped: "node is not there"})
	var ceilings []results.Record
	for _, n := range results.LevelsOf2011 {
		ceilings = append(ceilings, results.Record{Ceiling: &results.Ceiling{
			Connections: n, Shape: results.Coalesced, Delivered: 300e6, ClientBusy: []float64{1},
		}})
	}
	write("ceiling", ceilings...)
	var walls []results.Record
	for _, n := range results.LevelsOf2011 {
		walls = append(walls, results.Record{Wall: &results.Wall{Block: 1, Connections: n, BytesRate: 5e9}})
	}
	write("wall", walls...)
	if err := m.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write makes the report of a folder, and returns its path.
func write(t *testing.T, dir string) string {
	t.Helper()
	r, err := results.Load(results.Options{AllowOld: *allowOld}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What the page says without its script.
func TestReport(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(write(t, folder(t)))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"A &lt;/script&gt; CPU", "benchmarks --suite &#39;peers &amp; more&#39;",
		"Not measured: absent, because node is not there",
		"936 of 1092 trials measured the server, 156 were CLIENT-LIMITED",
		"156 saturation points: at 155 the server got slow, at 1 200 ms was not reached, because it broke connections",
		"At most 75 % of the load client&#39;s own ceiling was used (fast-again, 2000 connections)",
		"A server whose capacity is 201000 messages/s was found to have 200000 at 25 connections (-0.5 %)",
		"fast compared with itself at 25 connections: ratio 1.007, interval of 75 %",
		`"StandsAt":"`, `"stands_at":"What a saturation stands at`,
		"<tr><th>sockload</th><td>7131663</td></tr>", "<tr><th>fast</th><td>8a3c3e1</td></tr>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, bad := range []string{"<script src", "<link rel=\"stylesheet", "@import", "url(http", "a <b>server</b>"} {
		if strings.Contains(page, bad) {
			t.Errorf("it has %q", bad)
		}
	}
	if n := strings.Count(page, "</script>"); n != 2 {
		t.Errorf("%d scripts end", n)
	}
}

// Where nothing was searched the page has the tables and one chart, and complains of nothing.
func TestReportOfEqualLoads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var b bytes.Buffer
	err := results.NewWriter(&b).Write(results.Record{Trial: &results.Trial{
		Provenance: made(1), Connections: 2000, Phase: results.PhaseEqual, Verdict: results.OK, Window: 10,
		Nominal: 1e6, Delivered: 1e6, RTT: results.Latency{Mean: 1.25},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "one.jsonl"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tab := chromium.Open(t, chromium.Start(t), time.Minute, "file://"+write(t, dir))
	tab.Until(t, "document.querySelector('#equal-1 h2').textContent === "+
		"'Equal load: 1 million messages a second, nominal, at 2000 connections'")
	tab.Until(t, "document.querySelector('#equal-1 tbody td + td').textContent === '1.25'")
	tab.Until(t, "document.querySelectorAll('.plot canvas').length === 1 && !!document.querySelector('#equal canvas')")
	tab.Until(t, "document.title === 'Servers under the same load' && !/ceiling|200 ms/.test(document.body.innerText)")
	if c := tab.Complaints(); len(c) > 0 {
		t.Errorf("complaints: %s", strings.Join(c, "\n"))
	}
}

var charts = []string{"saturation", "rtt", "delivered", "memory", "cpu", "spectrum", "time", "batching", "client"}

// The page in a real browser, from a file: it draws, its controls do what they say, it asks for nothing, and complains
// of nothing.
func TestReportInABrowser(t *testing.T) {
	t.Parallel()
	path := write(t, folder(t))
	browser := chromium.Start(t)
	tab := chromium.Open(t, browser, time.Minute, "file://"+path)
	for _, l := range chromium.Looks {
		tab.Show(t, l)
		tab.Until(t, "document.querySelectorAll('.plot canvas').length === %d", len(charts))
		tab.Until(t, "document.documentElement.scrollWidth <= innerWidth")
		dark, err := chromium.Await[bool](tab, "getComputedStyle(document.body).backgroundColor === 'rgb(18, 22, 27)'")
		if err != nil || dark != l.Dark {
			t.Errorf("%s: dark %v %v", l.Name, dark, err)
		}
	}
	tab.Show(t, chromium.Looks[0])
	tab.Until(t, "document.querySelectorAll('#table tbody tr').length === 4")
	for _, row := range [][]string{
		{"fast-again", "255M/s", "226M/s", "×3.36k", "75 %"},               // nominal, delivered, ratio, its confidence
		{"slow", "76k/s †", "67.2k/s", "65.2k/s (1 of 3 failed)", "12 MB"}, // 200 ms was not reached; a zero counts
	} {
		for _, text := range row {
			tab.Until(t, "[...document.querySelectorAll('#table tbody tr')].some((r) => "+
				"r.querySelector('b').textContent === '%s' && r.innerText.includes('%s'))", row[0], text)
		}
	}
	tab.Do(t, `window.image = (id) => document.querySelector('#' + id + ' canvas').toDataURL();
		window.change = (select, value) => { select.value = value; select.dispatchEvent(new Event('change')); };
		window.differs = (id, act) => { const before = image(id); act();
			return new Promise((r) => setTimeout(() => r(image(id) !== before), 100)); }`)
	differs := func(what, id, act string) {
		t.Helper()
		if got, err := chromium.Await[bool](tab, "differs('%s', () => { %s })", id, act); err != nil || !got {
			t.Errorf("%s: %s is drawn as before (%v)", what, id, err)
		}
	}
	for _, id := range charts {
		differs("linear", id, fmt.Sprintf("const s = document.querySelectorAll('#%s .controls select'); const y = "+
			"s[s.length - 1]; change(y, y.value === 'log' ? 'lin' : 'log')", id))
		differs("a series off", id, fmt.Sprintf("document.querySelector('#%s .keys input').click()", id))
		differs("a series on", id, fmt.Sprintf("document.querySelector('#%s .keys input').click()", id))
	}
	differs("another server", "rtt", "change(document.querySelector('#rtt select'), 'slow')")
	differs("delivered", "saturation", "change(document.querySelector('#saturation select'), 'delivered')")
	differs("anonymous memory", "memory", "change(document.querySelectorAll('#memory select')[1], 'Anon')")
	differs("another level", "delivered", "change(document.querySelector('#delivered select'), '25')")
	drag := `const over = document.querySelector('#delivered .u-over'), box = over.getBoundingClientRect();
		const at = (type, x, y, on) => on.dispatchEvent(new MouseEvent(type, {bubbles: true,
			clientX: box.left + x * box.width, clientY: box.top + y * box.height, button: 0, movementX: 1}));
		at('mousemove', 0.3, 0.3, over); at('mousedown', 0.3, 0.3, over); at('mousemove', 0.7, 0.8, over);
			at('mouseup', 0.7, 0.8, document)`
	differs("zoom", "delivered", drag)
	differs("all again", "delivered", "document.querySelector('#delivered .u-over').dispatchEvent(new "+
		"MouseEvent('dblclick', {bubbles: true}))")
	tab.Do(t, `{ const over = document.querySelector('#memory .u-over'), box = over.getBoundingClientRect();
		for (let x = 0; x < box.width; x += 5) for (let y = 0; y < box.height; y += 5) {
			if (document.querySelector('#memory .tip').style.display === 'block') continue;
			over.dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: box.left + x,
				clientY: box.top + y}));
		} }`)
	tab.Until(t, "/MB/.test(document.querySelector('#memory .tip').textContent)")
	table, err := chromium.Await[string](tab,
		`new Promise((r) => { URL.createObjectURL = (blob) => { blob.text().then(r); return 'data:,'; };
		document.querySelector('#cpu button').click(); })`)
	if lines := strings.Split(strings.TrimSpace(table), "\n"); err != nil ||
		len(lines) != 1+4*len(results.LevelsOf2011) ||
		!strings.HasPrefix(lines[0], `"series","connections (1)","CPU for a million deliveries (s)"`) {
		t.Errorf("%v, %d lines: %.200s", err, len(lines), table)
	}
	if n, err := chromium.Await[int](tab, "performance.getEntriesByType('resource').filter((e) => "+
		"!e.name.startsWith('data:')).length"); err != nil || n != 0 {
		t.Errorf("it asked for %d resources (%v)", n, err)
	}
	if c := tab.Complaints(); len(c) > 0 {
		t.Errorf("complaints: %s", strings.Join(c, "\n"))
	}
}

// The pictures of README.md and docs are made of results in the repository: go test ./loadclient/report -run Pictures
// -results DIR -pictures DIR -series sockloop,goroutine. Of another chart: -chart equal -choose cpu
func TestPictures(t *testing.T) {
	t.Parallel()
	if *picturesOf == "" || *picturesTo == "" {
		t.Skip("no -results, no -pictures")
	}
	path := write(t, *picturesOf)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("<html lang"), []byte("<html class=picture lang"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tab := chromium.Open(t, chromium.Start(t), time.Minute, "file://"+path)
	tab.Do(t, "document.querySelectorAll('section').forEach((s) => "+
		"{ if (s.id !== %q && s.closest('#charts')) s.remove(); })", *pictureOf)
	if *choices != "" {
		tab.Do(t, "for (const wanted of %q.split(',')) document.querySelectorAll('.controls select').forEach((s) => "+
			"{ if ([...s.options].some((o) => o.value === wanted)) "+
			"{ s.value = wanted; s.dispatchEvent(new Event('change')); } })", *choices)
	}
	if *series != "" {
		tab.Do(t, "{ const wanted = %q.split(','); document.querySelectorAll('.keys label')"+
			".forEach((l) => { if (!wanted.includes(l.textContent)) l.querySelector('input').click(); }); }", *series)
	}
	name := strings.Trim(*pictureOf+"-"+*choices, "-")
	for _, l := range chromium.Looks[:2] {
		l.Height = 480
		tab.Show(t, l)
		tab.Do(t, "dispatchEvent(new Event('resize'))")
		tab.Until(t, "Math.abs(document.querySelector('.uplot').offsetWidth - "+
			"document.querySelector('.plot').clientWidth) < 2")
		if _, err := chromium.Await[bool](tab, "new Promise((r) => setTimeout(() => r(true), 500))"); err != nil {
			t.Fatal(err) // the colours follow an event of the browser's
		}
		file := name + "-" + strings.TrimPrefix(l.Name, "wide-") + ".png"
		if err := os.WriteFile(filepath.Join(*picturesTo, file), tab.Screenshot(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A ramp of connections that do nothing is a table, under a question of its own.
func TestRamp(t *testing.T) {
	t.Parallel()
	var records []results.Record
	for i, n := range []int{0, 1000, 2000} {
		step := results.IdleStep{
			Provenance: made(1), Step: i, Connections: n, Opened: min(n, 1000), Rate: 12_345, Failed: i,
			Handshake: results.Latency{Mean: 1.5, P99: 7},
			Server:    &results.Usage{RSS: 12e6, Anon: 8e6, File: 4e6},
		}
		if i > 0 {
			step.PerConnection = &results.ConnectionMemory{Anon: 1700, KernelSockets: 3400}
		}
		records = append(records, results.Record{Idle: &step})
	}
	page, summary := written(t, records)
	for _, want := range []string{
		"<h1>Connections that do nothing</h1>", "How many connections a second",
		"<td>sockloop</td><td>2000</td><td>12345</td><td>1.5</td><td>7</td><td>2</td><td>0</td>" +
			"<td>12 (8 &#43; 4)</td><td>1.7</td><td>3.4</td>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "0 of 0") {
		t.Error("trials are counted that nobody made")
	}
	row := "| sockloop | 1000 | 12345 | 1.5 | 7 | 1 | 0 | 12 (8 + 4) | 1.7 | 3.4 |"
	if !strings.Contains(summary, row) {
		t.Errorf("the summary lacks %s:\n%s", row, summary)
	}
}

// written is what records make: the report and the summary.
func written(t *testing.T, records []results.Record) (page, summary string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sockloop.jsonl")
	var b, p, s bytes.Buffer
	for _, r := range records {
		if err := results.NewWriter(&b).Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := results.Load(results.Options{}, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(&p, m); err != nil {
		t.Fatal(err)
	}
	m.WriteMarkdown(&s)
	return p.String(), s.String()
}

// Of several load clients each has a row, for the trial that counts.
func TestAgents(t *testing.T) {
	t.Parallel()
	found, trials := search(1, 100, 1e6)
	for i := range 2 {
		found.Best.Agents = append(found.Best.Agents, results.Agent{
			Addr: fmt.Sprintf("10.0.0.%d:7070", i), Connections: 50, Verdict: results.OK, Delivered: 4.9e5,
			RTT: results.Latency{Mean: 10.5, P99: 31}, LagP99: 0.2, ClientBusy: []float64{0.25, 0.5},
		})
	}
	records := []results.Record{{Saturation: &found}}
	for i := range trials {
		records = append(records, results.Record{Trial: &trials[i]})
	}
	page, summary := written(t, records)
	for i := range 2 {
		cells := []string{
			"sockloop", "100", "1", "980 thousand", fmt.Sprintf("10.0.0.%d:7070", i), "50", "490 thousand", "10.5",
			"31", "0.2", "0.5", "OK",
		}
		if row := "<td>" + strings.Join(cells, "</td><td>") + "</td>"; !strings.Contains(page, row) {
			t.Errorf("the page lacks %s", row)
		}
		if row := "| " + strings.Join(cells, " | ") + " |"; !strings.Contains(summary, row) {
			t.Errorf("the summary lacks %s:\n%s", row, summary)
		}
	}
}
