package results

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdict says what a trial is good for. Only OK and OVERLOADED measure the server.
type Verdict string

const (
	OK            Verdict = "OK"
	Overloaded    Verdict = "OVERLOADED"     // the server fell behind
	ClientLimited Verdict = "CLIENT-LIMITED" // we fell behind, so nothing is known of the server
	Noisy         Verdict = "NOISY"          // the machine was busy with something else
	TargetFailed  Verdict = "TARGET-FAILED"  // a connection broke, or messages were lost, repeated or out of order
)

// Latency is a distribution of round trips in milliseconds.
type Latency struct {
	Count  int64   `json:"count"`
	Mean   float64 `json:"mean"`
	StdDev float64 `json:"stdev"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p999"`
}

// Quantiles are those of a trial's spectrum, in percent.
var Quantiles = []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

// OverTimeStep is the time between two values of Trial.OverTime.
const OverTimeStep = 100 * time.Millisecond

// Trial is the result of one fixed rate at one level. Rates are messages a second.
type Trial struct {
	Provenance
	Time        time.Time  `json:"time"`
	Target      string     `json:"target"`
	Protocol    Protocol   `json:"protocol"`
	Insecure    bool       `json:"certificate_unchecked,omitempty"`
	Connections int        `json:"connections"`
	Publishers  int        `json:"publishers,omitempty"` // of the connections, those that send; 0 is all
	Room        int        `json:"room,omitempty"`       // connections that hear each other; 0 is all
	Phase       Phase      `json:"phase,omitempty"`
	Read        ReadPolicy `json:"read_policy,omitempty"`
	Verify      Verify     `json:"verify,omitempty"`
	Window      float64    `json:"window_s"`
	SendRate    float64    `json:"send_rate"`      // over all connections
	Nominal     float64    `json:"nominal_rate"`   // send rate × connections that hear a message: received in 2011
	Delivered   float64    `json:"delivered_rate"` // really received in the window
	Verdict     Verdict    `json:"verdict"`
	Reason      string     `json:"reason,omitempty"`

	RTT       Latency `json:"rtt_ms"`           // from when a message was due
	RTTActual Latency `json:"rtt_from_send_ms"` // from when it was sent: 2011's definition
	// Arrival is from when a message was due until a receiver had it, over a sample of all receivers and all senders;
	// with agents, of the senders of the receiver's own agent.
	Arrival Latency `json:"arrival_ms"`
	LagP99  float64 `json:"schedule_lag_p99_ms"`
	// Rest is the longest that the schedule rested between two looks at it, so that messages may share a write. It is
	// in the lag.
	Rest float64 `json:"schedule_rest_ms,omitempty"`
	// Spectrum has the round trips from when messages were due at Quantiles, OverTime their means by when they were
	// due, each a tenth of a second; -1 where none came back. Both are in ms.
	Spectrum []float64 `json:"rtt_spectrum_ms,omitempty"`
	OverTime []float64 `json:"rtt_over_time_ms,omitempty"`
	// RoundTrips are those of RTT, in µs; nil of a trial that was read from a file.
	RoundTrips *hdrhistogram.Histogram `json:"-"`

	Sent       int `json:"sent"`
	SentLate   int `json:"sent_after_window"`
	Expected   int `json:"expected"` // sent × connections that hear a message
	Received   int `json:"received"`
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	Reordered  int `json:"reordered"`
	Foreign    int `json:"foreign"`             // messages that are not of this run
	Greetings  int `json:"greetings,omitempty"` // the same, but expected
	Stragglers int `json:"own_order"`           // connections that received another order than the first
	// NeverCompared are connections of a sample that had no turn: their bytes were counted and not compared.
	NeverCompared int `json:"never_compared,omitempty"`
	NotCompleted  int `json:"not_completed"` // messages missing when the drain ended, when not all was quiet
	OwnMissing    int `json:"own_missing"`   // of these, those that their sender misses

	MessagesPerFrame float64   `json:"messages_per_frame"`
	MessagesPerRead  float64   `json:"messages_per_read"`
	MessagesPerWrite float64   `json:"messages_per_write"` // of the client
	BytesPerMessage  float64   `json:"bytes_per_message"`
	ClientBusy       []float64 `json:"client_busy"` // of each worker, 0 to 1
	// Slope is the growth of the round trip a second of schedule: load/capacity − 1 when overloaded.
	Slope    float64   `json:"rtt_slope"`
	Capacity *Capacity `json:"capacity,omitempty"` // of older records
	Queues   *Queues   `json:"queues,omitempty"`
	Server   *Usage    `json:"server,omitempty"`
	Noise    *Noise    `json:"noise,omitempty"`
	// Agents are what the connections were divided among, if they were: all else is of all of them together.
	Agents []Agent `json:"agents,omitempty"`
	// StartSkew is how far apart the agents began at most: from the first word to begin until the last had answered it.
	StartSkew float64 `json:"start_skew_ms,omitempty"`
}

// Agent is an agent's part of a trial.
type Agent struct {
	Addr        string    `json:"addr"`
	Connections int       `json:"connections"`
	Heard       float64   `json:"heard_ms"` // from the first word to begin until this agent had answered it
	Verdict     Verdict   `json:"verdict"`  // on this agent's connections alone
	Reason      string    `json:"reason,omitempty"`
	Sent        int       `json:"sent"`
	SentLate    int       `json:"sent_after_window"`
	Received    int       `json:"received"`
	Delivered   float64   `json:"delivered_rate"`
	RTT         Latency   `json:"rtt_ms"` // of what its connections sent
	LagP99      float64   `json:"schedule_lag_p99_ms"`
	ClientBusy  []float64 `json:"client_busy"`
	Queues      *Queues   `json:"queues,omitempty"`
	Noise       *Noise    `json:"noise,omitempty"` // with what its threads waited for their CPUs
}

