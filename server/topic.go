package server

import (
	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// The wires in which a topic's batches can leave.
const (
	wireWebSocket    broadcast.Wire = iota // text frames a["m1","m2",…]
	wireRawWebSocket                       // a text frame a message
	wireElements                           // "m1","m2",… for the transports over HTTP, which differ in what they put around it
	wireScript                             // the same quoted once more, for those whose frames are strings of JavaScript
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
		t.log.Seal(t.loop.nextSeq())
	}
}
