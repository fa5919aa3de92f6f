package loadclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// secure is TLS on a socket. crypto/tls wants a net.Conn, and a worker has a descriptor that it reads when epoll says
// so: this is the net.Conn in between. While a client is dialed it is the connection itself. From then on it reads what
// the worker has read of the descriptor, and writes to what the socket has not sent.
type secure struct {
	dialing net.Conn // nil from when a worker has it
	tls     *tls.Conn
	socket  *socket
	in      []byte // ciphertext of the present read, borrowed
}

// plainBytes is what one read of TLS yields at most: a record.
const plainBytes = 16 << 10

// dialSecure makes the TLS handshake on a connection.
func dialSecure(ctx context.Context, t Target, c net.Conn) (*secure, error) {
	s := &secure{dialing: c}
	s.tls = tls.Client(s, t.TLS)
	if err := s.tls.HandshakeContext(ctx); err != nil {
		return nil, tlsError(t, err)
	}
	return s, nil
}

// tlsError says what to do about a TLS handshake that failed.
func tlsError(t Target, err error) error {
	var untrusted *tls.CertificateVerificationError
	var name x509.HostnameError
	var expired x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS):
		return fmt.Errorf("%w: %s does not speak TLS: give it as ws:// or http://", errTarget, t)
	case errors.As(err, &name):
		return fmt.Errorf("%w: the certificate of %s is for another name: %w: use that in the URL, or --insecure",
			errTarget, t, name)
	case errors.As(err, &expired):
		return fmt.Errorf("%w: the certificate of %s is not valid: %w: renew it, or --insecure", errTarget, t, expired)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: the certificate of %s is not trusted: %w: give the authority that signed it with "+
			"--ca FILE, or --insecure to check none", errTarget, t, untrusted.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %s does not answer the TLS handshake within %v: if it speaks none, give it as ws:// or "+
			"http://", errTarget, t, dialTimeout)
	}
	return fmt.Errorf("%w: %s: the TLS handshake failed: %w", errTarget, t, err)
}

// errAgain says that the descriptor has no more for now. crypto/tls keeps the part of a record that it has when the
// error is temporary.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing to read for now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read reads ciphertext.
func (s *secure) Read(p []byte) (int, error) {
	if s.dialing != nil {
		return s.dialing.Read(p)
	}
	if len(s.in) == 0 {
		return 0, errAgain
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

// Write takes ciphertext, which the socket sends when it can.
func (s *secure) Write(p []byte) (int, error) {
	if s.dialing != nil {
		return s.dialing.Write(p)
	}
	s.socket.unsent = append(s.socket.unsent, p...)
	return len(p), nil
}

// receive decrypts what a socket has read, and hands it to the socket's link. It goes on until all is taken: what
// waited in the tls.Conn would wait for as long as the descriptor is quiet.
func (s *secure) receive(data []byte) error {
	s.in = data
	socket, w := s.socket, s.socket.c.w
	if w.plain == nil {
		w.plain = make([]byte, plainBytes)
	}
	for socket.secure == s { // a link may replace the connection
		n, err := s.tls.Read(w.plain)
		if n > 0 {
			if err := socket.c.link.receive(socket, w.plain[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, errAgain):
			if len(socket.unsent) > 0 && !socket.waiting { // an answer of TLS itself
				return socket.push(socket.unsent)
			}
			return nil
		case errors.Is(err, io.EOF):
			return socket.c.link.ended(socket)
		default:
			return fmt.Errorf("TLS: %w", err)
		}
	}
	return nil
}

// The rest of a net.Conn. A worker has no use for deadlines, and closes descriptors.

// Close closes the connection while it is dialed.
func (s *secure) Close() error {
	if s.dialing != nil {
		return s.dialing.Close()
	}
	return nil
}

// LocalAddr is not known.
func (s *secure) LocalAddr() net.Addr { return nil }

// RemoteAddr is not known.
func (s *secure) RemoteAddr() net.Addr { return nil }

// SetDeadline is the connection's while it is dialed.
func (s *secure) SetDeadline(t time.Time) error {
	if s.dialing != nil {
		return s.dialing.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is the connection's while it is dialed.
func (s *secure) SetReadDeadline(t time.Time) error {
	if s.dialing != nil {
		return s.dialing.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is the connection's while it is dialed.
func (s *secure) SetWriteDeadline(t time.Time) error {
	if s.dialing != nil {
		return s.dialing.SetWriteDeadline(t)
	}
	return nil
}
