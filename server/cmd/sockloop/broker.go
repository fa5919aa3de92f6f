package main

import (
	"log/slog"

	"github.com/sockloop/sockloop/broadcast/nats"
	"github.com/sockloop/sockloop/server"
)

// brokerFlags say which broker carries the topics to other processes.
type brokerFlags struct {
	Broker            string `help:"NATS servers that carry what is published to other processes, such as nats://host:4222; user:password@ or token@ may stand before the host, and belong into the variable SOCKLOOP_BROKER then. Default: none." placeholder:"URL"`
	BrokerPrefix      string `help:"What stands before the name of a topic as a subject." default:"sockloop." placeholder:"WORDS."`
	BrokerCredentials string `help:"File with a NATS user's JWT and seed." placeholder:"FILE"`
	BrokerCA          string `name:"broker-ca" help:"PEM file with the certificates that the broker's may be signed by; it turns TLS on. Default: those of the system." placeholder:"FILE"`
}

// broker is nil when there is none.
func (f *brokerFlags) broker(log *slog.Logger) (server.Broker, error) {
	if f.Broker == "" {
		return nil, nil
	}
	b, err := nats.New(nats.Config{
		URL: f.Broker, Prefix: f.BrokerPrefix, Credentials: f.BrokerCredentials, CA: f.BrokerCA, Logger: log,
	})
	if err != nil {
		return nil, err // not b, which would be an interface that is not nil
	}
	return b, nil
}

// logBroker says at the end what the broker carried.
func logBroker(log *slog.Logger, s *server.Server) {
	if st, ok := s.BrokerStats(); ok {
		log.Info("broker closed", "batches_out", st.BatchesOut, "messages_out", st.MessagesOut,
			"batches_in", st.BatchesIn, "messages_in", st.MessagesIn, "batches_dropped", st.BatchesDropped,
			"batches_malformed", st.BatchesMalformed, "messages_not_sent", st.MessagesNotSent,
			"messages_unconfirmed", st.MessagesUnconfirmed, "disconnects", st.Disconnects)
	}
}