// Capacity is of older records, which said in three ways what an overloaded server can carry, in received messages a
// second over all connections.
type Capacity struct {
	Delivered float64 `json:"from_deliveries"` // what arrived in the window
	Slope     float64 `json:"from_slope"`      // round trips grow by load/capacity − 1 a second
	Backlog   float64 `json:"from_backlog"`    // from the own messages that were still out at the end of the window
}

// Usage is what the server's process used during a trial; memory is what it had in the end. The three figures beside
// RSS are 0 in records that are older than they are.
type Usage struct {
	CPU  float64 `json:"cpu"`                  // CPU seconds a second; 1 is one core
	RSS  int64   `json:"rss_bytes"`            // resident memory, all of it
	Anon int64   `json:"anon_bytes,omitempty"` // of it, what no file backs: heap and stacks
	File int64   `json:"file_bytes,omitempty"` // of it, pages of files: the program's own, mostly
	// KernelSockets is the memory of all TCP sockets of the machine: of both ends, when the client runs on it too.
	KernelSockets int64 `json:"kernel_socket_bytes,omitempty"`
}

// Noise is what the machine did beside the trial, on the CPUs of the client and of a server that is pinned: shares of
// their time, 0 to 1.
type Noise struct {
	Stolen float64 `json:"stolen"` // by the hypervisor, for other machines
	Others float64 `json:"others"` // by other processes
	// Waited is how long a thread of the client was ready to run and did not, at most.
	Waited float64 `json:"waited"`
	// Slowed is how much of the best speed that it had in the last two minutes, or in earlier trials that sockload was
	// told of, a CPU had lost that was busy; and Work what a piece of work that is always the same took on the slowest
	// of the CPUs, in µs, as a harmonic mean; 0 when that is not known, as when one of them was idle.
	Slowed float64 `json:"slowed,omitempty"`
	Work   float64 `json:"work_us,omitempty"`
}

// Phase is why a trial was made.
type Phase string

const (
	PhaseProbe   Phase = "probe"   // for the order of magnitude, too short to count
	PhaseBracket Phase = "bracket" // around the saturation point
	PhaseConfirm Phase = "confirm" // that a rate can be sustained
	PhaseCurve   Phase = "curve"   // a point of the curve
	PhaseRamp    Phase = "ramp"    // a step of the ramp of 2011

	// Of a benchmark, around the search.
	PhaseIdle      Phase = "idle"      // connections without messages
	PhaseWarm      Phase = "warm-up"   // before anything counts
	PhaseLight     Phase = "light"     // a light load before the search
	PhaseRecovered Phase = "recovered" // the same a minute after its overloads
	PhaseEqual     Phase = "equal"     // a rate that all servers are loaded with
)

// Busiest is how busy the busiest worker of the client was, 0 to 1.
func (t *Trial) Busiest() float64 { return busiest(t.ClientBusy) }

func busiest(workers []float64) float64 {
	if len(workers) == 0 {
		return 0
	}
	return slices.Max(workers)
}

// Valid tells whether the trial says something of the server.
func (t *Trial) Valid() bool { return t.Verdict == OK || t.Verdict == Overloaded }

// Shape is the one that shows how many messages like a trial's the client can receive at most. Of single frames that is
// coalesced: a client that falls behind finds many of them at once, while one that keeps up with a write at a time
// tells more of what writing costs than of itself.
func (t *Trial) Shape() Shape {
	const many = 4
	if t.MessagesPerFrame >= many {
		return Arrays
	}
	return Coalesced
}

// Conclusive tells whether the trial says something of the server, which may be that it failed.
func (t *Trial) Conclusive() bool { return t.Valid() || t.Verdict == TargetFailed }

const (
	deliveredMin = 0.995 // share of what is due that a server must deliver to carry a rate
	slopeMax     = 0.005 // growth of the round trip a second; of overloads, all but half a percent are above that
	lateShareMax = 0.005 // share of the messages that may have been sent behind the window
	lagShareMax  = 0.05  // of the window, how late they may have been sent
)

// Carried tells whether a server kept up with the trial's rate.
func (t *Trial) Carried() bool {
	return (t.Verdict == OK || t.InSpite()) && t.NotCompleted == 0 && t.arrived() && t.Slope < slopeMax
}

// arrived tells whether what was due has been delivered in the window. What was due within the last round trip may
// still have been on its way.
func (t *Trial) arrived() bool {
	return t.Delivered >= deliveredMin*t.Nominal*(1-t.RTT.Mean/1000/t.Window)
}

// InSpite tells whether a trial was disturbed, and everything was sent and came all the same. A busy machine and a slow
// client make round trips longer and never shorter: what was carried in spite of them is carried, though the round
// trips are no measure of the server.
func (t *Trial) InSpite() bool {
	disturbed := t.Verdict == Noisy || t.Verdict == ClientLimited
	sent := float64(t.SentLate) <= lateShareMax*float64(t.Sent) && t.LagP99 < lagShareMax*1000*t.Window
	return disturbed && sent && t.NotCompleted == 0 && t.Delivered > 0 && t.arrived()
}
