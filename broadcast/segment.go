package broadcast

import "sort"

// segment is a stretch of a stream in one piece of memory. What data holds is shared: it is never written again, so a
// write to a socket may read it at any time; only bytes behind len(data) are still free.
type segment struct {
	data      []byte
	entries   []entry
	before    uint64 // messages of the stream before it
	start     uint64 // bytes of the stream before it
	next      *segment
	resting   *cursor  // the first of the cursors in this segment, which are a list
	madeAt    int64    // on the clock of Pace
	waitedFor patience // those of its cursors are waited for until waitUntil, on the same clock
	waitUntil int64
}

// entry is where a frame lies, or several small ones: they count as one, and none of them leaves before all have.
type entry struct {
	end      uint32 // offset behind it in the segment, which is of less than 4 GiB
	messages uint32 // messages of the segment up to its end
	seq      uint64 // of the first batch in it
}

const (
	entrySize = 16 // bytes of memory
	// mergeBytes is the size below which an entry takes in the next frame. So tables cost a sixteenth of their
	// segments, unless order keeps small batches apart.
	mergeBytes = 256
)

func newSegment(size int) *segment {
	return &segment{data: make([]byte, 0, size), entries: make([]entry, 0, size/mergeBytes)}
}

// bytes is the memory of the segment.
func (g *segment) bytes() int { return cap(g.data) + entrySize*cap(g.entries) }

// clear makes a segment ready for reuse.
func (g *segment) clear() { *g = segment{data: g.data[:0], entries: g.entries[:0]} }

// add notes a frame that ends at end: in the last entry if it may be merged and is not too large, or in one of its own.
func (g *segment) add(e entry, merge bool, frameBytesMax int) {
	if last := len(g.entries) - 1; merge && last >= 0 {
		begin, end := g.begin(last), g.entries[last].end
		if int(end)-begin < mergeBytes && int(e.end)-begin <= frameBytesMax {
			g.entries[last].end, g.entries[last].messages = e.end, e.messages
			return
		}
	}
	g.entries = append(g.entries, e)
}

// at is the index of the first entry that ends behind off.
func (g *segment) at(off int) int {
	if n := len(g.entries); n == 0 || int(g.entries[n-1].end) <= off {
		return n
	}
	return sort.Search(len(g.entries), func(i int) bool { return int(g.entries[i].end) > off })
}

// from is the index of the first entry with the number seq or a higher one.
func (g *segment) from(seq uint64) int {
	return sort.Search(len(g.entries), func(i int) bool { return g.entries[i].seq >= seq })
}

// begin is the offset at which entry i begins.
func (g *segment) begin(i int) int {
	if i == 0 {
		return 0
	}
	return int(g.entries[i-1].end)
}

// messagesBefore is the number of the stream's messages before entry i.
func (g *segment) messagesBefore(i int) uint64 {
	if i == 0 {
		return g.before
	}
	return g.before + uint64(g.entries[i-1].messages)
}

// spares are segments kept for reuse.
type spares struct {
	list  []*segment
	bytes int
}

func (p *spares) put(at *segment) {
	at.clear()
	p.list = append(p.list, at)
	p.bytes += at.bytes()
}

// take returns a segment of at least size bytes, nil if there is none.
func (p *spares) take(size int) *segment {
	for i, at := range p.list {
		if cap(at.data) >= size {
			last := len(p.list) - 1
			p.list[i] = p.list[last]
			p.list[last] = nil
			p.list = p.list[:last]
			p.bytes -= at.bytes()
			return at
		}
	}
	return nil
}
