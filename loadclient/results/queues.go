package results

import "fmt"

// Queues is where bytes waited during a trial, in bytes over all connections: means of the second half of its window,
// in which an overloaded queue is longest.
type Queues struct {
	// Unread lay in the client's own sockets (SIOCINQ, tcp(7)).
	Unread int64 `json:"client_unread_bytes"`
	// Unsent lay in the server's, sent by it and not taken over by the client's kernel (sock_diag(7)); -1 if the server
	// is on another machine.
	Unsent int64 `json:"server_unsent_bytes"`
	// Left is what the server's kernel had not brought over to us when the trial was over: not sent yet, or lost by a
	// network and to be sent again (TCP_INFO, tcp(7)).
	Left int64 `json:"left_bytes"`
	// Unheard is what we had sent and lay unread in the server's sockets then (sock_diag(7)).
	Unheard int64 `json:"unheard_bytes"`
	// Quiet is for how long no message had come when the drain ended and every socket had been looked at once more, in
	// ms; 0 if nothing was missing.
	Quiet float64 `json:"quiet_ms"`
	// AtWork tells that messages were missing when the drain was over, and that the server was busy then.
	AtWork bool `json:"server_at_work,omitempty"`
	// Pressed tells that this machine's kernel was short of memory for TCP's sockets in the window, so that it dropped
	// segments (tcp_mem, ip-sysctl.rst).
	Pressed bool `json:"memory_pressure,omitempty"`
}

// UnreadTime is how long the client takes to receive what lay unread, in ms.
func (q *Queues) UnreadTime(t *Trial) float64 {
	perSecond := t.Delivered * t.BytesPerMessage
	if q == nil || perSecond <= 0 {
		return 0
	}
	return float64(q.Unread) / perSecond * 1000
}

// quietMin is the silence, in ms, behind which a server on this machine has nothing more to say, and quietAfar that of
// one whose sockets nobody can look into.
const quietMin, quietAfar = 1000, 3000

// Silent tells that nothing was on its way any more when the drain ended: the server had read everything and was idle,
// its kernel had nothing left, and no message had come for a second, or for three from another machine.
func (q *Queues) Silent() bool {
	if q == nil || q.Left > 0 || q.Unheard > 0 || q.AtWork {
		return false
	}
	return q.Quiet >= quietAfar || q.Unsent >= 0 && q.Quiet >= quietMin
}

// Where says in words where the bytes of an overloaded trial waited.
func (q *Queues) Where(t *Trial) string {
	switch {
	case q == nil:
		return ""
	case q.Unheard > 0 && q.Quiet >= quietMin:
		return fmt.Sprintf("the server said nothing for %.1f s, and had %d bytes still to read", q.Quiet/1e3, q.Unheard)
	case q.AtWork && q.Quiet >= quietMin:
		return fmt.Sprintf("the server said nothing for %.1f s, and was still at work", q.Quiet/1e3)
	case t.RTT.Mean <= 0:
		return ""
	case q.Unsent > q.Unread && q.Unsent > 1<<20:
		return fmt.Sprintf("%.1f MB waited in the server's sockets", float64(q.Unsent)/1e6)
	case q.UnreadTime(t) > t.RTT.Mean/4:
		return fmt.Sprintf("%.1f MB waited in the client's sockets", float64(q.Unread)/1e6)
	}
	return "the messages waited in the server's program"
}
