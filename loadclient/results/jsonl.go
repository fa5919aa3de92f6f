package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Writer writes records as JSON lines, each as soon as there is one.
type Writer struct{ e *json.Encoder }

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{json.NewEncoder(w)} }

// Write writes one line.
func (w *Writer) Write(r Record) error { return w.e.Encode(r) }

// Read reads what a Writer wrote. A line that is no record, or has a field that no record has, is an error that names
// the line; what came before it is returned with the error.
func Read(r io.Reader) ([]Record, error) {
	var records []Record
	b := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, end := b.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			x, err := readLine(line)
			if err != nil {
				return records, fmt.Errorf("line %d: %w", n, err)
			}
			records = append(records, x)
		}
		switch {
		case end == io.EOF:
			return records, nil
		case end != nil:
			return records, end
		}
	}
}

var errNotOne = errors.New("want one of machine, trial, saturation, ceiling, discarded, idle, hold and wall")

func readLine(line []byte) (x Record, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&x); err != nil {
		return x, err
	}
	if _, err := d.Token(); err != io.EOF {
		return x, errors.New("something follows the record")
	}
	set := 0
	for _, is := range []bool{
		x.Machine != nil, x.Trial != nil, x.Saturation != nil, x.Ceiling != nil, x.Discarded != nil,
		x.Idle != nil, x.Hold != nil, x.Wall != nil,
	} {
		if is {
			set++
		}
	}
	if set != 1 {
		return x, errNotOne
	}
	return x, nil
}

// ReadFile reads a result file. With an error it returns what came before it.
func ReadFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	records, err := Read(f)
	if err != nil {
		return records, fmt.Errorf("%s is no result file of sockload run --out: %w", path, err)
	}
	return records, nil
}
