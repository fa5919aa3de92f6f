package admin

import (
	"context"
	"math"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/server"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// collector takes one snapshot of the server's counters a scrape.
type collector struct {
	server  *server.Server
	started time.Time // when the counters were 0
}

// metrics serves what the server, the process and the runtime count.
func (p *plane) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{p.server, time.Now()}, brokerCollector{p.server}, buildInfo(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sockloop_build_info", Help: "1, with the version of the program.",
		ConstLabels: prometheus.Labels{"version": version.Own(), "goversion": runtime.Version()},
	}, func() float64 { return 1 })
}

// metric is one series, or several that differ in one label.
type metric struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(*server.Stats) map[string]float64 // by the label's value
}

// plain is a metric without a label.
func plain[N int | uint64 | float64](kind prometheus.ValueType, name, help string, of func(*server.Stats) N) metric {
	values := func(st *server.Stats) map[string]float64 { return map[string]float64{"": float64(of(st))} }
	return metric{prometheus.NewDesc("sockloop_"+name, help, nil, nil), kind, values}
}

// labelled is a metric with a label.
func labelled(kind prometheus.ValueType, name, label, help string, of func(*server.Stats) map[string]float64) metric {
	return metric{prometheus.NewDesc("sockloop_"+name, help, []string{label}, nil), kind, of}
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

var (
	up = prometheus.NewDesc("sockloop_up", "Whether the loop answered this scrape; without its answer it has no other "+
		"metrics of the server.", nil, nil)
	socketsMax = prometheus.NewDesc("sockloop_sockets_max", "Bound of sockloop_sockets, --connections-max.", nil, nil)
	turnTarget = prometheus.NewDesc("sockloop_turn_target_seconds", "How long turns may take, --turn-target.", nil, nil)
	turns      = prometheus.NewDesc("sockloop_turn_seconds",
		"How long turns of the loop took, from what led to sending until all was handed to the kernel.", nil, nil)
	batches = prometheus.NewDesc("sockloop_batch_messages",
		"Messages of a batch, which is what a topic sends in a turn.", nil, nil)
)

// metrics of the counters. A word of its own is needed for what TCP connects, a socket: a connection is a client's,
// whatever carries it.
var metrics = []metric{
	labelled(gauge, "connections", "transport", "Clients that are connected: SockJS sessions and raw WebSockets.",
		func(s *server.Stats) map[string]float64 {
			of := map[string]float64{}
			for i, transport := range server.Transports() {
				of[transport] = float64(s.SessionsOf[i])
			}
			return of
		}),
	plain(gauge, "sockets", "TCP connections that are open.", func(s *server.Stats) int { return s.Connections }),
	plain(gauge, "sockets_blocked", "Of them, those whose buffers are full because the peer does not read.",
		func(s *server.Stats) int { return s.ConnectionsBlocked }),
	plain(gauge, "busy_ratio", "Share of the last second in which the loop had something to do; 1 is no overload.",
		func(s *server.Stats) float64 { return s.Busy }),
	plain(gauge, "turn_wait_seconds", "How long a turn a message that came in the last second found, in the mean.",
		func(s *server.Stats) float64 { return s.TurnWait.Seconds() }),
	plain(gauge, "saturation_ratio", "Turn wait over its target; from 1 on newcomers are refused.",
		func(s *server.Stats) float64 { return s.Saturation }),
	plain(gauge, "gather_seconds", "How long topics gather messages that do so by --p99.",
		func(s *server.Stats) float64 { return s.Gather.Seconds() }),
	plain(gauge, "overloaded", "1 while newcomers are refused for load.",
		func(s *server.Stats) int { return number(s.Overloaded) }),
	plain(gauge, "draining", "1 while the server ends.", func(s *server.Stats) int { return number(s.Draining) }),
	labelled(gauge, "memory_bytes", "holder", "Memory that is kept on behalf of clients, by what keeps it.",
		func(s *server.Stats) map[string]float64 {
			return map[string]float64{
				"connections": float64(s.ConnectionsBytes), "sessions": float64(s.SessionsBytes),
				"input": float64(s.InputBytes), "outboxes": float64(s.OutboxesBytes), "logs": float64(s.LogsBytes),
				"broker": float64(s.BrokerBytes),
			}
		}),
	plain(gauge, "memory_max_bytes", "Bound of the sum of sockloop_memory_bytes, --memory-max.",
		func(s *server.Stats) int { return s.MemoryBytesMax }),
	plain(counter, "sockets_accepted_total", "TCP connections that were admitted.",
		func(s *server.Stats) uint64 { return s.ConnectionsAccepted }),
	plain(counter, "accept_errors_total", "Failures of accept: no descriptor or kernel memory was left.",
		func(s *server.Stats) uint64 { return s.AcceptErrors }),
	labelled(counter, "refusals_total", "reason", "TCP connections and clients that were answered 503. The reason "+
		"limit is --connections-max, --sessions-max or a drain.",
		func(s *server.Stats) map[string]float64 {
			all := s.ConnectionsRefused + s.SessionsRefused
			return map[string]float64{
				"memory": float64(s.RefusedForMemory), "load": float64(s.RefusedForLoad),
				"limit": float64(all - s.RefusedForMemory - s.RefusedForLoad),
			}
		}),
	plain(counter, "connections_opened_total", "Clients that connected.",
		func(s *server.Stats) uint64 { return s.SessionsOpened }),
	plain(counter, "connections_compressed_total", "Of them, those that receive compressed batches.",
		func(s *server.Stats) uint64 { return s.SessionsDeflate }),
	labelled(counter, "closes_total", "reason", "Connections that ended in other ways than the client's own goodbye.",
		func(s *server.Stats) map[string]float64 {
			return map[string]float64{
				"no_receiver": float64(s.SessionsTimedOut), "protocol_error": float64(s.ProtocolErrors),
				"handshake_timeout": float64(s.HandshakeTimeouts), "pong_timeout": float64(s.PongTimeouts),
				"interrupted":   float64(s.ConnectionsInterrupted),
				"memory":        float64(s.ConnectionsClosedForMemory + s.SessionsClosedForMemory),
				"slow_consumer": float64(s.SlowConsumersClosed),
			}
		}),
	labelled(counter, "slow_consumers_total", "action", "Times that a client that read too slowly was closed, or "+
		"skipped messages.",
		func(s *server.Stats) map[string]float64 {
			return map[string]float64{
				"close": float64(s.SlowConsumersClosed), "skip": float64(s.SlowConsumersSkipped),
			}
		}),
	plain(counter, "logs_cut_total", "Times that the slowest readers of a topic were ended because memory was spent.",
		func(s *server.Stats) uint64 { return s.LogsCutForMemory }),
	plain(counter, "publishers_held_total", "Times that a client was not read "+
		"because it published faster than it may, or than others or it itself read.",
		func(s *server.Stats) uint64 { return s.PublishersHeld }),
	plain(counter, "requests_total", "HTTP requests of clients, handshakes included.",
		func(s *server.Stats) uint64 { return s.Requests }),
	plain(counter, "requests_refused_total", "Of them, those answered 4xx or 5xx, or cut.",
		func(s *server.Stats) uint64 { return s.RequestsRefused }),
	plain(counter, "proxy_headers_refused_total", "Connections from trusted proxies that were cut for their "+
		"PROXY header.", func(s *server.Stats) uint64 { return s.ProxyHeadersRefused }),
	plain(counter, "messages_received_total", "Messages from clients.",
		func(s *server.Stats) uint64 { return s.MessagesReceived }),
	plain(counter, "messages_published_total", "Messages published to topics.",
		func(s *server.Stats) uint64 { return s.MessagesPublished }),
	plain(counter, "messages_direct_total", "Messages sent to one client alone.",
		func(s *server.Stats) uint64 { return s.MessagesSent }),
	plain(counter, "messages_delivered_total", "Messages owed to clients: published ones times their subscribers, and "+
		"direct ones.", func(s *server.Stats) uint64 { return s.MessagesDelivered }),
	plain(counter, "messages_skipped_total", "Of them, those that slow consumers missed.",
		func(s *server.Stats) uint64 { return s.MessagesSkipped }),
	plain(counter, "received_bytes_total", "Bytes read from sockets.",
		func(s *server.Stats) uint64 { return s.BytesReceived }),
	plain(counter, "sent_bytes_total", "Bytes that sockets took.", func(s *server.Stats) uint64 { return s.BytesSent }),
	plain(counter, "handler_panics_total", "Panics of services.",
		func(s *server.Stats) uint64 { return s.HandlerPanics }),
}

// Describe names all metrics.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{up, socketsMax, turnTarget, turns, batches} {
		to <- d
	}
	for _, m := range metrics {
		to <- m.desc
	}
}

