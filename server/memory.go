package server

import (
	"runtime/debug"
	"runtime/metrics"

	"github.com/sockloop/sockloop/tuning"
)

const (
	// trimInterval is how often the loop looks for memory to give back, in milliseconds.
	trimInterval = 10_000
	// quietBytes is the traffic of such an interval below which the loop can afford to give memory back: a busy loop
	// would only take it again.
	quietBytes = 256 << 20
	// slackBytes is how much memory the process may hold for nothing.
	slackBytes = 2 << 20
)

// trimmer gives the memory of an overload back once it is over. Go alone would wait for a collection, and a server that
// does not allocate has none.
type trimmer struct {
	at    int64 // loop time of the last look
	bytes uint64
	busy  chan struct{} // holds a token while memory is on its way back
}

func (l *loop) trim() {
	t := &l.trimmer
	if l.now-t.at < trimInterval && t.at > 0 {
		return
	}
	moved := l.stats.BytesSent + l.stats.BytesReceived - t.bytes
	t.at, t.bytes = l.now, t.bytes+moved
	if moved > quietBytes {
		return
	}
	for _, topic := range l.topics {
		topic.log.Trim()
	}
	select {
	case t.busy <- struct{}{}:
		go func() {
			defer func() { <-t.busy }()
			if slack() > slackBytes {
				debug.FreeOSMemory()
			}
			_ = tuning.ReleaseStartupPages() // what remains resident is harmless
		}()
	default:
	}
}

// slack is the memory that the heap has from the system and does not need: free spans, and objects that have died or may
// have since the last collection.
func slack() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	free, objects, live := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
	return free + objects - min(objects, live)
}
