package tuning

import (
	"strings"
	"testing"
	"time"
)

func TestCPUTime(t *testing.T) {
	t.Parallel()
	const stat = `cpu  30 0 40 200 10 1 2 5 0 0
cpu0 10 1 20 100 5 1 1 2 0 0
cpu1 20 0 20 100 5 0 1 3 0 0
intr 1 2 3 4 5 6 7 8 9
`
	got, err := CPUs{0, 1}.timeIn(stat)
	want := CPUTime{Busy: 710 * time.Millisecond, Idle: 2100 * time.Millisecond, Stolen: 50 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for set, want := range map[string]string{"2": "no line for CPU 2", "0": "CPU 0"} {
		cpus, err := ParseCPUs(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cpus.timeIn(strings.ReplaceAll(stat, "cpu0 10", "cpu0 many")); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
	allowed, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	if now, err := allowed.Time(); err != nil || now.Busy <= 0 {
		t.Errorf("%+v %v", now, err)
	}
}
