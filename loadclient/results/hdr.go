package results

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockloop/sockloop/internal/version"
)

// HDR writes the round trips of trials as an HdrHistogram log of version 1.3, an interval a trial. Its values are
// nanoseconds, because that is what tools take them for.
type HDR struct {
	w *hdrhistogram.HistogramLogWriter
}

// NewHDR writes the head of the log, unless the log goes on.
func NewHDR(w io.Writer, goesOn bool) (*HDR, error) {
	h := &HDR{hdrhistogram.NewHistogramLogWriter(w)}
	if goesOn {
		return h, nil
	}
	for _, line := range []func() error{
		func() error {
			return h.w.OutputComment(fmt.Sprintf(
				"[sockload %s: round trips from when messages were due, in ns; "+
					"tags: connections@nominal rate/phase/verdict]", version.Own()))
		},
		h.w.OutputLogFormatVersion,
		func() error { return h.w.OutputStartTime(time.Now().UnixMilli()) },
		h.w.OutputLegend,
	} {
		if err := line(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Write adds a trial, unless it has no round trips.
func (h *HDR) Write(t Trial) error {
	if t.RoundTrips == nil || t.RoundTrips.TotalCount() == 0 {
		return nil
	}
	interval, err := nanoseconds(t.RoundTrips)
	if err != nil {
		return err
	}
	interval.SetTag(t.tag())
	interval.SetStartTimeMs(t.Time.UnixMilli())
	interval.SetEndTimeMs(t.Time.Add(time.Duration(t.Window * float64(time.Second))).UnixMilli())
	return h.w.OutputIntervalHistogram(interval)
}

// tag names what a trial has in common with others of its kind, such as 2000@120000/confirm/OK. A tag has no commas and
// no spaces.
func (t *Trial) tag() string {
	phase := ""
	if t.Phase != "" {
		phase = "/" + string(t.Phase)
	}
	return fmt.Sprintf("%d@%.0f%s/%s", t.Connections, t.Nominal, phase, t.Verdict)
}

// nanoseconds is a histogram of microseconds in nanoseconds, with the same precision: to 0.1 % it has the same
// percentiles, of which the upper end of a value's range stands for the value.
func nanoseconds(us *hdrhistogram.Histogram) (*hdrhistogram.Histogram, error) {
	const factor = int64(time.Microsecond)
	ns := hdrhistogram.New(1, 2*factor*us.HighestTrackableValue(), int(us.SignificantFigures()))
	for _, bar := range us.Distribution() {
		if err := ns.RecordValues(factor*bar.To, bar.Count); bar.Count > 0 && err != nil {
			return nil, err
		}
	}
	return ns, nil
}
