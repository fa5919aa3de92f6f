package server

import "time"

// Stats counts what the server did since it started; the first three groups are the state at the moment of the
// snapshot. Plain integers: they belong to the loop, and Server.Stats copies them there.
type Stats struct {
	Connections        int
	Sessions           int
	ConnectionsBlocked int // their sockets are full at the moment
	// SessionsOf are the sessions by transport, in the order of Transports.
	SessionsOf [len(transports)]int

	Busy       float64       // share of the last second in which the loop was not waiting for anything to do
	TurnWait   time.Duration // how long a turn a message that came in that second found, in the mean
	Saturation float64       // TurnWait over Config.TurnTarget: from 1 on newcomers are refused
	Gather     time.Duration // how long topics gather that do so as long as Config.GatherP99 allows
	Overloaded bool          // newcomers are refused for load
	Draining   bool

	MemoryBytes      int // kept on behalf of clients: the sum of the following
	MemoryBytesMax   int // its bound
	ConnectionsBytes int // connections as such
	SessionsBytes    int // sessions as such
	InputBytes       int // partial requests and frames, what waits for its turn, and responses that have not left
	OutboxesBytes    int // what is meant for one session alone
	LogsBytes        int // logs of topics, with their tables and spare segments
	BrokerBytes      int // what waits on its way to other processes and from them

	ConnectionsAccepted    uint64
	ConnectionsRefused     uint64 // beyond ConnectionsMax, or because memory was nearly spent
	AcceptErrors           uint64 // out of descriptors or kernel memory; waited out
	RefusedForMemory       uint64 // connections and sessions refused because the memory budget was nearly spent
	RefusedForLoad         uint64 // because turns took longer than TurnTarget for OverloadAfter
	SessionsOpened         uint64
	SessionsDeflate        uint64 // of them, those with permessage-deflate
	SessionsRefused        uint64 // beyond SessionsMax, for memory or load, or while shutting down
	SessionsTimedOut       uint64 // over HTTP, without a receiver for too long
	Requests               uint64
	MessagesReceived       uint64
	MessagesPublished      uint64
	MessagesSent           uint64 // to one session alone
	MessagesDelivered      uint64 // owed to sessions: published ones times their subscribers, and those to one
	BytesReceived          uint64
	BytesSent              uint64
	Turns                  uint64    // flushes: a turn gathers messages and sends them
	TurnSeconds            Histogram // how long turns took, from what led to sending until all was with the kernel
	BatchMessages          Histogram // messages of a batch: of a topic, in a turn
	SlowConsumersClosed    uint64
	PublishersHeld         uint64 // times that a connection was not read: holdPublisher, holdReader
	SlowConsumersSkipped   uint64
	MessagesSkipped        uint64 // never seen by slow consumers that skipped
	RequestsRefused        uint64 // answered 4xx or 5xx, or cut for what they sent behind a poll
	ProtocolErrors         uint64 // connections ended because the peer broke a protocol
	ProxyHeadersRefused    uint64 // connections from trusted proxies that did not begin with a PROXY header
	HandshakeTimeouts      uint64
	PongTimeouts           uint64
	HandlerPanics          uint64
	ConnectionsInterrupted uint64 // ended by the peer without a closing handshake

	// What was ended because the memory budget was spent, the largest holders first.
	ConnectionsClosedForMemory uint64
	SessionsClosedForMemory    uint64 // over HTTP
	LogsCutForMemory           uint64 // their slowest readers were ended
}
