// Package results has what the load client has measured: the records, how they are written and read, and what they come
// to, which is the figures of a level, comparisons, and tables. It measures nothing, and whoever reads results needs
// nothing else.
package results

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/tuning"
)

// Record is one line of a result file: exactly one field is set.
type Record struct {
	Machine    *Machine    `json:"machine,omitempty"`
	Trial      *Trial      `json:"trial,omitempty"`
	Saturation *Saturation `json:"saturation,omitempty"`
	Ceiling    *Ceiling    `json:"ceiling,omitempty"`
	Discarded  *Discarded  `json:"discarded,omitempty"`
	Idle       *IdleStep   `json:"idle,omitempty"`
	Hold       *IdleHold   `json:"hold,omitempty"`
	Wall       *Wall       `json:"wall,omitempty"`
}

// Discarded says that the next search at a level counts in place of its block's earlier one, if there is any: a server
// may fail to start meanwhile. What was carried before counts too: of two that did not find the server's end the higher
// bounds stay.
type Discarded struct {
	Connections int    `json:"connections"`
	Reason      string `json:"reason"`
}

// Progress is how far a run is: a line that run --json prints between the records, and no file has.
type Progress struct {
	Level       int     `json:"level"` // that begins, from 1
	Levels      int     `json:"levels"`
	Connections int     `json:"connections"`
	Left        float64 `json:"left_s"`
}

// Machine is where and how a result was measured. It begins each run in a file.
type Machine struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"` // of the program that wrote it
	Command []string  `json:"command"`
	tuning.Machine
}

// ThisMachine describes the machine and the command of this process.
func ThisMachine() *Machine {
	return &Machine{
		Time: time.Now().UTC(), Version: version.Own(), Command: os.Args, Machine: tuning.ThisMachine(),
	}
}

// UnknownVersion is the version of a server that tells none.
const UnknownVersion = "unknown"

// Provenance says which programs made a record and when: trials and searches are compared within a block, and only
// when the same programs made them.
type Provenance struct {
	ClientVersion string `json:"client_version,omitempty"` // of sockload
	ServerVersion string `json:"server_version,omitempty"` // of the server, or UnknownVersion
	// Block is the block of an interleaved measurement, from 1: everything in it was measured within minutes.
	Block int `json:"block,omitempty"`
}

// old tells whether a record is from before records had a provenance.
func (p *Provenance) old() bool { return p.ClientVersion == "" || p.ServerVersion == "" || p.Block < 1 }

// oldVersion stands for the versions that old records do not have.
const oldVersion = "not recorded"

// fill gives an old record the provenance that it would have had if its file had been made by one version.
func (p *Provenance) fill(block int) {
	if p.old() {
		*p = Provenance{oldVersion, oldVersion, block}
	}
}

// Searches are those of a result file that count, in the order in which they were made.
func Searches(records []Record) []Saturation {
	var all []Saturation
	again := map[int]bool{} // by level: the next search replaces its block's earlier one
	for _, r := range records {
		switch {
		case r.Saturation != nil:
			s := *r.Saturation
			i := slices.IndexFunc(all, func(o Saturation) bool {
				return o.Connections == s.Connections && o.Block == s.Block
			})
			if again[s.Connections] && i >= 0 {
				all[i] = s.after(all[i])
			} else {
				all = append(all, s)
			}
			delete(again, s.Connections)
		case r.Discarded != nil:
			again[r.Discarded.Connections] = true
		}
	}
	return all
}

// after is what counts of a search that was made again after the first: its own figures, if it found the server's end
// or saw a rate fall that the first had held, and else the better bound of each.
func (s Saturation) after(first Saturation) Saturation {
	if !s.LowerBound() || s.Fell > 0 && s.Fell <= first.Rate {
		return s
	}
	if s.Rate < first.Rate {
		s.Rate, s.Held, s.Fell, s.Limit, s.Reason = first.Rate, first.Held, first.Fell, first.Limit, first.Reason
	}
	if s.Sustained < first.Sustained {
		s.Sustained, s.SustainedUnmeasured, s.Best = first.Sustained, first.SustainedUnmeasured, first.Best
	}
	s.MaxDelivered = max(s.MaxDelivered, first.MaxDelivered)
	return s
}

// NextBlock is the block after those that a result file has.
func NextBlock(records []Record) int {
	last := 0
	for _, r := range records {
		if r.Saturation != nil {
			last = max(last, r.Saturation.Block)
		}
	}
	return last + 1
}

// Unfinished are the searches of the last run in a result file, if the given command made it: the same command goes on
// behind them. What an interrupted run had of another level is left to be searched anew.
func Unfinished(records []Record, command []string) []Saturation {
	var found []Saturation
	ours := false
	for _, r := range records {
		switch {
		case r.Machine != nil:
			ours, found = slices.Equal(r.Machine.Command, command), nil
		case r.Saturation != nil && ours:
			found = append(found, *r.Saturation)
		}
	}
	return found
}

// Continues is an error unless a run may go on behind searches: what one run measures, one version of client and server
// measures.
func Continues(found []Saturation, now Provenance) error {
	for _, s := range found {
		if s.ClientVersion != now.ClientVersion || s.ServerVersion != now.ServerVersion {
			return fmt.Errorf("the interrupted run was made by sockload %s against server %s, "+
				"and these are %s and %s: "+
				"run those versions to go on with it, or give another --out to begin anew",
				orOld(s.ClientVersion), orOld(s.ServerVersion), now.ClientVersion, now.ServerVersion)
		}
	}
	return nil
}

func orOld(v string) string {
	if v == "" {
		return oldVersion
	}
	return v
}
