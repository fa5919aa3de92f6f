package server

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// handshake answers an opening handshake (RFC 6455 section 4.2) or says what is wrong with it.
func handshake(x *exchange, r *route, raw bool) {
	h := x.r.Header
	key, version := h.Get("Sec-WebSocket-Key"), h.Get("Sec-WebSocket-Version")
	switch {
	case !hasToken(h, "Upgrade", "websocket"):
		x.text(http.StatusBadRequest, "Can \"Upgrade\" only to \"WebSocket\".\n")
	case !hasToken(h, "Connection", "upgrade") || !x.r.ProtoAtLeast(1, 1):
		x.text(http.StatusBadRequest, "\"Connection\" must be \"Upgrade\".\n")
	case version != "13" && version != version2011:
		x.set("Upgrade", "websocket") // RFC 9110 section 15.5.22
		x.set("Connection", "Upgrade")
		x.set("Sec-WebSocket-Version", "13, "+version2011)
		x.text(http.StatusUpgradeRequired, "This server speaks WebSocket versions 13 and 8.\n")
	case !validKey(key):
		x.text(http.StatusBadRequest, "\"Sec-WebSocket-Key\" must be 16 bytes in base64.\n")
	case x.response.loop.refusesSessions(false):
		x.refuseSession()
	default:
		upgrade(x, r, raw, key, version)
	}
}

// version2011 is what clients of 2011 speak; its frames are those of 13. They answer pings with a byte that is no
// frame.
const version2011 = "8"

func validKey(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16
}

// acceptKey is the answer to Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade turns the connection into a WebSocket and opens its session.
func upgrade(x *exchange, r *route, raw bool, key, version string) {
	c := x.response.c
	x.upgraded = true
	x.set("Upgrade", "websocket")
	x.set("Connection", "Upgrade")
	x.set("Sec-WebSocket-Accept", acceptKey(key))
	deflate := c.loop.deflater != nil && codec.AcceptsDeflate(x.r.Header.Values("Sec-WebSocket-Extensions"))
	if deflate {
		x.set("Sec-WebSocket-Extensions", codec.DeflateResponse)
	}
	c.loop.scratch = x.response.appendHead(c.loop.scratch[:0], http.StatusSwitchingProtocols, noLength)
	c.send(c.loop.scratch)
	if c.dead {
		return
	}
	c.loop.share.spend(openCost)
	w := newWebSocket(c, r, raw)
	w.pings = version != version2011
	if w.deflate = deflate; deflate {
		c.loop.stats.SessionsDeflate++
		w.reader.Inflater = &c.loop.inflater
	}
	c.protocol = w
	if !raw {
		w.control(codec.AppendFrame(nil, ws.OpText, []byte(codec.OpenFrame)))
	}
	w.session.opened()
}

// hasToken tells whether a comma-separated header contains a token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
