package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
)

// expectation is a condition on a trial's results, such as p99<50ms or lost==0.
type expectation struct {
	text, quantity, operator string
	want                     float64
}

// quantity is what can be expected of a trial. Times are in milliseconds.
type quantity struct {
	time bool
	// value is NaN when it was not measured.
	value func(*results.Trial) float64
}

// roundTrips is a quantity of the senders' round trips. Of messages that never came back there is none, and those that
// did are the quick ones.
func roundTrips(value func(*results.Latency) float64) quantity {
	return quantity{true, func(t *results.Trial) float64 {
		if t.RTT.Count == 0 || t.OwnMissing > 0 {
			return math.NaN()
		}
		return value(&t.RTT)
	}}
}

// arrivals is the same of all receivers.
func arrivals(value func(*results.Latency) float64) quantity {
	return quantity{true, func(t *results.Trial) float64 {
		if t.Arrival.Count == 0 || t.Lost+t.NotCompleted > 0 {
			return math.NaN()
		}
		return value(&t.Arrival)
	}}
}

func count(value func(*results.Trial) float64) quantity { return quantity{false, value} }

// losses are not known while messages are missing that may still come.
func losses(t *results.Trial) float64 {
	if t.NotCompleted > 0 {
		return math.NaN()
	}
	return float64(t.Lost)
}

// usage is a quantity of the server, where its process is known.
func usage(value func(*results.Usage) float64) quantity {
	return count(func(t *results.Trial) float64 {
		if t.Server == nil {
			return math.NaN()
		}
		return value(t.Server)
	})
}

var quantities = map[string]quantity{
	"mean":          roundTrips(func(l *results.Latency) float64 { return l.Mean }),
	"p50":           roundTrips(func(l *results.Latency) float64 { return l.P50 }),
	"p90":           roundTrips(func(l *results.Latency) float64 { return l.P90 }),
	"p99":           roundTrips(func(l *results.Latency) float64 { return l.P99 }),
	"p99.9":         roundTrips(func(l *results.Latency) float64 { return l.P999 }),
	"max":           roundTrips(func(l *results.Latency) float64 { return l.Max }),
	"arrival_mean":  arrivals(func(l *results.Latency) float64 { return l.Mean }),
	"arrival_p99":   arrivals(func(l *results.Latency) float64 { return l.P99 }),
	"lost":          count(losses),
	"duplicated":    count(func(t *results.Trial) float64 { return float64(t.Duplicated) }),
	"reordered":     count(func(t *results.Trial) float64 { return float64(t.Reordered) }),
	"foreign":       count(func(t *results.Trial) float64 { return float64(t.Foreign) }),
	"not_completed": count(func(t *results.Trial) float64 { return float64(t.NotCompleted) }),
	"sent":          count(func(t *results.Trial) float64 { return float64(t.Sent) }),
	"received":      count(func(t *results.Trial) float64 { return float64(t.Received) }),
	"delivered":     count(func(t *results.Trial) float64 { return t.Delivered }),
	"server_cpu":    usage(func(u *results.Usage) float64 { return u.CPU }),
	"server_rss":    usage(func(u *results.Usage) float64 { return float64(u.RSS) }),
}

// otherNames are what other tools call quantities.
var otherNames = map[string]string{
	"p999": "p99.9", "avg": "mean", "med": "p50", "median": "p50",
	"p(50)": "p50", "p(90)": "p90", "p(99)": "p99", "p(99.9)": "p99.9",
}

func quantityNames() string {
	var names []string
	for name := range quantities {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

var condition = regexp.MustCompile(`^\s*([a-z0-9_.()]+)\s*(<=|>=|==|<|>)\s*(\S+)\s*$`)

// UnmarshalText reads a condition.
func (e *expectation) UnmarshalText(text []byte) error {
	m := condition.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf("%q: want a condition such as p99<50ms or lost==0, of one of %s", text, quantityNames())
	}
	name := cmp.Or(otherNames[m[1]], m[1])
	q, known := quantities[name]
	if !known {
		return fmt.Errorf("%q: %s is not known, want one of %s", text, m[1], quantityNames())
	}
	*e = expectation{text: string(text), quantity: name, operator: m[2]}
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
func (e *expectation) holds(t *results.Trial) (bool, string) {
	q := quantities[e.quantity]
	v := q.value(t)
	if math.IsNaN(v) {
		return false, fmt.Sprintf("expected %s, which was not measured", e.text)
	}
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

// outcome is what trials came to, as errors; nil where none of them is of that kind.
type outcome struct {
	unexpected, failed, limited error
}

// add takes a trial's. Of one that the load client or the machine disturbed, nothing can be said of what it does not
// meet; what it meets in spite of that, it meets.
func (o *outcome) add(all []expectation, t *results.Trial) {
	broken := unmet(all, t)
	switch {
	case broken != nil && t.Conclusive():
		o.unexpected = cmp.Or(o.unexpected, broken)
	case t.Verdict == results.TargetFailed:
		o.failed = cmp.Or(o.failed, loadclient.TargetFailure(t))
	case !t.Conclusive() && (broken != nil || !t.InSpite()):
		o.limited = cmp.Or(o.limited, fmt.Errorf("%w: %s", errInvalid, t.Reason))
	}
}

// err is what decides the exit code: first what was asked for, then what the server did.
func (o *outcome) err() error { return cmp.Or(o.unexpected, o.failed, o.limited) }

var errUnexpected = errors.New("not as expected")

// unmet is an error that names every expectation that a trial does not meet.
func unmet(all []expectation, t *results.Trial) error {
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
