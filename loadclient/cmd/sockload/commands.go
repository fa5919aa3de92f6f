package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
)

// levels are numbers of connections.
type levels []int

var named = map[string]levels{
	"quick": results.QuickLevels,
	"full":  results.LevelsOf2011,
}

// UnmarshalText reads quick, full or a list.
func (l *levels) UnmarshalText(text []byte) error {
	if set, ok := named[string(text)]; ok {
		*l = set
		return nil
	}
	*l = nil
	for s := range strings.SplitSeq(string(text), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return fmt.Errorf("levels %q: want quick, full, or numbers of connections such as 25,100", text)
		}
		*l = append(*l, n)
	}
	return nil
}

// search is the command that finds saturation points.
type search struct {
	target
	display
	Profile   string        `help:"${profile_help}" default:"quick" enum:"${profiles}"`
	Levels    levels        `help:"${levels_help}" placeholder:"LEVELS"`
	Window    time.Duration `help:"${window_help}" placeholder:"3s"`
	Threshold time.Duration `help:"Mean round trip at which the server is saturated." placeholder:"200ms"`
	Overload  time.Duration `help:"Mean round trip beyond which no higher rate is tried." placeholder:"1500ms"`
	Precision float64       `help:"${precision_help}" placeholder:"SHARE"`
	Repeats   int           `help:"${repeats_help}" placeholder:"N"`
	Confirm   time.Duration `help:"Length of the trials that show what can be sustained." placeholder:"10s"`
	Patience  time.Duration `help:"How long a search waits in all, at a level, for a machine that is busy with something else. Then it ends." default:"1m"`
	Curve     []float64     `help:"${curve_help}" placeholder:"SHARE,…"`
	Drain     time.Duration `help:"How long the last messages of a trial may take after its window." default:"5s"`
	Ceiling   bool          `help:"${ceiling_help}" default:"true" negatable:""`
	Out       string        `help:"File to append the results to, as JSON lines." placeholder:"FILE"`
	CSV       string        `help:"${csv_help}" name:"csv" placeholder:"FILE"`
	exports
}

// commandHelp are the texts of flags that are too long for their struct tags.
var commandHelp = kong.Vars{
	"profile_help": "quick: four levels, a search; search: the 13 of 2011, with repeats and a finer curve; " +
		"classic: a ramp as in 2011, scaled to the server; classic-2011: exactly that ramp (seven hours to its " +
		"end).",
	"levels_help": "Connections: quick (25,100,500,2000), full (the 13 of 2011), or a list. Default: the profile's.",
	"window_help": "Length of a trial. The threshold of 200 ms is that of 2011 for 3 s.",
	"precision_help": "Of a search: width of the bracket around the saturation point, as a share. Default: the " +
		"profile's.",
	"repeats_help": "Of a search: trials at both ends of the bracket. Default: the profile's.",
	"curve_help":   "Of a search: further rates to try, as shares of the saturation rate. Default: the profile's.",
	"ceiling_help": "Measure the client's own ceiling at each level too, so that results say which share of it " +
		"was used.",
	"csv_help":  "File for the trials in the seven columns of 2011, and their nominal and delivered rates.",
	"rate_help": "Nominal rate: received messages a second, over all connections. 0: nothing is sent.",
	"expect_help": "Conditions that each trial must meet, such as 'p99<50ms' or 'lost==0'; " +
		"else the exit code is 5.",
	"broadcaster_help": "CPU of the null broadcaster: the one that the server will have.",
	"shapes_help":      "How the broadcaster's messages come: " + shapes() + ".",
}

