package loadclient

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sockloop/sockloop/loadclient/results"
)

// measurement is what a part of a level measured in a trial. Those of several parts add up.
type measurement struct {
	Connections int
	Recorded    *recording
	Senders     []senderTally // of all connections that send: what those of this part have sent
	Sent        int
	SentLate    int
	Received    int
	Delivered   float64 // received messages a second
	Bytes       int
	Frames      int
	Reads       int
	Writes      int
	ClientBusy  []float64
	Noise       *Noise
	Queues      Queues

	HeardAt time.Duration // when a message came last, since the start
	Drained time.Duration // when the drain ended for the first that missed some; 0 if all have come
}

// measured reads what the workers have measured.
func (l *local) measured(seen observation) measurement {
	m := measurement{
		Recorded: newRecording(), Senders: make([]senderTally, l.Connections),
		Noise: seen.noise, Queues: seen.queues,
	}
	m.Queues.Left, m.Queues.Unheard = l.remains()
	m.Recorded.reset(l.plan.window)
	for i, w := range l.workers {
		end := l.ends[i]
		m.Connections += len(w.conns)
		m.Recorded.add(w.results)
		addSent(m.Senders, w.sentTally)
		m.Sent += w.sent()
		m.SentLate += w.sent() - end.sent
		m.HeardAt, m.Drained = max(m.HeardAt, time.Duration(w.heardAt)), firstOf(m.Drained, end.drained)
		if m.Noise != nil {
			m.Noise.Waited = max(m.Noise.Waited, end.waited.Seconds()/end.at.Seconds())
		}
		m.Received += w.delivered()
		m.Delivered += float64(end.delivered) / end.at.Seconds()
		m.Bytes, m.Frames, m.Reads, m.Writes = m.Bytes+w.bytes, m.Frames+w.frames, m.Reads+w.reads, m.Writes+w.writes
		m.ClientBusy = append(m.ClientBusy, 1-end.idle.Seconds()/end.at.Seconds())
	}
	return m
}

func addSent(to, from []senderTally) {
	for i, n := range from {
		to[i].count += n.count
		to[i].sum += n.sum
	}
}

// add adds another part's.
func (m *measurement) add(o *measurement) {
	m.Connections += o.Connections
	m.Recorded.add(o.Recorded)
	addSent(m.Senders, o.Senders)
	m.Sent, m.SentLate, m.Received = m.Sent+o.Sent, m.SentLate+o.SentLate, m.Received+o.Received
	m.Delivered += o.Delivered
	m.Bytes, m.Frames, m.Reads, m.Writes = m.Bytes+o.Bytes, m.Frames+o.Frames, m.Reads+o.Reads, m.Writes+o.Writes
	m.ClientBusy = append(m.ClientBusy, o.ClientBusy...)
	m.Noise = noisier(m.Noise, o.Noise)
	m.Queues = together(m.Queues, o.Queues)
	m.HeardAt, m.Drained = max(m.HeardAt, o.HeardAt), firstOf(m.Drained, o.Drained)
}

// together are the queues of two parts. One that is on the server's machine sees all that the server has not sent, but
// what remains only of its own connections.
func together(a, b Queues) Queues {
	return Queues{Unread: a.Unread + b.Unread, Unsent: max(a.Unsent, b.Unsent), Left: a.Left + b.Left,
		Unheard: a.Unheard + b.Unheard, Pressed: a.Pressed || b.Pressed}
}

