package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/loadclient/results"
)

func TestExpectations(t *testing.T) {
	t.Parallel()
	trial := results.Trial{RTT: results.Latency{Count: 1, Mean: 10, P99: 49.9}, Lost: 1, Delivered: 2e6,
		Server: &results.Usage{CPU: 0.5}}
	for text, want := range map[string]bool{
		"p99<50ms": true, "p99<49ms": false, "mean <= 0.01s": true, "lost==0": false, "lost<=1": true,
		"delivered>1e6":  true,
		"delivered>=3e6": false, "server_cpu<0.9": true,
		"avg<11ms": true, "p(99)<50ms": true, "p99.9<1ms": true, "p999<1ms": true, "arrival_p99<1s": false,
	} {
		var e expectation
		if err := e.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, was := e.holds(&trial); got != want {
			t.Errorf("%s: %v (%s)", text, got, was)
		}
	}
	var all []expectation
	for _, text := range []string{"lost==0", "p99<1ms", "mean<1s"} {
		var e expectation
		if err := e.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	err := unmet(all, &trial)
	if !errors.Is(err, errUnexpected) || exitCode(err) != exitUnexpected ||
		err.Error() != "not as expected: expected lost==0, was 1; expected p99<1ms, was 49.9 ms" {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		"p99": "want a condition", "p98<1ms": "p98 is not known", "p99<50": "want a time",
		"lost==none": "want a number",
	} {
		var e expectation
		if err := e.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What was not measured meets nothing.
func TestExpectationsOfNothing(t *testing.T) {
	t.Parallel()
	answered := results.Latency{Count: 1, Mean: 1}
	for _, tt := range []struct {
		text  string
		trial results.Trial
	}{
		{"lost==0", results.Trial{NotCompleted: 1}},
		{"p99<1s", results.Trial{}},
		{"p99<1s", results.Trial{RTT: answered, OwnMissing: 1}},
		{"arrival_p99<1s", results.Trial{RTT: answered}},
		{"arrival_p99<1s", results.Trial{Arrival: answered, Lost: 1}},
		{"server_cpu<1", results.Trial{RTT: answered}},
		{"server_rss<1", results.Trial{RTT: answered}},
	} {
		var e expectation
		if err := e.UnmarshalText([]byte(tt.text)); err != nil {
			t.Fatal(err)
		}
		if ok, was := e.holds(&tt.trial); ok || was != "expected "+tt.text+", which was not measured" {
			t.Errorf("%s of %+v: %v, %s", tt.text, tt.trial, ok, was)
		}
	}
}

// The exit code says what was worst: what was expected and is not so, then what the server broke, then what could not
// be measured.
func TestOutcome(t *testing.T) {
	t.Parallel()
	var quick expectation
	if err := quick.UnmarshalText([]byte("p99<10ms")); err != nil {
		t.Fatal(err)
	}
	of := func(v results.Verdict, p99 float64) results.Trial {
		return results.Trial{Verdict: v, Reason: "so", RTT: results.Latency{Count: 1, P99: p99}, Window: 1}
	}
	quickly, slowly, failing := of(results.OK, 5), of(results.OK, 20), of(results.TargetFailed, 5)
	inSpite := of(results.Noisy, 5)
	inSpite.Nominal, inSpite.Delivered = 100, 100
	clients := of(results.ClientLimited, 20)
	for name, tt := range map[string]struct {
		trials []results.Trial
		want   int
	}{
		"met":                          {[]results.Trial{quickly}, 0},
		"slow":                         {[]results.Trial{quickly, slowly}, exitUnexpected},
		"overloaded and quick":         {[]results.Trial{of(results.Overloaded, 5)}, 0},
		"failed":                       {[]results.Trial{failing}, exitTarget},
		"failed and slow":              {[]results.Trial{of(results.TargetFailed, 20)}, exitUnexpected},
		"noisy":                        {[]results.Trial{of(results.Noisy, 20)}, exitInvalid},
		"noisy, and met in spite":      {[]results.Trial{inSpite}, 0},
		"the client's, and then slow":  {[]results.Trial{clients, slowly}, exitUnexpected},
		"the client's, and then quick": {[]results.Trial{clients, quickly}, exitInvalid},
		"the client's, and a failure":  {[]results.Trial{clients, failing}, exitTarget},
	} {
		var o outcome
		for i := range tt.trials {
			o.add([]expectation{quick}, &tt.trials[i])
		}
		got := 0
		if err := o.err(); err != nil {
			got = exitCode(err)
		}
		if got != tt.want {
			t.Errorf("%s: exit code %d, want %d (%v)", name, got, tt.want, o.err())
		}
	}
}
