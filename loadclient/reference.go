package loadclient

import "bytes"

// blockBytes is the size of a piece of a reference.
const blockBytes = 4 << 20

// reference is the stream of messages that a worker's connections are receiving, kept once. A broadcast gives every
// connection the same bytes, so whoever is first adds them here, where they are parsed, and all others need only compare:
// that checks every byte of every connection, and costs a fraction of parsing it again.
//
// Positions count the messages' bytes, with a comma behind every one, whatever frames they came in; so servers that cut
// their frames differently from connection to connection are compared all the same.
type reference struct {
	quoted bool // messages are JSON strings
	blocks [][]byte
	spare  [][]byte
	end    int
	tally  *tally
	own    func(m parsed, end int) // called for each message, with the position at which it is complete

	begun   int    // position of the first message that is not complete
	partial []byte // its bytes, when they do not lie in one block
	counts  []int  // messages complete at the end of each block
}

func newReference(quoted bool) *reference { return &reference{quoted: quoted} }

// reset empties the reference and keeps its memory.
func (r *reference) reset(t *tally) {
	r.spare = append(r.spare, r.blocks...)
	r.blocks, r.counts = r.blocks[:0], r.counts[:0]
	r.end, r.begun, r.tally = 0, 0, t
	r.partial = r.partial[:0]
}

// at is what the reference holds from a position on, as far as it lies in one piece.
func (r *reference) at(pos int) []byte {
	block := r.blocks[pos/blockBytes]
	return block[pos%blockBytes : min(blockBytes, r.end-pos+pos%blockBytes)]
}

// append adds bytes that nobody had received yet.
func (r *reference) append(p []byte) {
	for len(p) > 0 {
		if r.end == len(r.blocks)*blockBytes {
			if r.end > 0 {
				r.counts = append(r.counts, r.tally.messages)
			}
			r.blocks = append(r.blocks, r.block())
		}
		n := copy(r.blocks[r.end/blockBytes][r.end%blockBytes:], p)
		r.end += n
		p = p[n:]
		r.parse()
	}
}

func (r *reference) block() []byte {
	if n := len(r.spare); n > 0 {
		b := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return b
	}
	return make([]byte, blockBytes)
}

// parse takes the messages that are complete.
func (r *reference) parse() {
	for r.begun < r.end {
		rest := r.at(r.begun)
		if len(r.partial) > 0 || r.begun+len(rest) < r.end { // across two blocks
			r.partial = r.partial[:0]
			for pos := r.begun; pos < r.end; {
				piece := r.at(pos)
				r.partial = append(r.partial, piece...)
				pos += len(piece)
			}
			rest = r.partial
		}
		text, size := cutMessage(rest, r.quoted)
		r.partial = r.partial[:0]
		if size == 0 {
			return
		}
		if text != nil {
			m := r.tally.add(text)
			r.own(m, r.begun+size)
		}
		r.begun += size
	}
}

// countAt is how many messages are complete at a position.
func (r *reference) countAt(pos int) int {
	block := pos / blockBytes
	n := 0
	if block > 0 {
		n = r.counts[block-1]
	}
	if block < len(r.blocks) {
		n += bytes.Count(r.blocks[block][:pos%blockBytes], []byte{','})
	}
	return n
}

// cutMessage takes a message off the front of p, or a comma, for which text is nil. A size of 0 means that p ends before
// the message does. Quoted messages are complete with their closing quote, others with the comma behind them.
func cutMessage(p []byte, quoted bool) (text []byte, size int) {
	if !quoted {
		comma := bytes.IndexByte(p, ',')
		if comma < 0 {
			return nil, 0
		}
		return p[:comma], comma + 1
	}
	if p[0] != '"' {
		return nil, 1
	}
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return p[1:i], i + 1
		}
	}
	return nil, 0
}
