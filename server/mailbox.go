package server

import (
	"math"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/errors"
)

// mailbox is the one way into the loop from other goroutines. Posts are bounded, and share one event a burst: between
// two bursts the loop looks at its sockets.
type mailbox struct {
	loop *loop
	max  int

	mu       sync.Mutex
	open     bool // from the start to the end
	stopping bool
	letters  []func()
}

// begin lets the loop be entered.
func (b *mailbox) begin() {
	b.mu.Lock()
	b.open = true
	b.mu.Unlock()
}

// close makes every later post an error, and forgets what was posted and not run.
func (b *mailbox) close() {
	b.mu.Lock()
	b.open, b.letters = false, nil
	b.mu.Unlock()
}

// post queues a function from outside.
func (b *mailbox) post(letter func()) error { return b.enqueue(letter, b.max) }

// postUrgent queues what must be done however much waits: the drain.
func (b *mailbox) postUrgent(letter func()) error { return b.enqueue(letter, math.MaxInt) }

func (b *mailbox) enqueue(letter func(), most int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open || b.stopping: // whoever posts without end does not keep it from ending
		return ErrNotRunning
	case len(b.letters) >= most:
		return ErrMailboxFull
	}
	if b.letters = append(b.letters, letter); len(b.letters) == 1 {
		b.loop.wake.raise()
	}
	return nil
}

// readMax is for how long letters are run before the sockets have their turn: half of what a turn may take.
const readMax = 5 * time.Millisecond

// read runs what was posted, and leaves what takes longer to the next turn. The error is that of a loop that ends.
func (b *mailbox) read() error {
	b.mu.Lock()
	letters := b.letters
	b.letters = nil
	b.mu.Unlock()
	for begun := time.Now(); len(letters) > 0 && time.Since(begun) < readMax; letters = letters[1:] {
		b.loop.guarded(letters[0])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(letters) > 0:
		b.letters = append(letters, b.letters...)
		b.loop.wake.raise()
	case b.stopping && len(b.letters) == 0:
		return errors.ErrEngineShutdown
	}
	return nil
}

// stop ends the loop.
func (b *mailbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping = true; b.open {
		b.loop.wake.raise()
	}
}