// firstOf is the earlier of two times, of which 0 is none.
func firstOf(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// noisier has the larger share of each kind of noise.
func noisier(a, b *Noise) *Noise {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &Noise{
		Stolen: max(a.Stolen, b.Stolen), Others: max(a.Others, b.Others), Waited: max(a.Waited, b.Waited),
		Slowed: max(a.Slowed, b.Slowed), Work: max(a.Work, b.Work),
	}
}

// integrity is how what connections have received differs from what was sent, as in a Trial.
type integrity struct {
	Stragglers, NotCompleted, Lost, Duplicated, Reordered, Foreign, Greetings, NeverCompared int
}

func (t *integrity) add(o integrity) {
	t.Stragglers += o.Stragglers
	t.NotCompleted += o.NotCompleted
	t.Lost += o.Lost
	t.Duplicated += o.Duplicated
	t.Reordered += o.Reordered
	t.Foreign += o.Foreign
	t.Greetings += o.Greetings
	t.NeverCompared += o.NeverCompared
}

// account is what all parts together have sent.
type account struct {
	Senders []senderTally
	Short   bool // less has come than was to, over all connections
}

// integrity compares what each connection received with what was sent. A connection that has not finished is not
// compared: what it misses may still come.
func (l *local) integrity(a account) (t integrity) {
	for _, w := range l.workers {
		for _, r := range w.rooms {
			t.compareRoom(r, a)
		}
	}
	return t
}

func (t *integrity) compareRoom(r *reference, a account) {
	n := len(a.Senders)
	due := a.Senders[min(r.room.first, n):min(r.room.first+r.room.size, n)]
	whole := 0
	for _, n := range due {
		whole += n.count
	}
	length := r.wholeLength(due)
	follow := 0
	for _, c := range r.conns {
		if c.neverCompared() {
			t.NeverCompared++
		}
		switch {
		case c.alone != nil:
			t.Stragglers++
			t.compare(c.alone.tally, due, 1, a.Short)
			if guessed := c.since > 0 && length > 0; guessed && c.alone.tally.whole(due) && c.pos != length {
				t.measure(c, length, whole)
			}
		case c.pos == r.end:
			follow++
		case c.pos == length: // its bytes are as many as they should be
		default:
			t.measure(c, length, whole)
		}
	}
	t.compare(r.tally, due, follow, a.Short)
}

// measure tells from the number of a connection's bytes, which is not what it should be, what it has too little of or
// too much. length is 0 when nobody knows what it should be.
func (t *integrity) measure(c *conn, length, whole int) {
	if length > 0 && c.pos > length {
		t.Duplicated += max(1, (c.pos-length)*whole/length)
		return
	}
	t.NotCompleted += max(1, whole-c.reference.countAt(c.pos))
}

// execution is a trial of all parts.
type execution struct {
	plan     trialPlan
	start    time.Time
	heard    []time.Duration // from the first word to begin until each part had answered it
	measured []measurement
	checked  []integrity
	server   *Usage
	atWork   bool // messages were missing when the drain was over, and the server was busy
}

// account adds up what all have sent and received.
func (x *execution) account(l *Level) account {
	a := account{Senders: make([]senderTally, l.Connections)}
	sent, received := 0, 0
	for i := range x.measured {
		addSent(a.Senders, x.measured[i].Senders)
		sent += x.measured[i].Sent
		received += x.measured[i].Received
	}
	a.Short = received < sent*l.Hearers()
	return a
}

// gather makes one result of what all parts measured. Whose fault a trial was is asked of each agent by itself: one
// that lags among ten is not seen in their sum.
func (l *Level) gather(x *execution) Trial {
	sum := measurement{Recorded: newRecording(), Senders: make([]senderTally, l.Connections),
		Queues: Queues{Unsent: -1}}
	sum.Recorded.reset(x.plan.window)
	var checked integrity
	for i := range x.measured {
		sum.add(&x.measured[i])
		checked.add(x.checked[i])
	}
	t := l.result(x, &sum, checked)
	t.Server = x.server
	judge(&t, l.Threshold)
	if l.Agents == nil {
		return t
	}
	t.StartSkew = milliseconds(slices.Max(x.heard))
	parts := make([]Trial, len(l.parts))
	for i := range parts {
		parts[i] = l.result(x, &x.measured[i], x.checked[i])
		parts[i].Queues.Left, parts[i].Queues.Unheard = t.Queues.Left, t.Queues.Unheard // who is far off sees none
		judge(&parts[i], l.Threshold)
		t.Agents = append(t.Agents, agentOf(l.Agents.Addrs[i], &parts[i], x.heard[i]))
	}
	blame(&t, t.Agents)
	if skewed := t.StartSkew > startSkewMax*1000*t.Window; skewed && t.Valid() {
		t.Verdict = ClientLimited
		t.Reason = fmt.Sprintf("the agents may have begun %.0f ms apart: use a longer window (--window)", t.StartSkew)
	}
	return t
}

// startSkewMax is the share of a window in which not all agents may send.
const startSkewMax = 0.1

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// result is a trial as a measurement has it, without a verdict.
func (l *Level) result(x *execution, m *measurement, c integrity) Trial {
	s, r := x.plan.schedule, m.Recorded
	t := Trial{
		Time: x.start.UTC(), Target: l.Target.String(), Protocol: l.Target.Protocol,
		Connections: m.Connections, Read: l.Read,
		Publishers: l.Publishers, Room: l.Room, Verify: l.Verify, Insecure: l.Target.Insecure(),
		Window: x.plan.window.Seconds(), SendRate: s.rate, Nominal: s.rate * float64(l.Hearers()),
		Delivered: m.Delivered, Noise: m.Noise, ClientBusy: m.ClientBusy,
		Sent: m.Sent, SentLate: m.SentLate, Expected: m.Sent * l.Hearers(), Received: m.Received,
		Lost: c.Lost, Duplicated: c.Duplicated, Reordered: c.Reordered, Foreign: c.Foreign, Greetings: c.Greetings,
		NeverCompared: c.NeverCompared, Stragglers: c.Stragglers, NotCompleted: c.NotCompleted,
		OwnMissing: m.Sent - int(r.intended.TotalCount()),
		RTT:        newLatency(r.intended), RTTActual: newLatency(r.actual), Arrival: newLatency(r.arrival),
		LagP99: float64(r.lag.ValueAtQuantile(99)) / 1000, Rest: milliseconds(r.rest),
		Spectrum: spectrum(r.intended), OverTime: overTime(r.buckets), RoundTrips: r.intended,
		Slope: slope(r.buckets, s.rate*bucketTime.Seconds()),
	}
	q := m.Queues
	q.Quiet, q.AtWork = max(0, milliseconds(m.Drained-m.HeardAt)), x.atWork
	t.Queues = &q
	if m.Received > 0 {
		n := float64(m.Received)
		t.BytesPerMessage = float64(m.Bytes) / n
		t.MessagesPerFrame, t.MessagesPerRead = n/float64(max(m.Frames, 1)), n/float64(max(m.Reads, 1))
	}
	t.MessagesPerWrite = float64(m.Sent) / float64(max(m.Writes, 1))
	return t
}

// agentOf is what is recorded of an agent's part of a trial.
func agentOf(addr string, t *Trial, heard time.Duration) results.Agent {
	return results.Agent{
		Addr: addr, Connections: t.Connections, Heard: milliseconds(heard), Verdict: t.Verdict, Reason: t.Reason,
		Sent: t.Sent, SentLate: t.SentLate, Received: t.Received, Delivered: t.Delivered, RTT: t.RTT, LagP99: t.LagP99,
		ClientBusy: t.ClientBusy, Queues: t.Queues, Noise: t.Noise,
	}
}

// severity orders verdicts.
var severity = map[Verdict]int{OK: 0, Overloaded: 1, ClientLimited: 2, Noisy: 3, TargetFailed: 4}

// blame gives a trial the worst verdict of its agents, with the name of the first that has it. Whether the server was
// overloaded is for all round trips together to say.
func blame(t *Trial, agents []results.Agent) {
	named := false
	for _, a := range agents {
		worse := severity[a.Verdict] - severity[t.Verdict]
		if a.Verdict == Overloaded || a.Verdict == OK || worse < 0 || worse == 0 && named {
			continue
		}
		t.Verdict, t.Reason, named = a.Verdict, fmt.Sprintf("agent %s: %s", a.Addr, a.Reason), true
	}
}

// MarshalJSON writes a count and a sum.
func (s senderTally) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]int64{int64(s.count), s.sum})
}

// UnmarshalJSON reads them.
func (s *senderTally) UnmarshalJSON(text []byte) error {
	var x [2]int64
	err := json.Unmarshal(text, &x)
	s.count, s.sum = int(x[0]), x[1]
	return err
}

// compare adds the difference between a tally, which the given number of connections share, and what was sent. short
// tells that less has come than was to, over all connections.
func (t *integrity) compare(got *tally, sent []senderTally, connections int, short bool) {
	if connections == 0 {
		return
	}
	lost, duplicated := got.compare(sent)
	t.Duplicated += duplicated * connections
	t.Reordered += got.reordered * connections
	t.Foreign += got.foreign * connections
	t.Greetings += got.greetings * connections
	if short && duplicated == 0 {
		t.NotCompleted += lost * connections // cut off by the end of the drain, or lost: the queues tell
		return
	}
	t.Lost += lost * connections
}