// profile is the profile with what the flags change.
func (s *search) profile() (loadclient.Profile, error) {
	p, err := loadclient.FindProfile(s.Profile)
	if err != nil {
		return p, err
	}
	changed := s.Window+s.Threshold+s.Overload+s.Confirm != 0 ||
		s.Drain != drainOf2011 || s.Precision != 0 || s.Repeats != 0 || s.Curve != nil
	if changed && p.Name == "classic-2011" {
		return p, errors.New("classic-2011 is exactly the benchmark of 2011, and only --levels may be changed: " +
			"use --profile classic or search for another window or threshold")
	}
	if s.Levels != nil {
		p.Levels = s.Levels
	}
	p.Window = or(s.Window, p.Window)
	p.SaturationRTT = or(1000*s.Threshold.Seconds(), p.SaturationRTT)
	p.OverloadRTT = or(1000*s.Overload.Seconds(), p.OverloadRTT)
	p.Precision, p.Repeats, p.Confirm = or(s.Precision, p.Precision), or(s.Repeats, p.Repeats), or(s.Confirm, p.Confirm)
	if s.Curve != nil {
		p.Curve = slices.Sorted(slices.Values(s.Curve))
	}
	switch {
	case p.Ramp == nil && (p.Precision < 0.001 || p.Precision > 1):
		return p, fmt.Errorf("--precision %v: want 0.001 to 1", p.Precision)
	case p.Ramp == nil && p.Repeats < 1:
		return p, fmt.Errorf("--repeats %d: want at least 1", p.Repeats)
	case s.Patience <= 0:
		return p, fmt.Errorf("--patience %v: want a time, such as 1m", s.Patience)
	case s.Drain <= 0:
		return p, fmt.Errorf("--drain %v: want a time, such as 5s", s.Drain)
	case p.Window < 100*time.Millisecond:
		return p, fmt.Errorf("--window %v: want at least 100ms", p.Window)
	case p.SaturationRTT <= 0 || p.OverloadRTT <= p.SaturationRTT:
		return p, fmt.Errorf("--threshold %v, --overload %v: want round trips, the second longer than the first",
			time.Duration(p.SaturationRTT*1e6), time.Duration(p.OverloadRTT*1e6))
	case p.Confirms > 0 && p.Confirm < p.Window:
		return p, fmt.Errorf("--confirm %v: want at least the window, %v", p.Confirm, p.Window)
	case slices.ContainsFunc(p.Curve, func(x float64) bool { return x <= 0 || x > 100 }):
		return p, fmt.Errorf("--curve %v: want shares of the saturation rate, such as 0.5,0.9,1.5", p.Curve)
	}
	return p, nil
}

// drainOf2011 is how long the benchmark of 2011 waited for the last messages.
const drainOf2011 = 5 * time.Second

// or is a, unless it is zero.
func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

// Run searches level by level.
func (s *search) Run(ctx context.Context, out *console) error {
	s.apply(out)
	profile, err := s.profile()
	if err != nil {
		return err
	}
	first, err := s.level(profile.Levels[0])
	if err != nil {
		return err
	}
	found, err := s.resume(profile, s.provenance(first))
	if err != nil {
		return err
	}
	files, err := openOutputs(s.Out, s.CSV, s.exports, len(found) > 0)
	if err != nil {
		return err
	}
	defer files.close()
	sockets := max(2, loadclient.Sockets(results.Protocol(s.Protocol))) // the ceiling takes two
	if err := s.prepare(out, sockets*slices.Max(profile.Levels)); err != nil {
		return err
	}
	if len(found) > 0 {
		out.note("going on with the run in %s, which has %d of %d levels", s.Out, len(found), len(profile.Levels))
	}
	expected := make([]time.Duration, len(profile.Levels))
	for i, n := range profile.Levels {
		expected[i] = profile.Expected(n)
	}
	out.begin(expected)
	err = s.searchAll(ctx, out, profile, s.provenance(first), files, &found)
	out.done()
	if ctx.Err() != nil {
		err = errInterrupted
	}
	err = cmp.Or(err, files.export(found))
	if err == nil || len(found) > 0 {
		out.table(found)
	}
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Limit == results.ClientLimited || f.Limit == results.Noisy {
			return fmt.Errorf("%w: %s", errInvalid, f.Reason)
		}
	}
	return nil
}

// searchAll searches the levels that are left, and adds to what was found.
func (s *search) searchAll(
	ctx context.Context, out *console, profile loadclient.Profile, made results.Provenance, files *outputs,
	found *[]results.Saturation,
) error {
	idBase, done := 1, len(*found)
	for i, n := range profile.Levels {
		level, err := s.level(n)
		if err != nil {
			return err
		}
		level.IDBase, level.Drain = idBase, s.Drain
		idBase = loadclient.NextIDBase(idBase, n)
		if i < done {
			continue
		}
		out.level(i, n)
		var failure error
		config := loadclient.SearchConfig{Level: level, Profile: profile, Patience: s.Patience}
		result, err := loadclient.Search(ctx, config, func(t results.Trial) {
			t.Provenance = made
			out.trial(t)
			failure = cmp.Or(failure, files.trial(t))
		}, out.watch)
		if err == nil && s.Ceiling {
			result.Ceiling, err = loadclient.CeilingOf(ctx, result, level, profile.Window)
		}
		result.Provenance = made
		out.levelDone()
		if err := cmp.Or(err, failure); err != nil {
			return err
		}
		if err := files.record(results.Record{Saturation: &result}); err != nil {
			return err
		}
		out.saturation(result)
		*found = append(*found, result)
	}
	return nil
}

