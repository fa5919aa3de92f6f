package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockloop/sockloop/loadclient"
)

// expectation is a condition on a trial's results, such as p99<50ms or lost==0.
type expectation struct {
	text, quantity, operator string
	want                     float64
}

// quantity is what can be expected of a trial. Times are in milliseconds.
type quantity struct {
	time  bool
	value func(*loadclient.Trial) float64
}

func latency(value func(*loadclient.Latency) float64) quantity {
	return quantity{true, func(t *loadclient.Trial) float64 { return value(&t.RTT) }}
}

func count(value func(*loadclient.Trial) float64) quantity { return quantity{false, value} }

var quantities = map[string]quantity{
	"mean":          latency(func(l *loadclient.Latency) float64 { return l.Mean }),
	"p50":           latency(func(l *loadclient.Latency) float64 { return l.P50 }),
	"p90":           latency(func(l *loadclient.Latency) float64 { return l.P90 }),
	"p99":           latency(func(l *loadclient.Latency) float64 { return l.P99 }),
	"p999":          latency(func(l *loadclient.Latency) float64 { return l.P999 }),
	"max":           latency(func(l *loadclient.Latency) float64 { return l.Max }),
	"arrival_mean":  {true, func(t *loadclient.Trial) float64 { return t.Arrival.Mean }},
	"arrival_p99":   {true, func(t *loadclient.Trial) float64 { return t.Arrival.P99 }},
	"lost":          count(func(t *loadclient.Trial) float64 { return float64(t.Lost) }),
	"duplicated":    count(func(t *loadclient.Trial) float64 { return float64(t.Duplicated) }),
	"reordered":     count(func(t *loadclient.Trial) float64 { return float64(t.Reordered) }),
	"foreign":       count(func(t *loadclient.Trial) float64 { return float64(t.Foreign) }),
	"not_completed": count(func(t *loadclient.Trial) float64 { return float64(t.NotCompleted) }),
	"sent":          count(func(t *loadclient.Trial) float64 { return float64(t.Sent) }),
	"received":      count(func(t *loadclient.Trial) float64 { return float64(t.Received) }),
	"delivered":     count(func(t *loadclient.Trial) float64 { return t.Delivered }),
	"server_cpu": count(func(t *loadclient.Trial) float64 {
		if t.Server == nil {
			return 0
		}
		return t.Server.CPU
	}),
	"server_rss": count(func(t *loadclient.Trial) float64 {
		if t.Server == nil {
			return 0
		}
		return float64(t.Server.RSS)
	}),
}

func quantityNames() string {
	var names []string
	for name := range quantities {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

var condition = regexp.MustCompile(`^\s*([a-z0-9_]+)\s*(<=|>=|==|<|>)\s*(\S+)\s*$`)

// UnmarshalText reads a condition.
func (e *expectation) UnmarshalText(text []byte) error {
	m := condition.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf("%q: want a condition such as p99<50ms or lost==0", text)
	}
	q, known := quantities[m[1]]
	if !known {
		return fmt.Errorf("%q: %s is not known, want one of %s", text, m[1], quantityNames())
	}
	*e = expectation{text: string(text), quantity: m[1], operator: m[2]}
	if !q.time {
		var err error
		if e.want, err = strconv.ParseFloat(m[3], 64); err != nil {
			return fmt.Errorf("%q: want a number, such as 0 or 1e6", text)
		}
		return nil
	}
	d, err := time.ParseDuration(m[3])
	if err != nil {
		return fmt.Errorf("%q: want a time with its unit, such as 50ms", text)
	}
	e.want = d.Seconds() * 1000
	return nil
}

// holds tells whether a trial is as expected, and else what it was.
func (e *expectation) holds(t *loadclient.Trial) (bool, string) {
	q := quantities[e.quantity]
	v := q.value(t)
	ok := false
	switch e.operator {
	case "<":
		ok = v < e.want
	case "<=":
		ok = v <= e.want
	case ">":
		ok = v > e.want
	case ">=":
		ok = v >= e.want
	case "==":
		ok = v == e.want
	}
	unit := ""
	if q.time {
		unit = " ms"
	}
	return ok, fmt.Sprintf("expected %s, was %.6g%s", e.text, v, unit)
}

var errUnexpected = errors.New("not as expected")

// judge is an error that names every expectation that a trial does not meet.
func judge(all []expectation, t *loadclient.Trial) error {
	var broken []string
	for i := range all {
		if ok, was := all[i].holds(t); !ok {
			broken = append(broken, was)
		}
	}
	if broken == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", errUnexpected, strings.Join(broken, "; "))
}
