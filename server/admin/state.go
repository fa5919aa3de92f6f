package admin

import (
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/sockloop/sockloop/server"
)

type topic struct {
	Name              string `json:"name"`
	Subscribers       int    `json:"subscribers"`
	PublishedMessages uint64 `json:"published_messages"`
	LogBytes          int    `json:"log_bytes"`
	Full              bool   `json:"full"`
}

func (p *plane) topics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := asking(r)
	defer cancel()
	all, err := p.server.Topics(ctx)
	if err != nil {
		problemOf(err).write(w)
		return
	}
	topics := make([]topic, 0, len(all))
	for _, t := range all {
		topics = append(topics, topic{t.Name, t.Subscribers, t.Published, t.LogBytes, t.Full})
	}
	answer(w, map[string][]topic{"topics": topics})
}

func (p *plane) stats(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := asking(r)
	defer cancel()
	st, err := p.server.Stats(ctx)
	if err != nil {
		problemOf(err).write(w)
		return
	}
	answer(w, statsJSON(&st))
}

// histogram is a distribution in figures; the quantiles are the upper bounds of their buckets, 9 % wide.
type histogram struct {
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// statsJSON has every field of the counters under its name in snake_case, so that a new one is there at once. A time
// is in seconds, and says so.
func statsJSON(st *server.Stats) map[string]any {
	all := map[string]any{}
	v := reflect.ValueOf(*st)
	for i, field := range reflect.VisibleFields(v.Type()) {
		name := snakeCase(field.Name)
		switch x := v.Field(i).Interface().(type) {
		case time.Duration:
			all[name+"_seconds"] = x.Seconds()
		case server.Histogram:
			all[name] = histogram{x.Count, x.Sum, x.Mean(), x.Quantile(0.5), x.Quantile(0.99)}
		default:
			all[name] = x
		}
	}
	of := map[string]int{}
	for i, transport := range server.Transports() {
		of[transport] = st.SessionsOf[i]
	}
	all["sessions_of"] = of
	return all
}

func snakeCase(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
