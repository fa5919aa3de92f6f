package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/loadclient/results"
)

// exports are results for other tools.
type exports struct {
	Prometheus string `help:"${prometheus_help}" placeholder:"FILE"`
	HDR        string `help:"${hdr_help}" name:"hdr" placeholder:"FILE"`
}

var exportsHelp = kong.Vars{
	"prometheus_help": "File for the results as Prometheus metrics, written at the end in the place of an older one: " +
		"for node_exporter's textfile collector, or to be pushed.",
	"hdr_help": "File for the round trips as an HdrHistogram log, an interval a trial, in ns.",
}

// outputs are the files that results go to. They are opened before anything is measured: a path that cannot be written
// to is said at once. A run that goes on appends to what it had.
type outputs struct {
	files      []*os.File
	recorder   *results.Writer
	csv        *results.CSV
	hdr        *results.HDR
	prometheus *results.Prometheus
}

func openOutputs(out, csv string, e exports, goesOn bool) (*outputs, error) {
	o := &outputs{}
	err := o.openRecords(out, goesOn)
	if err == nil {
		err = o.openCSV(csv, goesOn)
	}
	if err == nil {
		err = o.openHDR(e.HDR, goesOn)
	}
	if err == nil {
		err = o.openPrometheus(e.Prometheus)
	}
	if err != nil {
		o.close()
		return nil, unwritten(err)
	}
	return o, nil
}

func (o *outputs) openRecords(path string, goesOn bool) error {
	if path == "" {
		return nil
	}
	f, err := o.open(path, true)
	if err != nil {
		return err
	}
	o.recorder = results.NewWriter(f)
	if goesOn {
		return nil
	}
	return o.record(results.Record{Machine: results.ThisMachine()})
}

func (o *outputs) openCSV(path string, goesOn bool) error {
	if path == "" {
		return nil
	}
	f, err := o.open(path, goesOn)
	if err == nil {
		o.csv, err = results.NewCSV(f, goesOn)
	}
	return err
}

func (o *outputs) openHDR(path string, goesOn bool) error {
	if path == "" {
		return nil
	}
	f, err := o.open(path, goesOn)
	if err == nil {
		o.hdr, err = results.NewHDR(f, goesOn)
	}
	return err
}

func (o *outputs) openPrometheus(path string) (err error) {
	if path != "" {
		o.prometheus, err = results.NewPrometheus(path)
	}
	return err
}

func unwritten(err error) error { return fmt.Errorf("results cannot be written: %w", err) }

// open opens a file to write to, behind what it has or anew.
func (o *outputs) open(path string, behind bool) (io.Writer, error) {
	mode := os.O_TRUNC
	if behind {
		mode = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|mode, 0o644)
	if err != nil {
		return nil, err
	}
	o.files = append(o.files, f)
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err == nil && disk.Blocks > 0 &&
		disk.Bavail*uint64(disk.Bsize) < resultBytesMax {
		return nil, fmt.Errorf("%s: %w: make %d MB free, or write elsewhere",
			path, errSmallDisk, resultBytesMax>>20)
	}
	return f, nil
}

// resultBytesMax is more than the results of a run need.
const resultBytesMax = 16 << 20

var errSmallDisk = errors.New("there is hardly room on the disk")

func (o *outputs) record(r results.Record) error {
	if o.recorder == nil {
		return nil
	}
	return o.recorder.Write(r)
}

func (o *outputs) trial(t results.Trial) error {
	err := o.record(results.Record{Trial: &t})
	if o.csv != nil {
		err = cmp.Or(err, o.csv.Write(t))
	}
	if o.hdr != nil {
		err = cmp.Or(err, o.hdr.Write(t))
	}
	return err
}

// measured keeps a trial for export, by its number.
func (o *outputs) measured(t *results.Trial, number int) {
	if o.prometheus != nil {
		o.prometheus.Trial(t, number)
	}
}

// export writes what is written when everything was measured: that, and searches.
func (o *outputs) export(found []results.Saturation) error {
	if o.prometheus == nil {
		return nil
	}
	for i := range found {
		o.prometheus.Search(&found[i])
	}
	if err := o.prometheus.Write(); err != nil {
		return unwritten(err)
	}
	return nil
}

func (o *outputs) close() {
	for _, f := range o.files {
		_ = f.Close()
	}
}
