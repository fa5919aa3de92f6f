package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of the admin plane. Its connections take descriptors from those that are reserved beside the clients'
// (server.Config.DescriptorsReserved, 256).
const (
	ownSocketsMax = 64 // beyond it the one that has been idle for longest is closed
	headBytesMax  = 16 << 10
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second // a profile lasts as long as it was asked for, and so much longer
	idleTimeout   = 2 * time.Minute  // longer than from one scrape to the next
	stopTimeout   = time.Second
)

// Serve answers the connections of a listener with the handler that New made, until ctx is done; then it gives requests
// under way one second, and returns nil. Any other end is an error. ctx should end after the server has drained, so
// that probes see it drain. The listener is owned: it is closed at the end. log is told (debug) of connections that
// fail; nil is silent.
//
// There are at most 64 connections, with request heads of 16 KiB, 10 s to send a request, 30 s to read an answer, and
// 2 minutes between requests. One more takes the place of the one that has been idle for longest.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	open := newSockets(ownSocketsMax)
	s := &http.Server{
		Handler: open.handler(handler), ConnState: open.changed, ConnContext: withSocket,
		MaxHeaderBytes: headBytesMax, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.Shutdown(stopping) != nil {
		_ = s.Close() // a profile, or somebody who does not read his answer
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