// Collect asks the loop once.
func (c collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := c.server.Stats(ctx)
	to <- prometheus.MustNewConstMetric(up, gauge, float64(number(err == nil)))
	if err == nil {
		c.collect(&st, to)
	}
}

func (c collector) collect(st *server.Stats, to chan<- prometheus.Metric) {
	config := c.server.Config()
	to <- prometheus.MustNewConstMetric(socketsMax, gauge, float64(config.ConnectionsMax))
	to <- prometheus.MustNewConstMetric(turnTarget, gauge, config.TurnTarget.Seconds())
	for _, m := range metrics {
		for label, v := range m.values(st) {
			if label == "" {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v)
			} else {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, label)
			}
		}
	}
	to <- c.histogram(turns, &st.TurnSeconds)
	to <- c.histogram(batches, &st.BatchMessages)
}

// zeroThreshold is of Prometheus' own histograms; ours count nothing as zero.
var zeroThreshold = math.Exp2(-128)

// histogram is a native histogram.
func (c collector) histogram(d *prometheus.Desc, h *server.Histogram) prometheus.Metric {
	return prometheus.MustNewConstNativeHistogram(d, h.Count, h.Sum, h.Buckets(), nil, 0, server.HistogramSchema,
		zeroThreshold, c.started)
}
