package loadclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// streamLink is a SockJS session over HTTP, as sockjs-client has it: a response on one connection that is asked for
// again whenever it ends, and requests with messages on another, one at a time, each with everything that became due
// while the last one was away.
type streamLink struct {
	c         *conn
	receiver  *socket
	sender    *socket
	transport streamTransport
	request   []byte // that asks for a response
	postHead  []byte // of a request with messages, up to its length
	template  template

	// Receiving: where we are in a response.
	inBody bool
	head   []byte
	chunks codec.ChunkedReader
	lead   []byte // the first bytes of a line, up to what tells its kind
	kind   byte   // of the line's frame
	held   []byte // its last bytes so far, which may be the array's end

	// Sending.
	body   []byte // messages that wait for the answer to the last request
	away   bool   // a request is
	last   []byte // the request that is
	tries  int    // connections since the last answer
	answer []byte // as far as it has come
}

// streamTransport is how a stream frames what it carries, line by line.
type streamTransport struct {
	method, path string
	before       string // a frame
	after        string // an array, in its line
}

func newStreamLink(c *conn, d dialed) *streamLink {
	t := c.target()
	l := &streamLink{
		c: c, transport: *declared(t.Protocol).stream, inBody: true,
		request: t.streamRequest(d.opening),
		postHead: fmt.Appendf(nil, "POST %s HTTP/1.1\r\n%sContent-Type: text/plain\r\nContent-Length: ",
			t.request(t.Path+d.session+"/xhr_send"), t.headerLines(c.index)),
		template: c.w.template(c.w.idBase + c.index),
	}
	l.receiver, l.sender = newSocket(c, d.channel), newSocket(c, d.sender)
	return l
}

// streamRequest asks for the stream of a session.
func (t Target) streamRequest(d opening) []byte {
	how := declared(t.Protocol).stream
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\n%sContent-Length: 0\r\n\r\n",
		how.method, t.request(t.Path+d.session+how.path), t.headerLines(d.index))
}

func (l *streamLink) sockets() []*socket { return []*socket{l.receiver, l.sender} }
func (l *streamLink) ready() bool        { return true }

func (l *streamLink) writable(*socket) error { return nil }

func (l *streamLink) betweenFrames() bool { return false } // there is no sample

func (l *streamLink) skimmed(int) {} // its lines are all looked at

// triesMax is how many connections are tried for one request.
const triesMax = 3

// ended lets go of a connection for sending: a server may close an idle one at any time, and a request may just have
// been on its way. Browsers repeat it then, and so do we; if it had been served, its messages come twice, and are
// counted so.
func (l *streamLink) ended(s *socket) error {
	if s != l.sender {
		return io.EOF
	}
	_ = unix.Close(s.fd)
	s.use(closed)
	l.answer = l.answer[:0]
	switch {
	case !l.away:
		return nil
	case l.tries == triesMax:
		return io.EOF
	}
	l.tries++
	return l.write()
}

// connect opens a connection for sending.
func (l *streamLink) connect() error {
	ch, _, err := dialTCP(context.Background(), l.c.w.target, l.c.index, nil)
	if err != nil {
		return err
	}
	l.sender.use(ch)
	return l.c.w.add(l.sender)
}

func (l *streamLink) receive(s *socket, data []byte) error {
	if s == l.sender {
		return l.answered(data)
	}
	for len(data) > 0 {
		if !l.inBody {
			rest, err := l.responseHead(data)
			if err != nil || !l.inBody {
				return err
			}
			data = rest
			continue
		}
		piece, rest, done, err := l.chunks.Next(data)
		if err != nil {
			return err
		}
		if err := l.lines(piece); err != nil {
			return err
		}
		if data = rest; done {
			if err := l.again(); err != nil {
				return err
			}
		} else if len(piece) == 0 {
			return nil
		}
	}
	return nil
}

// again asks for the next response, the last one having reached its limit.
func (l *streamLink) again() error {
	l.inBody, l.chunks = false, codec.ChunkedReader{}
	return l.receiver.write(append(l.receiver.buffer(), l.request...))
}

// headBytesMax is the size of a response head.
const headBytesMax = 16 << 10

// responseHead takes the head of a response and checks it.
func (l *streamLink) responseHead(data []byte) (rest []byte, err error) {
	head, rest, whole := takeHead(&l.head, data)
	if !whole {
		if len(l.head) > headBytesMax {
			return nil, fmt.Errorf("a response head of %d bytes", len(l.head))
		}
		return nil, nil
	}
	chunked := bytes.Contains(bytes.ToLower(head), []byte("\r\ntransfer-encoding: chunked"))
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || !chunked {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return nil, fmt.Errorf("the next stream is answered with %q", line)
	}
	l.inBody = true
	return rest, nil
}

