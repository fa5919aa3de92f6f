package server

import "errors"

// ForConformance sets a configuration to what the SockJS protocol's test suite expects of a server: small responses, and
// room for the messages of 16 MiB with which WebSocket suites try its raw echo.
func ForConformance(c *Config) {
	c.ResponseLimit = 4096
	c.MessageBytesMax, c.RawMessageBytesMax = RawMessageBytesLimit, RawMessageBytesLimit
	c.OutboxBytesMax = 4 * RawMessageBytesLimit
}

// HandleConformance adds the services that the suite expects: /echo, /disabled_websocket_echo, /cookie_needed_echo and
// /close.
func (s *Server) HandleConformance() error {
	return errors.Join(
		s.Handle("/echo", Echo()),
		s.Handle("/disabled_websocket_echo", Echo(), func(o *Options) { o.NoWebSocket = true }),
		s.Handle("/cookie_needed_echo", Echo(), func(o *Options) { o.JSessionID = true }),
		s.Handle("/close", Closer()),
	)
}
