package results

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Wall is how many bytes a second one thread can hand to sockets of the machine when it does nothing else: no server
// can send more from one CPU.
type Wall struct {
	Block       int     `json:"block,omitempty"`
	Connections int     `json:"connections"`
	Bytes       int     `json:"send_bytes"`       // of a send
	Rounds      int     `json:"rounds,omitempty"` // a second, of a send to each; 0 is one after the other
	Window      float64 `json:"window_s"`
	BytesRate   float64 `json:"bytes_rate"` // sent a second
	SendsRate   float64 `json:"sends_rate"` // that took something, whole or in part
	Full        int64   `json:"full"`       // sends that found a full socket
	CPU         float64 `json:"cpu_s"`      // of the sender's thread, softirqs on its account included
	BytesPerCPU float64 `json:"bytes_per_cpu_second"`
	CPUPerSend  float64 `json:"cpu_per_send_ns"`
	ReaderCPU   float64 `json:"reader_cpu_s"`

	CongestionControl string `json:"congestion_control"`
}

// WallFile is the file of a folder of results that has the walls.
const WallFile = "wall.jsonl"

// wallsAt are the most bytes a second of a level, by block, whatever the size of a send.
func (m *Measurement) wallsAt(connections int) map[int]float64 {
	blocks := map[int]float64{}
	for _, w := range m.KernelWalls {
		if w.Connections == connections {
			blocks[w.Block] = max(blocks[w.Block], w.BytesRate)
		}
	}
	return blocks
}

// Wall is the median over the blocks of the most bytes a second that can be sent at a level; 0 is not measured.
func (m *Measurement) Wall(connections int) float64 {
	return Median(slices.Collect(maps.Values(m.wallsAt(connections)))...)
}

// WallMessages is that many bytes a second as messages of the size that the base server sends: what the wall is in
// charts of messages; 0 is not measured.
func (m *Measurement) WallMessages(connections int) float64 {
	base := m.Server(m.Manifest.Base)
	if base == nil {
		return 0
	}
	x := base.At(connections)
	if x.Out == 0 {
		return 0
	}
	return m.Wall(connections) * x.MaxDelivered / x.Out
}

// wallShare is how much of the wall a server sent when most was delivered, in the median of the blocks; 0 is not
// measured.
func (m *Measurement) wallShare(s *Server, x *LevelSummary) float64 {
	var shares []float64
	walls := m.wallsAt(x.Connections)
	for i := range x.Searches {
		f := &x.Searches[i]
		if t, w := s.fullest(f), walls[f.Block]; t != nil && w > 0 {
			shares = append(shares, t.Delivered*t.BytesPerMessage/w)
		}
	}
	return Median(shares...)
}

func wallCell(share float64) string {
	if share == 0 {
		return missing
	}
	return strconv.Itoa(int(100*share+0.5)) + " %"
}

const (
	// bytesShare is how much of the kernel's wall is so near to it that the server stands there.
	bytesShare = 0.75
	// batches is how many messages a frame has at least, of a server that sends several with one.
	batches = 2
)

// StandsAt is what a server's saturation stands at, as far as its figures show it.
func (m *Measurement) StandsAt(s *Server, x *LevelSummary) string {
	share := m.wallShare(s, x)
	switch {
	case x.LowerBound:
		return "not the server"
	case share >= bytesShare:
		return "bytes out"
	case x.PerFrame > 0 && x.PerFrame < batches:
		return "frames out"
	case share > 0:
		return "messages in, or its program"
	}
	return missing
}

// StandsText explains that.
var StandsText = fmt.Sprintf("What a saturation stands at is read off its figures: at the bytes that go out, with "+
	"%.0f %% of the kernel's wall or more; at the frames that go out, if each has one message; else at the messages "+
	"that come in, or at what its program does with them: make bench-walls tells.", 100*bytesShare)
