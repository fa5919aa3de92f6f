package results

import "time"

// Saturation is what a search found at one level. Rates are nominal unless they are called delivered: messages sent a
// second × connections, what 2011 called received.
type Saturation struct {
	Provenance
	Time        time.Time `json:"time"`
	Target      string    `json:"target"`
	Protocol    Protocol  `json:"protocol"`
	Connections int       `json:"connections"`
	Publishers  int       `json:"publishers,omitempty"` // of the connections, those that send; 0 is all
	Room        int       `json:"room,omitempty"`       // connections that hear each other; 0 is all
	Verify      Verify    `json:"verify,omitempty"`
	Profile     string    `json:"profile"`
	// Rate is where the mean round trip crosses the threshold, between the highest rate that held and the lowest that
	// did not; a lower bound unless Limit is OVERLOADED or TARGET-FAILED.
	Rate float64 `json:"saturation_rate"`
	Held float64 `json:"held_rate"`
	Fell float64 `json:"fell_rate"`
	Best *Trial  `json:"best_trial"` // the one that was sustained, else the last at the highest rate that held
	// Sustained is the highest rate that the server was found to carry for 10 s with flat round trips; it does not
	// depend on the window. 0 is that it carried none of those tried.
	Sustained float64 `json:"sustained_rate"`
	// SustainedUnmeasured is the lowest rate above it that could not be measured, because of the load client or the
	// machine; 0 is that the server did not carry the next one. With it, what is sustained is a lower bound.
	SustainedUnmeasured float64 `json:"sustained_unmeasured_rate,omitempty"`
	// MaxDelivered is the most that was really received in a window.
	MaxDelivered float64 `json:"max_delivered_rate"`
	// Overload is the lowest rate at which a trial had to be given up: round trips of 1.5 s, an own message that did
	// not come back, a connection that broke. 0 is none that was tried.
	Overload float64 `json:"overload_rate,omitempty"`
	// Capacity is of older records: the medians of what their overloaded trials said.
	Capacity *Capacity `json:"capacity,omitempty"`
	// Limit says what ended the search: OVERLOADED and TARGET-FAILED are the server; otherwise Rate is a lower bound.
	Limit    Verdict  `json:"limit"`
	Reason   string   `json:"reason,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// what the client can receive at this level, in the shape in which the server sends
	Ceiling *Ceiling `json:"ceiling,omitempty"`
	Trials  int      `json:"trials"`
	Invalid int      `json:"invalid_trials"` // of them, those that said nothing of the server
}

// Ceiling is what the client can receive at most at a level, from a server that does nothing but send.
type Ceiling struct {
	Connections int     `json:"connections"`
	Shape       Shape   `json:"shape"`
	Verify      Verify  `json:"verify,omitempty"`
	Delivered   float64 `json:"delivered_rate"` // messages a second, over all connections
	// Sending is the same while the client sent as many messages as at the search's best trial; 0 is not measured.
	Sending    float64   `json:"delivered_rate_while_sending,omitempty"`
	ClientBusy []float64 `json:"client_busy"`
}

// Rate is what the client could receive if it did nothing else: what it received, by the time that it took for it. A
// broadcaster of single frames is slower than its client.
func (c *Ceiling) Rate() float64 {
	if busy := busiest(c.ClientBusy); busy > 0 {
		return c.Delivered / busy
	}
	return c.Delivered
}

// Shape is how a server's messages reach a client; how many it can receive depends on it more than on anything else.
type Shape string

const (
	Single    Shape = "single"    // a frame with one message a write
	Coalesced Shape = "coalesced" // many such frames a write
	Arrays    Shape = "arrays"    // frames of many messages, as a SockJS server may send them
)

// Shapes are all shapes.
var Shapes = []Shape{Single, Coalesced, Arrays}

// LowerBound tells whether the search ended at something else than the server, which may do more.
func (s *Saturation) LowerBound() bool { return s.Limit != Overloaded && s.Limit != TargetFailed }

// SustainSought tells whether a rate that can be sustained was looked for: the ramp of 2011 does not.
// A search that could measure none of the rates that it tried says nothing.
func (s *Saturation) SustainSought() bool {
	return s.Profile != "classic-2011" && (s.Sustained > 0 || s.SustainedUnmeasured == 0)
}

// outcome is the rate, or why there is none.
func (s *Saturation) outcome() string {
	if s.Rate > 0 {
		return Short(s.Rate)
	}
	return string(s.Limit) + " " + s.Reason
}
