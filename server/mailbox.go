package server

import (
	"math"
	"sync"

	"github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
)

// mailbox is the one way into the loop from other goroutines. Posts are bounded and share one task a burst.
type mailbox struct {
	loop *loop
	max  int

	mu      sync.Mutex
	poller  *netpoll.Poller // nil before the start and after the end
	letters []func()
}

// open lets the loop be entered.
func (b *mailbox) open(p *netpoll.Poller) {
	b.mu.Lock()
	b.poller = p
	b.mu.Unlock()
}

// close makes every later post an error, and forgets what was posted and not run.
func (b *mailbox) close() {
	b.mu.Lock()
	b.poller, b.letters = nil, nil
	b.mu.Unlock()
}

// trigger runs a task on the loop, after the events of the next wait. It is called on the loop, or with the lock.
func (b *mailbox) trigger(task func()) {
	if b.loop.poller == nil {
		return
	}
	err := b.loop.poller.Trigger(queue.HighPriority, func(any) error { task(); return nil }, nil)
	if err != nil {
		b.loop.logger.Error("waking the loop", "error", err)
	}
}

// post queues a function from outside.
func (b *mailbox) post(letter func()) error { return b.enqueue(letter, b.max) }

// postUrgent queues what must be done however much waits: the drain.
func (b *mailbox) postUrgent(letter func()) error { return b.enqueue(letter, math.MaxInt) }

func (b *mailbox) enqueue(letter func(), most int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.poller == nil:
		return ErrNotRunning
	case len(b.letters) >= most:
		return ErrMailboxFull
	}
	b.letters = append(b.letters, letter)
	if len(b.letters) == 1 {
		b.trigger(b.read)
	}
	return nil
}

// read runs what was posted.
func (b *mailbox) read() {
	b.mu.Lock()
	letters := b.letters
	b.letters = nil
	b.mu.Unlock()
	b.loop.turnMayBegin()
	for _, letter := range letters {
		b.loop.guarded(letter)
	}
}

// stop ends the loop.
func (b *mailbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.poller != nil {
		_ = b.poller.Trigger(queue.HighPriority, func(any) error { return errors.ErrEngineShutdown }, nil)
	}
}
