package server

import (
	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// The wires in which a topic's batches can leave.
const (
	wireWebSocket    broadcast.Wire = iota // text frames a["m1","m2",…]
	wireRawWebSocket                       // a text frame a message
	wireElements                           // "m1","m2",… for xhr and xhr_streaming
	wireEvents                             // the same as event streams have it
	wireScript                             // the same quoted once more, for frames that are strings of JavaScript
	wireDeflate                            // wireWebSocket, compressed (RFC 7692)
	wireRawDeflate                         // wireRawWebSocket, compressed
	wires
)

// encoders write a batch in the form of each wire. With a deflater of nil nobody uses the compressed ones.
func encoders(d *codec.Deflater) []broadcast.Encoder {
	all := [wires]broadcast.Encoder{
		wireWebSocket:    codec.AppendWebSocketArray,
		wireRawWebSocket: codec.AppendWebSocketTexts,
		wireElements:     codec.AppendElements,
		wireEvents:       codec.AppendEventElements,
		wireScript:       codec.AppendScriptElements,
		wireDeflate:      d.AppendArray,
		wireRawDeflate:   d.AppendTexts,
	}
	return all[:]
}

// plain is a wire without compression.
func plain(w broadcast.Wire) broadcast.Wire {
	switch w {
	case wireDeflate:
		return wireWebSocket
	case wireRawDeflate:
		return wireRawWebSocket
	}
	return w
}

// quotings are the ways in which the wires of the transports over HTTP write a frame, and back.
var quotings = [wires]struct{ write, read func(dst, p []byte) []byte }{
	wireElements: {asIs, asIs},
	wireEvents:   {codec.AppendEvent, codec.AppendUnevent},
	wireScript:   {codec.AppendScript, codec.AppendUnscript},
}

// asIs is the quoting that leaves everything as it is.
func asIs(dst, p []byte) []byte { return append(dst, p...) }