// resume finds what an interrupted run of this very command has measured already, and which block this is. Of a run by
// other versions it is an error.
func (s *search) resume(profile loadclient.Profile, now results.Provenance) ([]results.Saturation, error) {
	if f, err := os.Stat(s.Out); err != nil || !f.Mode().IsRegular() { // a new file, or a pipe
		return nil, nil
	}
	records, err := results.ReadFile(s.Out)
	found := results.Unfinished(records, os.Args)
	if s.Block == 0 {
		s.Block = results.NextBlock(records)
	}
	if err != nil || len(found) >= len(profile.Levels) { // that run was finished, so this is another
		return nil, err
	}
	for i, f := range found {
		if f.Connections != profile.Levels[i] {
			return nil, nil
		}
	}
	if len(found) > 0 {
		s.Block = max(found[0].Block, 1)
	}
	return found, results.Continues(found, now)
}

// trial is the command for one rate.
type trial struct {
	target
	Connections int           `help:"Connections." short:"c" default:"2000"`
	Rate        float64       `help:"${rate_help}" default:"100000"`
	Window      time.Duration `help:"Length of a trial." aliases:"duration" default:"3s"`
	Count       int           `help:"Trials, one after the other." default:"1"`
	JSON        bool          `help:"Print the results as JSON lines."`
	Expect      []expectation `help:"${expect_help}" sep:"none" placeholder:"CONDITION"`
	exports
}

// Run runs the trials.
func (t *trial) Run(ctx context.Context, out *console) error {
	if t.Connections < 1 || t.Rate < 0 || t.Window < 100*time.Millisecond || t.Count < 1 {
		return fmt.Errorf("--connections %d, --rate %v, --window %v, --count %d: "+
			"want at least 1, 0 or more, at least 100ms, at least 1", t.Connections, t.Rate, t.Window, t.Count)
	}
	files, err := openOutputs("", "", t.exports, false)
	if err != nil {
		return err
	}
	defer files.close()
	if err := t.prepare(out, t.sockets(t.Connections)); err != nil {
		return err
	}
	c, err := t.level(t.Connections)
	if err != nil {
		return err
	}
	if n := t.Rate / float64(c.Hearers()) * t.Window.Seconds(); n > 0 && n < float64(c.Senders()) {
		out.note("only %.0f messages are sent, by as many of %d connections: --rate is of what all receive, and %d "+
			"hear each message", math.Ceil(n), c.Senders(), c.Hearers())
	}
	level, err := loadclient.OpenLevel(ctx, c)
	if err != nil {
		return err
	}
	defer level.Close()
	err = t.all(ctx, out, level, files, t.provenance(c))
	return cmp.Or(err, files.export(nil))
}

// all runs all trials.
func (t *trial) all(
	ctx context.Context, out *console, level *loadclient.Level, files *outputs, made results.Provenance,
) error {
	var o outcome
	for i := range t.Count {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		result, err := t.once(level)
		if err != nil {
			return err
		}
		result.Provenance = made
		o.add(t.Expect, &result)
		files.measured(&result, i+1)
		if t.JSON {
			err = json.NewEncoder(out.out).Encode(result)
		} else {
			out.trial(result)
		}
		if err := cmp.Or(err, files.trial(result)); err != nil {
			return err
		}
	}
	return o.err()
}

func (t *trial) once(level *loadclient.Level) (results.Trial, error) {
	if t.Rate == 0 {
		return level.Idle(t.Window)
	}
	return level.Trial(t.Rate/float64(level.Hearers()), t.Window)
}

// calibrate is the command that finds the client's own ceiling.
type calibrate struct {
	client
	BroadcasterCPU int           `help:"${broadcaster_help}" name:"broadcaster-cpu" default:"0"`
	Levels         levels        `help:"Connections, as for run." default:"quick"`
	Shapes         []string      `help:"${shapes_help}" default:"${shapes}" enum:"${shapes}" placeholder:"SHAPE,…"`
	Window         time.Duration `help:"Length of a trial." default:"3s"`
	Out            string        `help:"File to append the results to, as JSON lines." placeholder:"FILE"`
}

// Run calibrates level by level.
func (c *calibrate) Run(ctx context.Context, out *console) error {
	files, err := openOutputs(c.Out, "", exports{}, false)
	if err != nil {
		return err
	}
	defer files.close()
	if err := c.prepare(out, 2*slices.Max(c.Levels)); err != nil {
		return err
	}
	for _, n := range c.Levels {
		for _, shape := range c.Shapes {
			ceiling, err := loadclient.Calibrate(ctx, loadclient.CalibrateConfig{
				Connections: n, Shape: results.Shape(shape), CPUs: c.CPUs, BroadcasterCPU: c.BroadcasterCPU,
				Window: c.Window,
			})
			if err != nil {
				return err
			}
			out.ceiling(ceiling)
			if err := files.record(results.Record{Ceiling: &ceiling}); err != nil {
				return err
			}
		}
	}
	return nil
}