// takeHead cuts a response head off data, or keeps data as a part of one. The head is scratch.
func takeHead(kept *[]byte, data []byte) (head, rest []byte, whole bool) {
	had := len(*kept)
	*kept = append(*kept, data...)
	end := bytes.Index(*kept, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, nil, false
	}
	head = (*kept)[:end+2]
	*kept = (*kept)[:0]
	return head, data[end+4-had:], true
}

// lines takes a part of the stream.
func (l *streamLink) lines(p []byte) error {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.line(p)
			return nil
		}
		l.line(p[:i])
		if err := l.lineEnd(); err != nil {
			return err
		}
		p = p[i+1:]
	}
	return nil
}

// line takes a part of a line. Of an array, all but its last bytes goes on at once.
func (l *streamLink) line(p []byte) {
	if lead := len(l.transport.before) + len("a["); len(l.lead) < lead {
		n := min(lead-len(l.lead), len(p))
		l.lead, p = append(l.lead, p[:n]...), p[n:]
		if len(l.lead) < lead {
			return
		}
		l.kind = l.lead[lead-2]
		array := l.kind != 'a' || l.lead[lead-1] == '['
		if string(l.lead[:lead-2]) != l.transport.before || !array {
			l.kind = 0
		}
	}
	if l.kind == 'c' {
		l.held = append(l.held, p...)
	}
	if l.kind != 'a' || len(p) == 0 {
		return
	}
	after := len(l.transport.after)
	if over := len(l.held) + len(p) - after; over > 0 {
		n := min(over, len(l.held))
		if n > 0 {
			l.c.elements(l.held[:n])
			l.held = append(l.held[:0], l.held[n:]...)
		}
		if over -= n; over > 0 {
			l.c.elements(p[:over])
			p = p[over:]
		}
	}
	l.held = append(l.held, p...)
}

// lineEnd follows the last byte of a line.
func (l *streamLink) lineEnd() error {
	kind, held := l.kind, l.held
	l.lead, l.kind, l.held = l.lead[:0], 0, l.held[:0]
	switch {
	case kind == 'c':
		return fmt.Errorf("the server closed the session: %.100s", held)
	case kind != 'a': // a prelude, an open frame, a heartbeat
		return nil
	case string(held) != l.transport.after:
		return fmt.Errorf("a SockJS frame that is no array")
	}
	l.c.frameEnd()
	return nil
}

// send takes n messages, which leave as soon as the last request is answered: as an application hands them to
// sockjs-client, whatever that does with them.
func (l *streamLink) send(n int, stamp int64) error {
	l.body = l.template.append(l.body, stamp, n)
	if l.away {
		return nil
	}
	return l.post()
}

// say takes texts, which leave in the same way.
func (l *streamLink) say(texts []string) error {
	d := declared(l.c.w.target.Protocol).dialect
	for _, text := range texts {
		l.body = append(l.body, d.sendBefore+quote(text)+d.sendAfter...)
	}
	if l.away || len(l.body) == 0 {
		return nil
	}
	return l.post()
}

// post sends what waits.
func (l *streamLink) post() error {
	size := len(l.body) + 1 // brackets, without the last comma
	p := append(l.last[:0], l.postHead...)
	p = strconv.AppendInt(p, int64(size), 10)
	p = append(p, "\r\n\r\n["...)
	p = append(p, l.body[:len(l.body)-1]...)
	l.last = append(p, ']')
	l.away, l.body = true, l.body[:0]
	return l.write()
}

// write sends the last request.
func (l *streamLink) write() error {
	if l.sender.fd < 0 {
		if err := l.connect(); err != nil {
			return err
		}
	}
	err := l.sender.write(append(l.sender.buffer(), l.last...))
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return l.ended(l.sender)
	}
	return err
}

// answered takes the answer to a request with messages.
func (l *streamLink) answered(data []byte) error {
	head, rest, whole := takeHead(&l.answer, data)
	if !whole {
		if len(l.answer) > headBytesMax {
			return fmt.Errorf("a response head of %d bytes", len(l.answer))
		}
		return nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 204 ")) || len(rest) > 0 {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return fmt.Errorf("messages are answered with %q", line)
	}
	l.tries = 0
	if l.away = false; len(l.body) > 0 {
		return l.post()
	}
	return nil
}
