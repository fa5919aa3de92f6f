package broadcast

import "github.com/sockloop/sockloop/internal/budget"

// outbox holds what is meant for one receiver alone: whole frames, or elements of arrays, as its transport wants them.
type outbox struct {
	bytes   []byte
	parcels []parcel
	first   int  // of the parcels, the first that has not left
	sent    int  // bytes that have left
	begun   bool // the first parcel has left in part
	kept    int  // memory, as charged
}

// parcel is one post in the outbox, or several small ones, which count as one.
type parcel struct {
	end int
	seq uint64 // of the first post
}

const (
	parcelSize = 16 // bytes of memory
	// outboxKept is the memory that an empty outbox may keep, in bytes.
	outboxKept = 512
)

func (b *outbox) empty() bool { return b.first == len(b.parcels) }

// waiting is the size of what has not left, in bytes, with parcelSize for each parcel.
func (b *outbox) waiting() int { return len(b.bytes) - b.sent + parcelSize*(len(b.parcels)-b.first) }

// number is that of the next parcel, NoSeq when there is none.
func (b *outbox) number() uint64 {
	if b.empty() {
		return NoSeq
	}
	return b.parcels[b.first].seq
}

// unreadBefore is what has not left of the parcels with lower numbers than seq: they lie in one piece.
func (b *outbox) unreadBefore(seq uint64) []byte {
	end := b.sent
	for _, p := range b.parcels[b.first:] {
		if p.seq >= seq {
			break
		}
		end = p.end
	}
	return b.bytes[b.sent:end]
}

// begin is the offset at which parcel i begins.
func (b *outbox) begin(i int) int {
	if i == 0 {
		return 0
	}
	return b.parcels[i-1].end
}

// last is the number of the last parcel if it may take in size bytes more, NoSeq if it may not.
func (b *outbox) last(size, frameBytesMax int) uint64 {
	i := len(b.parcels) - 1
	if b.empty() {
		return NoSeq
	}
	if n := b.parcels[i].end - b.begin(i); n >= mergeBytes || n+size > frameBytesMax {
		return NoSeq
	}
	return b.parcels[i].seq
}

// post ends a parcel: what was appended to bytes, owned, since the last one. merge makes it a part of that.
func (b *outbox) post(bytes []byte, seq uint64, merge bool, a *budget.Account) {
	b.bytes = bytes
	if merge {
		b.parcels[len(b.parcels)-1].end = len(bytes)
	} else {
		b.parcels = append(b.parcels, parcel{len(bytes), seq})
	}
	if b.sent > max(len(b.bytes)/2, outboxKept) { // it is never empty, but most of it has left
		b.compact()
	}
	b.account(a)
}

// compact gives up the room of what has left.
func (b *outbox) compact() {
	b.bytes = b.bytes[:copy(b.bytes, b.bytes[b.sent:])]
	b.parcels = b.parcels[:copy(b.parcels, b.parcels[b.first:])]
	for i := range b.parcels {
		b.parcels[i].end -= b.sent
	}
	b.sent, b.first = 0, 0
}

// advance marks n bytes as sent.
func (b *outbox) advance(n int, a *budget.Account) {
	for b.sent += n; !b.empty() && b.parcels[b.first].end <= b.sent; {
		b.first++
	}
	if b.empty() {
		b.reset(outboxKept, a)
		return
	}
	b.begun = b.sent > b.begin(b.first)
}

// reset empties the outbox and keeps at most so much of its memory, in bytes.
func (b *outbox) reset(bytesKept int, a *budget.Account) {
	b.sent, b.first, b.begun = 0, 0, false
	b.bytes, b.parcels = b.bytes[:0], b.parcels[:0]
	if b.capacity() > bytesKept {
		b.bytes, b.parcels = nil, nil
	}
	b.account(a)
}

// replace exchanges the contents for bytes and parcels, both owned.
func (b *outbox) replace(bytes []byte, parcels []parcel, a *budget.Account) {
	b.bytes, b.parcels, b.first, b.sent, b.begun = bytes, parcels, 0, 0, false
	b.account(a)
}

func (b *outbox) capacity() int { return cap(b.bytes) + parcelSize*cap(b.parcels) }

// account charges what the memory has grown by.
func (b *outbox) account(a *budget.Account) {
	if n := b.capacity(); n != b.kept {
		a.Charge(n - b.kept)
		b.kept = n
	}
}
