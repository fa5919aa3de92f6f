package server

import (
	"net/http"
	"strconv"
)

const (
	textPlain = "text/plain; charset=UTF-8"
	// neverCached is for everything dynamic, word for word as the SockJS protocol wants it.
	neverCached = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
	// busyResponse answers a connection that is one too many.
	busyResponse = "HTTP/1.1 503 Service Unavailable\r\n" +
		"Connection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)

// Lengths of a body that are none.
const (
	noLength = -1 // there is no body by definition
	streamed = -2 // its end shows by itself: the last chunk or, in HTTP/1.0, the end of the connection
)

// response is what is known of a response before it begins.
type response struct {
	loop      *loop
	c         *conn
	header    []string // name, value, name, value
	keepAlive bool
	http10    bool
	bodiless  bool // the answer to HEAD
}

// appendHead appends status line and headers.
func (o *response) appendHead(p []byte, status, length int) []byte {
	p = append(p, "HTTP/1.1 "...)
	p = strconv.AppendInt(p, int64(status), 10)
	p = append(p, ' ')
	p = append(p, http.StatusText(status)...)
	p = append(p, "\r\n"...)
	for i := 0; i < len(o.header); i += 2 {
		p = appendHeader(p, o.header[i], o.header[i+1])
	}
	switch {
	case length >= 0:
		p = append(p, "Content-Length: "...)
		p = strconv.AppendInt(p, int64(length), 10)
		p = append(p, "\r\n"...)
	case length == streamed && o.http10:
		o.keepAlive = false
	case length == streamed:
		p = appendHeader(p, "Transfer-Encoding", "chunked")
	}
	if o.loop.departure.draining {
		o.keepAlive = false
	}
	switch {
	case status == http.StatusSwitchingProtocols:
	case !o.keepAlive:
		p = appendHeader(p, "Connection", "close")
	case o.http10:
		p = appendHeader(p, "Connection", "keep-alive")
	}
	return append(p, "\r\n"...)
}

func appendHeader(p []byte, name, value string) []byte {
	p = append(p, name...)
	p = append(p, ": "...)
	p = append(p, value...)
	return append(p, "\r\n"...)
}
