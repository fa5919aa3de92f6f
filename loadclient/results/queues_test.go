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
		{Queues{Quiet: 5000, Unheard: 1}, false},
		{Queues{Quiet: 5000, AtWork: true}, false},
		{Queues{Quiet: 2999, Unsent: -1}, false},
		{Queues{Quiet: 3000, Unsent: -1}, true},
	} {
		if got := tt.q.Silent(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}

func TestWhereItWaited(t *testing.T) {
	t.Parallel()
	trial := Trial{RTT: Latency{Mean: 400}, Delivered: 1000, BytesPerMessage: 10}
	for want, q := range map[string]Queues{
		"the server said nothing for 1.5 s, and had 2000 bytes still to read": {Unheard: 2000, Quiet: 1500},
		"the server said nothing for 1.5 s, and was still at work":            {AtWork: true, Quiet: 1500},
		"the messages waited in the server's program":                         {Unheard: 2000},
		"2.0 MB waited in the server's sockets":                               {Unread: 1, Unsent: 2_000_000},
		"0.0 MB waited in the client's sockets":                               {Unread: 1001},
	} {
		if got := q.Where(&trial); got != want {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
}
