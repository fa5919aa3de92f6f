package loadclient

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/sockloop/sockloop/codec"
)

// With permessage-deflate a reference's stream is not the messages' bytes but the frames, as they came: a record each,
// its head and its payload. Who receives the same records receives the same messages, so one of a worker's connections
// inflates them for all. A server that compresses each connection's messages by itself makes stragglers of all but one:
// they inflate their own.

// recordHead is the size of a record's head: whether the payload is compressed, and how long it is.
const recordHead = 5

// inflatedMax is the size of the largest message that is inflated, in bytes.
const inflatedMax = 1 << 30

// framing takes records apart.
type framing struct {
	dialect  dialect
	inflater codec.Inflater
	err      error // the first record that could not be
}

// appendRecordHead appends the head of a record.
func appendRecordHead(dst []byte, deflated bool, size int) []byte {
	kind := byte(0)
	if deflated {
		kind = 1
	}
	return binary.BigEndian.AppendUint32(append(dst, kind), uint32(size))
}

// recordSize is the size of the record at the front of p, 0 when p ends before it does.
func recordSize(p []byte) int {
	if len(p) < recordHead {
		return 0
	}
	if size := recordHead + int(binary.BigEndian.Uint32(p[1:])); size <= len(p) {
		return size
	}
	return 0
}

// take calls each with the messages of a whole record.
func (f *framing) take(record []byte, each func(text []byte)) {
	payload := record[recordHead:]
	if record[0] == 1 {
		var err error
		if payload, err = f.inflater.Inflate(payload, inflatedMax); err != nil {
			f.fail(err)
			return
		}
	}
	f.messages(payload, each)
}

// messages calls each with the messages of a payload.
func (f *framing) messages(p []byte, each func(text []byte)) {
	before, after := len(f.dialect.before), len(f.dialect.after)
	if len(p) < before+after || string(p[:before]) != f.dialect.before || string(p[len(p)-after:]) != f.dialect.after {
		f.fail(fmt.Errorf("a compressed frame with %.100q", p))
		return
	}
	if p = p[before : len(p)-after]; !f.dialect.quoted {
		each(p)
		return
	}
	for len(p) > 0 {
		text, size := cutMessage(p, true)
		if size == 0 {
			f.fail(fmt.Errorf("half a message: %.100q", p))
			return
		}
		if text != nil {
			each(text)
		}
		p = p[size:]
	}
}

func (f *framing) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// frameAt is the end of a record, and how many messages were complete there.
type frameAt struct{ end, messages int }

// parseRecords is parse for records.
func (r *reference) parseRecords() {
	for r.complete < r.end {
		rest := r.unparsed()
		size := recordSize(rest)
		if size == 0 {
			return
		}
		end := r.complete + size
		r.framing.take(rest[:size], func(text []byte) { r.add(text, end) })
		r.complete = end
		r.frames = append(r.frames, frameAt{end, r.tally.messages})
	}
}

// cut takes a record or a message off the front of p, and calls each with the messages. A size of 0 means that p ends
// before it does.
func (r *reference) cut(p []byte, each func(text []byte)) (size int) {
	if r.framing != nil {
		if size = recordSize(p); size > 0 {
			r.framing.take(p[:size], each)
		}
		return size
	}
	text, size := cutMessage(p, r.quoted)
	if text != nil {
		each(text)
	}
	return size
}

// messagesBefore is how many messages were complete at a position.
func (r *reference) messagesBefore(pos int) int {
	i := sort.Search(len(r.frames), func(i int) bool { return r.frames[i].end > pos })
	if i == 0 {
		return 0
	}
	return r.frames[i-1].messages
}
