package broadcast

import "time"

// BrokerStats is the state of a broker at a moment, and what it has counted since it was opened. A broker carries
// batches: messages that were published to a topic in one turn. One that is too large for it counts as several.
type BrokerStats struct {
	Connected   bool
	Since       time.Time // of this state
	LastError   string    // what went wrong last; empty if nothing has
	QueueBytes  int       // memory of what waits to be sent, to be confirmed, or to be received
	Disconnects uint64    // times that the connection was lost: what others published meanwhile is missed

	BatchesOut, MessagesOut, BytesOut uint64 // that the broker has confirmed; bytes of JSON
	BatchesIn, MessagesIn, BytesIn    uint64 // that were taken from it to be published here
	BatchesDropped                    uint64 // that came and were not published here: more than the loop can take
	BatchesMalformed                  uint64 // that came and are no batch
	MessagesNotSent                   uint64 // that were not handed to it: not connected, too much, or too large
	MessagesUnconfirmed               uint64 // that were handed to it, and it did not say that it has them; it may
}
