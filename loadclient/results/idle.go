package results

import (
	"fmt"
	"time"
)

// IdleStep is a step of a ramp of connections that do nothing.
type IdleStep struct {
	Provenance
	Time        time.Time `json:"time"`
	Target      string    `json:"target"`
	Protocol    Protocol  `json:"protocol"`
	Insecure    bool      `json:"certificate_unchecked,omitempty"`
	Step        int       `json:"step"`        // 0 is the empty server, before the first
	Connections int       `json:"connections"` // open at its end
	Opened      int       `json:"opened"`
	Failed      int       `json:"failed"` // did not open
	Lost        int       `json:"lost"`   // were open, and broke
	Duration    float64   `json:"duration_s"`
	Rate        float64   `json:"opened_rate"`          // connections a second
	Asked       float64   `json:"asked_rate,omitempty"` // 0 is as fast as the target accepted
	Handshake   Latency   `json:"handshake_ms"`
	Failures    []Failure `json:"failures,omitempty"` // of those that failed or were lost
	Server      *Usage    `json:"server,omitempty"`
	// PerConnection is what the server has more than when it was empty.
	PerConnection *ConnectionMemory `json:"per_connection,omitempty"`
}

// IdleHold is the end of such a ramp: whether all that were open stay so.
type IdleHold struct {
	Provenance
	Time        time.Time `json:"time"`
	Target      string    `json:"target"`
	Protocol    Protocol  `json:"protocol"`
	Connections int       `json:"connections"` // open when it began
	Hold        float64   `json:"hold_s"`
	Lost        int       `json:"lost"`
	Failures    []Failure `json:"failures,omitempty"`
	Server      *Usage    `json:"server,omitempty"`
}

// Failure is why some connections failed.
type Failure struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// ConnectionMemory is memory of a server for each connection, in bytes.
type ConnectionMemory struct {
	RSS           int64 `json:"rss_bytes"`
	Anon          int64 `json:"anon_bytes"`
	KernelSockets int64 `json:"kernel_socket_bytes"` // of both ends, when the client runs on the same machine
}

// MemoryPerConnection shares out what a server has more than when it was empty; nil when that is not known.
func MemoryPerConnection(empty, now *Usage, connections int) *ConnectionMemory {
	if empty == nil || now == nil || connections == 0 {
		return nil
	}
	n := int64(connections)
	return &ConnectionMemory{
		RSS: (now.RSS - empty.RSS) / n, Anon: (now.Anon - empty.Anon) / n,
		KernelSockets: (now.KernelSockets - empty.KernelSockets) / n,
	}
}

// RampHead are the names of the columns of RampTable.
var RampHead = []string{
	"server", "connections", "opened/s", "handshake: mean, ms", "p99", "failed", "lost", "memory, MB",
	"anonymous, KB/connection", "kernel's sockets, KB/connection",
}

// RampTable is a row for each step of the ramps of connections that do nothing.
func (m *Measurement) RampTable() (rows [][]string) {
	for i := range m.Servers {
		for k := range m.Servers[i].Ramp {
			rows = append(rows, append([]string{m.Servers[i].Name}, m.Servers[i].Ramp[k].cells()...))
		}
	}
	return rows
}

func (s *IdleStep) cells() []string {
	memory, anon, sockets := missing, missing, missing
	if u := s.Server; u != nil {
		memory = Memory{RSS: float64(u.RSS), Anon: float64(u.Anon), File: float64(u.File)}.String()
	}
	if p := s.PerConnection; p != nil {
		anon, sockets = number(float64(p.Anon)/1e3), number(float64(p.KernelSockets)/1e3)
	}
	return []string{
		fmt.Sprint(s.Connections), number(s.Rate), number(s.Handshake.Mean), number(s.Handshake.P99),
		fmt.Sprint(s.Failed), fmt.Sprint(s.Lost), memory, anon, sockets,
	}
}
