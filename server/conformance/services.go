package conformance

import (
	"errors"

	"github.com/sockloop/sockloop/server"
)

// Configure sets a configuration to what the SockJS protocol's test suite expects of a server: small responses, and
// room for the messages of 16 MiB with which WebSocket suites try its raw echo.
func Configure(c *server.Config) {
	c.ResponseLimit = 4096
	c.MessageBytesMax, c.RawMessageBytesMax = server.RawMessageBytesLimit, server.RawMessageBytesLimit
}

// Handle adds the services that the suite expects: /echo, /disabled_websocket_echo, /cookie_needed_echo and /close.
func Handle(s *server.Server) error {
	return errors.Join(
		s.Handle("/echo", server.Echo()),
		s.Handle("/disabled_websocket_echo", server.Echo(), func(o *server.Options) { o.NoWebSocket = true }),
		s.Handle("/cookie_needed_echo", server.Echo(), func(o *server.Options) { o.JSessionID = true }),
		s.Handle("/close", closer{}),
	)
}

// closer closes every session as soon as it opens, with c[3000,"Go away!"].
type closer struct{}

func (closer) OnOpen(s *server.Session)                    { s.Close(server.CodeGoAway, "Go away!") }
func (closer) OnClose(*server.Session, server.CloseReason) {}
func (closer) OnMessage(*server.Session, *server.Message)  {}
