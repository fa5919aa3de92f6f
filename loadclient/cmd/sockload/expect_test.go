package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/loadclient"
)

func TestExpectations(t *testing.T) {
	t.Parallel()
	trial := loadclient.Trial{RTT: loadclient.Latency{Mean: 10, P99: 49.9}, Lost: 1, Delivered: 2e6,
		Server: &loadclient.Usage{CPU: 0.5}}
	for text, want := range map[string]bool{
		"p99<50ms": true, "p99<49ms": false, "mean <= 0.01s": true, "lost==0": false, "lost<=1": true,
		"delivered>1e6":  true,
		"delivered>=3e6": false, "server_cpu<0.9": true,
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
	err := judge(all, &trial)
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
