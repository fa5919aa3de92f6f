package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockloop/sockloop/loadclient"
)

// levels are numbers of connections.
type levels []int

var named = map[string]levels{
	"quick": {25, 100, 500, 2000},
	"full":  {25, 50, 75, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000},
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
	Levels    levels        `help:"Connections: quick (25,100,500,2000), full (the 13 of 2011), or a list." default:"quick"`
	Window    time.Duration `help:"Length of a trial. The threshold of 200 ms is that of 2011 for 3 s." default:"3s"`
	Precision float64       `help:"Width of the bracket around the saturation point, as a share." default:"0.05"`
	Repeats   int           `help:"Trials at the rate that is reported." default:"3"`
	Out       string        `help:"File to append the results to, as JSON lines." placeholder:"FILE"`
	CSV       string        `help:"File for the trials in the seven columns of 2011." name:"csv" placeholder:"FILE"`
}

// Run searches level by level.
func (s *search) Run(ctx context.Context, out *console) error {
	if s.Precision < 0.001 || s.Precision > 1 || s.Repeats < 1 || s.Window < 100*time.Millisecond {
		return fmt.Errorf("--precision %v, --repeats %d, --window %v: want 0.001 to 1, at least 1, and at least 100ms", s.Precision, s.Repeats, s.Window)
	}
	found, err := s.resume()
	if err != nil {
		return err
	}
	files, err := openOutputs(s.Out, s.CSV, len(found) > 0)
	if err != nil {
		return err
	}
	defer files.close()
	if err := s.prepare(out, s.sockets(slices.Max(s.Levels))); err != nil {
		return err
	}
	if len(found) > 0 {
		out.note("going on with the run in %s, which has %d of %d levels", s.Out, len(found), len(s.Levels))
	}
	idBase, done := 1, len(found)
	for i, n := range s.Levels {
		level, err := s.level(n)
		if err != nil {
			return err
		}
		level.IDBase = idBase
		idBase = loadclient.NextIDBase(idBase, n)
		if i < done {
			continue
		}
		c := loadclient.DefaultSearch(level)
		c.Window, c.Precision, c.Repeats, c.Probe = s.Window, s.Precision, s.Repeats, min(c.Probe, s.Window)
		out.level(i, len(s.Levels), n)
		var failure error
		result, err := loadclient.Search(ctx, c, func(t loadclient.Trial) {
			out.trial(t)
			failure = firstError(failure, files.trial(t))
		}, out.watch)
		out.done()
		if ctx.Err() != nil {
			out.table(found)
			return errInterrupted
		}
		if err := firstError(err, failure); err != nil {
			return err
		}
		if err := files.record(loadclient.Record{Saturation: &result}); err != nil {
			return err
		}
		out.saturation(result)
		found = append(found, result)
	}
	out.table(found)
	for _, f := range found {
		if f.Limit == loadclient.ClientLimited {
			return errInvalid
		}
	}
	return nil
}

