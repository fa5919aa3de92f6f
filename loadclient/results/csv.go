package results

import (
	"encoding/csv"
	"io"
	"strconv"
)

// csvHeader has the seven columns of 2011, and behind them ours: the rate times the connections, and what of it came.
var csvHeader = []string{
	"concurrency", "effective_rate", "N", "min", "mean", "max", "stdev", "nominal_rate", "delivered_rate",
}

// CSV writes trials as the load client of 2011 did: the rate at which messages were really sent, and the round trips
// from the actual send in milliseconds.
type CSV struct{ w *csv.Writer }

// NewCSV writes the header, unless the table goes on.
func NewCSV(w io.Writer, goesOn bool) (*CSV, error) {
	c := &CSV{csv.NewWriter(w)}
	if goesOn {
		return c, nil
	}
	if err := c.w.Write(csvHeader); err != nil {
		return nil, err
	}
	return c, c.flush()
}

// Write adds a trial. One that lacks an own message has no row, as in 2011; nor has one that says nothing of the
// server, unless it is of the ramp of 2011, which knew no verdicts.
func (c *CSV) Write(t Trial) error {
	if !t.Valid() && t.Phase != PhaseRamp || t.RTTActual.Count == 0 || t.OwnMissing > 0 {
		return nil
	}
	exact := func(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) }
	whole := func(x float64) string { return strconv.FormatFloat(x, 'f', 0, 64) }
	l := t.RTTActual
	row := []string{
		strconv.Itoa(t.Connections), exact(float64(t.Sent-t.SentLate) / t.Window), strconv.FormatInt(l.Count, 10),
		whole(l.Min), exact(l.Mean), whole(l.Max), exact(l.StdDev), exact(t.Nominal), exact(t.Delivered),
	}
	if err := c.w.Write(row); err != nil {
		return err
	}
	return c.flush()
}

func (c *CSV) flush() error {
	c.w.Flush()
	return c.w.Error()
}
