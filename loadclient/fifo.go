package loadclient

// fifo is a queue that keeps its memory: nothing is allocated while a trial runs, once it has grown.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int  { return len(f.items) - f.head }
func (f *fifo[T]) front() *T { return &f.items[f.head] }
func (f *fifo[T]) back() *T  { return &f.items[len(f.items)-1] }
func (f *fifo[T]) pop()      { f.head++ }
func (f *fifo[T]) clear()    { f.items, f.head = f.items[:0], 0 }

func (f *fifo[T]) push(x T) {
	if f.head > 64 && f.head >= len(f.items)/2 {
		f.items = f.items[:copy(f.items, f.items[f.head:])]
		f.head = 0
	}
	f.items = append(f.items, x)
}
