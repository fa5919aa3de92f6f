package results

import (
	"fmt"
)

// inputWall is how many times more a server must carry when few connections send for what comes in to have been its
// limit: less may be chance.
const inputWall = 1.25

// Walls compares a server with itself when only a part of the connections send, at a level: what comes in is no limit
// then, only what goes out.
type Walls struct {
	All, Some LevelSummary
	Ratio     Comparison
}

// InputBound tells whether the server stood at what comes in when all sent; else it stood at what goes out.
func (x *Walls) InputBound() bool { return x.Ratio.Ratio >= inputWall }

// walls are those of a server at a level, if it was measured in both ways there.
func (m *Measurement) walls(s *Server, n int) (x Walls, ok bool) {
	for i := range m.Servers {
		some := &m.Servers[i]
		if some.Of != s.Name {
			continue
		}
		x = Walls{All: s.At(n), Some: some.At(n)}
		if len(x.All.Searches) == 0 || len(x.Some.Searches) == 0 {
			continue
		}
		c, err := CompareLevel(x.All.Searches, x.Some.Searches)
		x.Ratio = c
		return x, err == nil
	}
	return x, false
}

// through adds what came in and went out in the trials in which the searches found the most delivered.
func (s *Server) through(x *LevelSummary) {
	var in, out, perWrite, perFrame []float64
	for i := range x.Searches {
		if t := s.fullest(&x.Searches[i]); t != nil {
			in, out = append(in, t.SendRate), append(out, t.Delivered*t.BytesPerMessage)
			perWrite, perFrame = append(perWrite, t.MessagesPerWrite), append(perFrame, t.MessagesPerFrame)
		}
	}
	x.In, x.Out, x.PerWrite, x.PerFrame = Median(in...), Median(out...), Median(perWrite...), Median(perFrame...)
}

// fullest is the trial that a search's MaxDelivered is from, nil if there is no record of it.
func (s *Server) fullest(f *Saturation) *Trial {
	for i := range s.Trials {
		if t := &s.Trials[i]; t.Connections == f.Connections && t.Block == f.Block && t.Delivered == f.MaxDelivered {
			return t
		}
	}
	return nil
}

// WallsTable is the head and the rows of a table that says at which of the two walls servers stand; there are no rows
// where that was not measured.
func (m *Measurement) WallsTable() (head []string, rows [][]string) {
	for _, n := range m.Levels() {
		for i := range m.Servers {
			s := &m.Servers[i]
			x, ok := m.walls(s, n)
			if !ok {
				continue
			}
			head = []string{
				"connections", "server", "all send: delivered at most", "in, messages", "out, MB",
				fmt.Sprintf("%d send: delivered at most", x.Some.Searches[0].Publishers), "in, messages", "out, MB",
				"saturates × as late", "when all send it stands at",
			}
			at := "what goes out"
			if x.InputBound() {
				at = "what comes in"
			}
			rows = append(rows, []string{
				fmt.Sprint(n), s.Name, measured(x.All.MaxDelivered), measured(x.All.In), megabytes(x.All.Out),
				measured(x.Some.MaxDelivered), measured(x.Some.In), megabytes(x.Some.Out), x.Ratio.String(), at,
			})
		}
	}
	return head, rows
}

// WallsText explains that table.
var WallsText = fmt.Sprintf("What comes in is messages a second, what goes out is bytes, when most was delivered. "+
	"A server that saturates %v times as late when few connections send stood at what comes in.", inputWall)
