package loadclient

import (
	"errors"
	"fmt"
	"strings"
)

// dialect is what a protocol has around messages. Everything is text.
type dialect struct {
	before, after         string // what stands around the messages of a frame that is received on a WebSocket
	quoted                bool   // messages are JSON strings, joined by commas; else a frame is one message
	sendBefore, sendAfter string // what stands around a message that is sent, quotes included
	// other takes a frame without messages and says what must be answered, if anything; nil where each frame is a
	// message.
	other func(text string) (answer string, err error)
}

// sockJSFrame takes an open frame or a heartbeat.
func sockJSFrame(text string) (string, error) {
	switch {
	case text == "o" || text == "h":
		return "", nil
	case strings.HasPrefix(text, "c"):
		return "", fmt.Errorf("the server closed the session: %s", text)
	}
	return "", fmt.Errorf("%.100q is no SockJS frame (does that path speak raw WebSocket? --protocol websocket)", text)
}

// socketIOPacket takes a packet of Engine.IO 4 (https://socket.io/docs/v4/engine-io-protocol/) that is no event of
// ours: open, ping, connect, or the end.
func socketIOPacket(text string) (string, error) {
	switch {
	case text == "2":
		return "3", nil
	case strings.HasPrefix(text, "0{"), strings.HasPrefix(text, "40"), text == "6":
		return "", nil
	case text == "1", strings.HasPrefix(text, "41"), strings.HasPrefix(text, "44"):
		return "", errors.New("the server closed the session")
	}
	return "", fmt.Errorf("%.100q is no packet of Engine.IO 4", text)
}

// socketIO08Packet takes a packet of the protocol of 2011 (https://github.com/socketio/socket.io-spec) that is no
// message: connect, heartbeat, or the end.
func socketIO08Packet(text string) (string, error) {
	switch {
	case strings.HasPrefix(text, "2::"):
		return "2::", nil
	case strings.HasPrefix(text, "1::"), strings.HasPrefix(text, "8::"):
		return "", nil
	case strings.HasPrefix(text, "0::"), strings.HasPrefix(text, "7::"):
		return "", fmt.Errorf("the server closed the session: %s", text)
	}
	return "", fmt.Errorf("%.100q is no packet of Socket.IO 0.8", text)
}
