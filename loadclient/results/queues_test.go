package results

import "testing"

// What is missing is lost when nothing of it can be on its way any more. Of another machine's sockets nothing is known,
// so that takes a longer silence.
func TestSilent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		q    Queues
		want bool
	}{
		{Queues{Quiet: 1000}, true},
		{Queues{Quiet: 999}, false},
		{Queues{Quiet: 5000, Left: 1}, false},
		{Queues{Quiet: 2999, Unsent: -1}, false},
		{Queues{Quiet: 3000, Unsent: -1}, true},
	} {
		if got := tt.q.Silent(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}
