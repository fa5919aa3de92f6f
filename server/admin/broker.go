package admin

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sockloop/sockloop/server"
)

// brokerCollector exports the state of a broker, and nothing if there is none. It asks nothing of the loop.
type brokerCollector struct{ server *server.Server }

// brokerMetric is one figure of a broker, or what goes out and comes in.
type brokerMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*server.BrokerStats) map[string]float64 // by direction
}

// brokerFigure is a metric without a label.
func brokerFigure(kind prometheus.ValueType, name, help string, of func(*server.BrokerStats) uint64) brokerMetric {
	values := func(st *server.BrokerStats) map[string]float64 { return map[string]float64{"": float64(of(st))} }
	return brokerMetric{prometheus.NewDesc("sockloop_broker_"+name, help, nil, nil), kind, values}
}

// brokerTraffic counts in both directions.
func brokerTraffic(name, help string, of func(*server.BrokerStats) (out, in uint64)) brokerMetric {
	values := func(st *server.BrokerStats) map[string]float64 {
		out, in := of(st)
		return map[string]float64{"out": float64(out), "in": float64(in)}
	}
	return brokerMetric{prometheus.NewDesc("sockloop_broker_"+name, help, []string{"direction"}, nil), counter, values}
}

var brokerMetrics = []brokerMetric{
	brokerFigure(gauge, "connected", "1 while the broker is connected.",
		func(s *server.BrokerStats) uint64 { return uint64(number(s.Connected)) }),
	brokerFigure(counter, "disconnects_total", "Times that the connection to the broker was lost.",
		func(s *server.BrokerStats) uint64 { return s.Disconnects }),
	brokerTraffic("batches_total", "Batches that the broker confirmed, and that came from it to be published here.",
		func(s *server.BrokerStats) (out, in uint64) { return s.BatchesOut, s.BatchesIn }),
	brokerTraffic("messages_total", "Messages in these batches.",
		func(s *server.BrokerStats) (out, in uint64) { return s.MessagesOut, s.MessagesIn }),
	brokerTraffic("bytes_total", "Bytes of JSON in these batches.",
		func(s *server.BrokerStats) (out, in uint64) { return s.BytesOut, s.BytesIn }),
	brokerFigure(counter, "batches_dropped_total", "Batches that came and were more than the loop could take.",
		func(s *server.BrokerStats) uint64 { return s.BatchesDropped }),
	brokerFigure(counter, "batches_malformed_total", "What came and is no batch.",
		func(s *server.BrokerStats) uint64 { return s.BatchesMalformed }),
	brokerFigure(counter, "messages_not_sent_total", "Messages that were not handed to the broker: not connected, too "+
		"much, or too large.", func(s *server.BrokerStats) uint64 { return s.MessagesNotSent }),
	brokerFigure(counter, "messages_unconfirmed_total", "Messages that the broker was handed and did not confirm.",
		func(s *server.BrokerStats) uint64 { return s.MessagesUnconfirmed }),
}

// Describe names all metrics.
func (c brokerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range brokerMetrics {
		to <- m.desc
	}
}

// Collect takes one snapshot.
func (c brokerCollector) Collect(to chan<- prometheus.Metric) {
	st, ok := c.server.BrokerStats()
	if !ok {
		return
	}
	for _, m := range brokerMetrics {
		for direction, v := range m.of(&st) {
			if direction == "" {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
			} else {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, direction)
			}
		}
	}
}

// degraded is what the server does without though it is ready: its clients hear one another, and not those elsewhere.
func (p *plane) degraded() []string {
	st, ok := p.server.BrokerStats()
	if !ok || st.Connected {
		return nil
	}
	why := fmt.Sprintf("the broker is not connected, since %s", st.Since.UTC().Format(time.RFC3339))
	if st.LastError != "" {
		why += ": " + st.LastError
	}
	return []string{why}
}
