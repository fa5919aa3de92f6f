package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sockloop/sockloop/loadclient/results"
)

// finding is something that was looked at to tell whether the results are valid.
type finding struct {
	Good bool
	Text string
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// capacityOff is how far from its known capacity a control may be found.
const capacityOff = 0.03

// findings is the verdict on validity.
func findings(r *results.Measurement) []finding {
	var all []finding
	if r.Trials() > 0 {
		all = append(all, trialsMeasured(r))
	}
	if searched(r) {
		all = append(all, pointsFound(r))
		all = append(all, speeds(r)...)
		all = append(all, ceilingUsed(r)...)
	}
	if r.Manifest.Suite != "" && r.Manifest.Finished.IsZero() {
		all = append(all, finding{false, "The run was interrupted: not everything that was to be measured has been."})
	}
	if r.Controls != nil {
		all = append(all, controls(r.Controls)...)
	}
	return append(all, controls(r)...)
}

// speeds tells whether the CPUs were as fast for all, if that is known.
func speeds(r *results.Measurement) []finding {
	lowest, of := 1., ""
	for _, n := range r.Levels() {
		for i := range r.Servers {
			x := r.Servers[i].At(n)
			if speed := r.Speed(&x); speed > 0 && speed <= lowest {
				lowest, of = speed, fmt.Sprintf("%s at %d connections", r.Servers[i].Name, n)
			}
		}
	}
	text := fmt.Sprintf("Of their best speed the CPUs had at least %.0f %% in the trials that count, with %s",
		100*lowest, of)
	switch {
	case of == "":
		return nil
	case lowest < results.SlowCPU:
		return []finding{{false, text + ". That is not to be compared with what was faster: the machine's cores were " +
			"shared with somebody beside it."}}
	}
	return []finding{{true, text + "."}}
}

func trialsMeasured(r *results.Measurement) finding {
	counts := map[string]int{}
	total, valid := 0, 0
	for _, s := range r.Servers {
		for _, t := range s.Trials {
			total++
			if t.Valid() {
				valid++
			} else {
				counts[string(t.Verdict)]++
			}
		}
	}
	text := fmt.Sprintf("%d of %d trials measured the server", valid, total)
	for _, v := range sortedKeys(counts) {
		text += fmt.Sprintf(", %d were %s", counts[v], v)
	}
	if valid < total {
		text += " (drawn hollow; of those that were the client's or the machine's fault, what held all the same " +
			"counts, and the others were tried again)"
	}
	return finding{10*valid >= 9*total, text + "."}
}

func pointsFound(r *results.Measurement) finding {
	total, lower, broke := 0, 0, 0
	for _, s := range r.Servers {
		for _, x := range s.Searches {
			total++
			switch x.Limit {
			case results.Overloaded:
			case results.TargetFailed:
				broke++
			default:
				lower++
			}
		}
	}
	text := fmt.Sprintf("%d saturation points: at %d the server got slow", total, total-lower-broke)
	if broke > 0 {
		text += fmt.Sprintf(", at %d 200 ms was not reached, because it broke connections or lost messages first",
			broke)
	}
	if lower > 0 {
		text += fmt.Sprintf(", %d are lower bounds, because the load client or the machine was the limit", lower)
	}
	return finding{lower == 0, text + "."}
}

// ceilingUsed says which share of what the client can receive was used at most.
func ceilingUsed(r *results.Measurement) []finding {
	most, name, level := 0.0, "", 0
	for i := range r.Servers {
		for _, n := range r.Levels() {
			if x := r.Servers[i].At(n); x.CeilingShare > most {
				most, name, level = x.CeilingShare, r.Servers[i].Name, n
			}
		}
	}
	if most == 0 {
		return []finding{{false, "The load client's own ceiling is not known: it is measured for WebSockets without " +
			"agents and compression, unless that is switched off (--no-ceiling)."}}
	}
	return []finding{{most < 0.9, fmt.Sprintf("At most %.0f %% of the load client's own ceiling was used "+
		"(%s, %d connections).", 100*most, name, level)}}
}

// again is the suffix of a control that is the same server once more.
const again = "-again"

// controls compares what each control delivered at most with its known capacity, and servers with themselves.
func controls(r *results.Measurement) (all []finding) {
	for i := range r.Servers {
		s := &r.Servers[i]
		first, isAgain := strings.CutSuffix(s.Name, again)
		for _, n := range r.Levels() {
			x := s.At(n)
			switch {
			case len(x.Searches) == 0:
			case s.Capacity > 0 && x.MaxDelivered > 0:
				all = append(all, knownCapacity(s, &x))
			case isAgain && r.Server(first) != nil:
				if f, ok := withItself(first, r.Server(first).At(n).Searches, x.Searches); ok {
					all = append(all, f)
				}
			}
		}
	}
	return all
}

func knownCapacity(s *results.Server, x *results.LevelSummary) finding {
	off := x.MaxDelivered/s.Capacity - 1
	return finding{math.Abs(off) <= capacityOff, fmt.Sprintf("A server whose capacity is %.0f messages/s was found to "+
		"have %.0f at %d connections (%+.1f %%); its saturation points deviate by %.1f %% over %d blocks.",
		s.Capacity, x.MaxDelivered, x.Connections, 100*off, 100*x.Spread, len(x.Searches))}
}

// withItself compares a server with itself. The interval of a few blocks is missed by chance now and then, so a ratio
// that is as near to 1 as a capacity must be is good too.
func withItself(name string, as, bs []results.Saturation) (finding, bool) {
	if len(as) == 0 {
		return finding{}, false
	}
	c, err := results.CompareLevel(as, bs)
	if err != nil || c.Confidence == 0 {
		return finding{}, false
	}
	good := c.Low <= 1 && 1 <= c.High || math.Abs(c.Ratio-1) <= capacityOff
	return finding{good, fmt.Sprintf("%s compared with itself at %d connections: ratio %.3f, interval of %.0f %% "+
		"from %.3f to %.3f (median of %d pairs).",
		name, c.Connections, c.Ratio, 100*c.Confidence, c.Low, c.High, len(c.Pairs))}, true
}