// resume finds what an interrupted run of this very command has measured already.
func (s *search) resume() ([]loadclient.Saturation, error) {
	if s.Out == "" {
		return nil, nil
	}
	records, err := readResults(s.Out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	found := loadclient.Unfinished(records, os.Args)
	if err != nil || len(found) >= len(s.Levels) { // that run was finished, so this is another
		return nil, err
	}
	for i, f := range found {
		if f.Connections != s.Levels[i] {
			return nil, nil
		}
	}
	return found, nil
}

// trial is the command for one rate.
type trial struct {
	target
	Connections int           `help:"Connections." default:"2000"`
	Rate        float64       `help:"Nominal rate: received messages a second, over all connections." default:"100000"`
	Window      time.Duration `help:"Length of a trial." default:"3s"`
	Count       int           `help:"Trials, one after the other." default:"1"`
	JSON        bool          `help:"Print the results as JSON lines."`
}

// Run runs the trials.
func (t *trial) Run(ctx context.Context, out *console) error {
	if t.Connections < 1 || t.Rate <= 0 || t.Window < 100*time.Millisecond || t.Count < 1 {
		return fmt.Errorf("--connections %d, --rate %v, --window %v, --count %d: want at least 1, more than 0, at least 100ms, at least 1", t.Connections, t.Rate, t.Window, t.Count)
	}
	if err := t.prepare(out, t.sockets(t.Connections)); err != nil {
		return err
	}
	c, err := t.level(t.Connections)
	if err != nil {
		return err
	}
	level, err := loadclient.OpenLevel(ctx, c)
	if err != nil {
		return err
	}
	defer level.Close()
	limited := false
	for range t.Count {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		result, err := level.Trial(t.Rate/float64(t.Connections), t.Window)
		if err != nil {
			return err
		}
		limited = limited || result.Verdict == loadclient.ClientLimited
		if t.JSON {
			err = json.NewEncoder(out.out).Encode(result)
		} else {
			out.trial(result)
		}
		if err != nil {
			return err
		}
	}
	if limited {
		return errInvalid
	}
	return nil
}

// calibrate is the command that finds the client's own ceiling.
type calibrate struct {
	client
	BroadcasterCPU   int           `help:"CPU of the null broadcaster: the one that the server will have." name:"broadcaster-cpu" default:"0"`
	Levels           levels        `help:"Connections, as for run." default:"quick"`
	MessagesPerFrame int           `help:"Size of the broadcaster's frames." default:"4000"`
	Window           time.Duration `help:"Length of a trial." default:"3s"`
	Out              string        `help:"File to append the results to, as JSON lines." placeholder:"FILE"`
}

// Run calibrates level by level.
func (c *calibrate) Run(ctx context.Context, out *console) error {
	files, err := openOutputs(c.Out, "", false)
	if err != nil {
		return err
	}
	defer files.close()
	if err := c.prepare(out, 2*slices.Max(c.Levels)); err != nil {
		return err
	}
	for _, n := range c.Levels {
		ceiling, err := loadclient.Calibrate(ctx, loadclient.CalibrateConfig{
			Connections: n, MessagesPerFrame: c.MessagesPerFrame, CPUs: c.CPUs, BroadcasterCPU: c.BroadcasterCPU, Window: c.Window,
		})
		if err != nil {
			return err
		}
		out.ceiling(ceiling)
		if err := files.record(loadclient.Record{Ceiling: &ceiling}); err != nil {
			return err
		}
	}
	return nil
}

// outputs are the files that results go to. They are opened before anything is measured: a path that cannot be written
// to is said at once. A run that goes on appends to what it had.
type outputs struct {
	files    []*os.File
	recorder *loadclient.Recorder
	csv      *loadclient.CSV
}

func openOutputs(results, csv string, goesOn bool) (*outputs, error) {
	o := &outputs{}
	if results != "" {
		f, err := o.open(results, os.O_APPEND)
		if err != nil {
			return nil, err
		}
		o.recorder = loadclient.NewRecorder(f)
		if !goesOn {
			if err := o.record(loadclient.Record{Machine: loadclient.ThisMachine()}); err != nil {
				return nil, err
			}
		}
	}
	if csv != "" {
		mode := os.O_TRUNC
		if goesOn {
			mode = os.O_APPEND
		}
		f, err := o.open(csv, mode)
		if err != nil {
			return nil, err
		}
		if o.csv, err = loadclient.NewCSV(f, goesOn); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *outputs) open(path string, mode int) (io.Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|mode, 0o644)
	if err != nil {
		return nil, fmt.Errorf("results cannot be written: %w", err)
	}
	o.files = append(o.files, f)
	return f, nil
}

func (o *outputs) record(r loadclient.Record) error {
	if o.recorder == nil {
		return nil
	}
	return o.recorder.Record(r)
}

func (o *outputs) trial(t loadclient.Trial) error {
	err := o.record(loadclient.Record{Trial: &t})
	if o.csv != nil {
		err = firstError(err, o.csv.Write(t))
	}
	return err
}

func (o *outputs) close() {
	for _, f := range o.files {
		_ = f.Close()
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
