package results

import (
	"fmt"
	"slices"
)

// AgentsHead are the names of the columns of AgentsTable.
var AgentsHead = []string{
	"server", "connections", "block", "nominal", "agent", "its connections", "delivered to them", "mean, ms", "p99",
	"lag, ms at p99", "busy", "verdict",
}

// AgentsText says what AgentsTable shows.
const AgentsText = "What each load client measured in the trial that counts most of each search: the rate that was " +
	"sustained, or else the highest that held. Busy is the busiest of its threads. What the tables above say is of " +
	"all agents together."

// AgentsTable is a row for each agent of the best trial of each search, or of each trial where nothing was searched.
func (m *Measurement) AgentsTable() (rows [][]string) {
	for i := range m.Servers {
		s := &m.Servers[i]
		for k := range s.Searches {
			if best := s.Searches[k].Best; best != nil {
				rows = append(rows, best.agentRows(s.Name)...)
			}
		}
		for k := 0; len(s.Searches) == 0 && k < len(s.Trials); k++ {
			rows = append(rows, s.Trials[k].agentRows(s.Name)...)
		}
	}
	return rows
}

func (t *Trial) agentRows(server string) (rows [][]string) {
	for i := range t.Agents {
		a := &t.Agents[i]
		busy := 0.0
		if len(a.ClientBusy) > 0 {
			busy = slices.Max(a.ClientBusy)
		}
		rows = append(rows, []string{
			server, fmt.Sprint(t.Connections), fmt.Sprint(t.Block), long(t.Nominal), a.Addr, fmt.Sprint(a.Connections),
			long(a.Delivered), number(a.RTT.Mean), number(a.RTT.P99), number(a.LagP99), number(busy), string(a.Verdict),
		})
	}
	return rows
}
