package server

// Stats counts what the server did since it started; the first group is the state at the moment of the snapshot. Plain
// integers: they belong to the loop, and Server.Stats copies them there.
type Stats struct {
	Connections    int
	Sessions       int
	LaggingConns   int // connections whose socket is full at the moment
	TopicLogsBytes int // memory of all topics' logs

	ConnectionsAccepted    uint64
	ConnectionsRefused     uint64 // beyond ConnectionsMax, or while shutting down
	SessionsOpened         uint64
	SessionsRefused        uint64 // over HTTP, beyond SessionsMax or while shutting down
	SessionsTimedOut       uint64 // over HTTP, without a receiver for too long
	Requests               uint64
	MessagesReceived       uint64
	MessagesPublished      uint64
	MessagesSent           uint64 // to one session alone
	MessagesDelivered      uint64 // owed to sessions: each published one times its subscribers, and those sent to one alone
	BytesReceived          uint64
	BytesSent              uint64
	Turns                  uint64 // flushes: a turn gathers messages and sends them
	SlowConsumersClosed    uint64
	SlowConsumersSkipped   uint64
	MessagesSkipped        uint64 // never seen by slow consumers that skipped
	RequestsRefused        uint64 // answered 4xx or 5xx
	ProtocolErrors         uint64 // connections ended because the peer broke a protocol
	HandshakeTimeouts      uint64
	PongTimeouts           uint64
	HandlerPanics          uint64
	ConnectionsInterrupted uint64 // ended by the peer without a closing handshake
}
