package server

import (
	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// The wires in which a topic's batches can leave.
const (
	wireWebSocket    broadcast.Wire = iota // text frames a["m1","m2",…]
	wireRawWebSocket                       // a text frame a message
	wireElements                           // "m1","m2",… for xhr and xhr_streaming, which differ in what they put around it
	wireEvents                             // the same as event streams have it
	wireScript                             // the same quoted once more, for frames that are strings of JavaScript
	wires
)

// Topic is a stream of messages that sessions subscribe to. Its methods may be called on the loop only: from a Service,
// or from a function posted with Server.Post.
type Topic struct {
	loop  *loop
	log   *broadcast.Topic
	dirty bool
}

func newTopic(l *loop) *Topic {
	t := &Topic{loop: l}
	t.log = broadcast.NewTopic(broadcast.Config{
		LogBytesMax:   l.cfg.LogBytesMax,
		FrameBytesMax: l.cfg.FrameBytesMax,
		Wires: []broadcast.Encoder{
			wireWebSocket:    codec.AppendWebSocketArray,
			wireRawWebSocket: codec.AppendWebSocketTexts,
			wireElements:     codec.AppendElements,
			wireEvents:       codec.AppendEventElements,
			wireScript:       codec.AppendScriptElements,
		},
	})
	l.topics = append(l.topics, t)
	return t
}

// Publish sends a message to every subscriber, the publisher included if it is one. It copies m, and that is the only
// copy: everything published in one turn of the loop leaves at its end, encoded once for all.
func (t *Topic) Publish(m *Message) {
	l := t.loop
	if l.mixed > 0 && l.lastTopic != nil && l.lastTopic != t {
		l.lastTopic.seal() // somebody hears both, in the order of publication
	}
	l.lastTopic = t
	l.stats.MessagesPublished++
	size := t.log.Publish(m)
	if !t.dirty {
		t.dirty = true
		l.dirty = append(l.dirty, t)
		l.arm()
	}
	if size >= l.cfg.BatchBytesMax {
		l.deliver()
	}
}

// Len is the number of subscribers.
func (t *Topic) Len() int { return t.log.Len() }

func (t *Topic) seal() {
	if t.log.IsOpen() {
		before := t.log.Published()
		t.log.Seal(t.loop.nextSeq())
		t.loop.stats.MessagesDelivered += (t.log.Published() - before) * uint64(t.log.Len())
	}
}

// forms are the ways in which the wires of the transports over HTTP write a frame, and back.
var forms = [wires]struct{ write, read func(dst, p []byte) []byte }{
	wireElements: {asIs, asIs},
	wireEvents:   {codec.AppendEvent, codec.AppendUnevent},
	wireScript:   {codec.AppendScript, codec.AppendUnscript},
}
