package results

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Only the last run in a file is gone on with, and only by the command that made it.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	run := func(command ...string) Record { return Record{Machine: &Machine{Command: command}} }
	level := func(n int) Record { return Record{Saturation: &Saturation{Connections: n}} }
	trial := Record{Trial: &Trial{}}
	for _, tt := range []struct {
		name    string
		records []Record
		want    int
	}{
		{"nothing", nil, 0},
		{"ours", []Record{run("a", "b"), trial, level(25), trial, level(100), trial}, 2},
		{"another's", []Record{run("a"), level(25)}, 0},
		{"another's behind ours", []Record{run("a", "b"), level(25), run("c"), level(25), level(100)}, 0},
		{"ours behind ours", []Record{run("a", "b"), level(25), level(100), run("a", "b"), level(25)}, 1},
	} {
		if got := Unfinished(tt.records, []string{"a", "b"}); len(got) != tt.want {
			t.Errorf("%s: %d searches, want %d", tt.name, len(got), tt.want)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := NewWriter(&b)
	for _, x := range []Record{{Machine: ThisMachine()}, {Trial: &Trial{Connections: 25, Verdict: OK}},
		{Saturation: &Saturation{Rate: 1e6}}} {
		if err := r.Write(x); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil || len(got) != 3 || got[1].Trial.Connections != 25 || got[2].Saturation.Rate != 1e6 ||
		got[0].Machine.CPUs == 0 {
		t.Errorf("%+v %v", got, err)
	}
	if !json.Valid(bytes.Split(b.Bytes(), []byte("\n"))[0]) {
		t.Error("a line is no JSON")
	}
}

// The seven columns of 2011, in their order, and behind them the nominal and the delivered rate.
func TestCSV(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	c, err := NewCSV(&b, false)
	if err != nil {
		t.Fatal(err)
	}
	x := Trial{Connections: 25, Nominal: 2500, Delivered: 2490, Window: 3, Sent: 303, SentLate: 3, Verdict: OK,
		RTTActual: Latency{Count: 303, Min: 0.6, Mean: 1.25, Max: 7.4, StdDev: 0.5}}
	limited := x
	limited.Verdict = ClientLimited
	for _, trial := range []Trial{x, limited} {
		if err := c.Write(trial); err != nil {
			t.Fatal(err)
		}
	}
	want := "concurrency,effective_rate,N,min,mean,max,stdev,nominal_rate,delivered_rate\n" +
		"25,100.000,303,1,1.250,7,0.500,2500.000,2490.000\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// What is no record is refused, and the line and the field are named; what came before it is kept.
func TestReadIsStrict(t *testing.T) {
	t.Parallel()
	const good = `{"saturation":{"connections":25,"client_version":"c","block":2}}`
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", good + "\nhello\n", "line 2: invalid character"},
		{"a field that no record has", good + "\n\n" + `{"saturation":{"speed":9}}`,
			`line 3: json: unknown field "speed"`},
		{"a record that nobody knows", good + "\n" + `{"weather":{}}`, `line 2: json: unknown field "weather"`},
		{"cut off", good + "\n" + `{"saturation":{"connec`, "line 2: unexpected EOF"},
		{"two on a line", good + "\n" + good + good, "line 2: something follows the record"},
		{"two in one", good + "\n" + `{"trial":{},"saturation":{}}`, "line 2: want one of machine, trial"},
		{"a step and a trial", good + "\n" + `{"idle":{},"hold":{}}`, "line 2: want one of machine, trial"},
		{"none in one", good + "\n{}", "line 2: want one of machine, trial"},
		{"no line end", good + "\n" + good, ""},
	} {
		got, err := Read(strings.NewReader(tt.text))
		if len(got) == 0 || got[0].Saturation.Block != 2 {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if tt.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestNextBlock(t *testing.T) {
	t.Parallel()
	if n := NextBlock(nil); n != 1 {
		t.Errorf("the first block is %d", n)
	}
	if n := NextBlock(records(found(1, 2))); n != 3 {
		t.Errorf("the block after the second is %d", n)
	}
}

// What was carried before a search was made again is a lower bound still, unless the server's own end was found then.
func TestSearchMadeAgain(t *testing.T) {
	t.Parallel()
	search := func(connections, block int, rate, fell float64, limit Verdict) Record {
		return Record{Saturation: &Saturation{
			Provenance: Provenance{Block: block}, Connections: connections, Rate: rate, Fell: fell, Limit: limit,
			Sustained: 200, SustainedUnmeasured: rate, MaxDelivered: rate - 1,
		}}
	}
	bound := func(rate, fell float64) Record { return search(25, 1, rate, fell, ClientLimited) }
	first, again := bound(244, 0), Record{Discarded: &Discarded{Connections: 25}}
	worse := search(25, 1, 223, 0, Noisy)
	sustained := bound(223, 0)
	sustained.Saturation.Sustained = 210
	for name, tt := range map[string]struct {
		then      []Record
		rates     []float64
		sustained float64 // by the first of them, as delivered
		delivered float64
	}{
		"nothing behind it":           {[]Record{again}, []float64{244}, 200, 243},
		"a worse bound":               {[]Record{again, worse}, []float64{244}, 200, 243},
		"a worse one, longer carried": {[]Record{again, sustained}, []float64{244}, 210, 243},
		"a better bound":              {[]Record{again, bound(250, 0)}, []float64{250}, 200, 249},
		"the server's end":            {[]Record{again, search(25, 1, 223, 230, Overloaded)}, []float64{223}, 200, 222},
		"what it had held fell":       {[]Record{again, bound(223, 230)}, []float64{223}, 200, 222},
		"what fell is higher":         {[]Record{again, bound(223, 250)}, []float64{244}, 200, 243},
		"another level between": {
			[]Record{again, search(100, 1, 400, 0, Noisy), worse}, []float64{244, 400}, 200, 243,
		},
		"another block behind": {[]Record{again, search(25, 2, 223, 0, Noisy)}, []float64{244, 223}, 200, 243},
		"an earlier block": {
			[]Record{search(25, 2, 230, 0, Noisy), again, bound(250, 0)}, []float64{250, 230}, 200, 249,
		},
		"not made again": {[]Record{again, worse, search(25, 2, 1, 0, Noisy)}, []float64{244, 1}, 200, 243},
	} {
		got := Searches(append([]Record{first}, tt.then...))
		var rates []float64
		for _, s := range got {
			rates = append(rates, s.Rate)
		}
		if !slices.Equal(rates, tt.rates) || got[0].Sustained != tt.sustained || got[0].MaxDelivered != tt.delivered {
			t.Errorf("%s: %v, %+v; want %v, of the first %g sustained and %g delivered",
				name, rates, got[0], tt.rates, tt.sustained, tt.delivered)
		}
	}
}
