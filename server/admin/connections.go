package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sockloop/sockloop/server"
)

// A connection of the admin plane is a client's session, whatever carries it.
type connection struct {
	ID          uint64  `json:"id"`
	Address     string  `json:"address"`
	Transport   string  `json:"transport"`
	Prefix      string  `json:"prefix"`
	AgeSeconds  float64 `json:"age_seconds"`
	Topics      int     `json:"topics"`
	LagMessages uint64  `json:"lag_messages"`
	OutboxBytes int     `json:"outbox_bytes"`
	Blocked     bool    `json:"blocked"`
}

const (
	connectionsListed = 100    // by default
	connectionsMax    = 10_000 // in one answer, some 2 MB
)

// connections lists sessions, those that are furthest behind first.
func (p *plane) connections(w http.ResponseWriter, r *http.Request) {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		problem{Status: http.StatusBadRequest, Detail: err.Error()}.write(w)
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	all, err := p.server.Sessions(ctx)
	if err != nil {
		problemOf(err).write(w)
		return
	}
	all = slices.DeleteFunc(all, func(s server.SessionInfo) bool { return !f.takes(&s) })
	slices.SortFunc(all, func(a, b server.SessionInfo) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), cmp.Compare(a.ID, b.ID))
	})
	listed := make([]connection, 0, min(len(all), f.limit))
	for _, s := range all[:min(len(all), f.limit)] {
		listed = append(listed, connection{s.ID, s.RemoteAddr.String(), s.Transport, s.Prefix, s.Age.Seconds(),
			s.Topics, s.Lag, s.OutboxBytes, s.Blocked})
	}
	answer(w, struct {
		Matching    int          `json:"matching"` // of which so many are listed as the limit allows
		Connections []connection `json:"connections"`
	}{len(all), listed})
}

// filter is which sessions are asked for.
type filter struct {
	from      netip.Prefix // invalid is any
	transport string       // empty is any
	lagMin    uint64
	limit     int
}

func readFilter(q url.Values) (f filter, err error) {
	f.limit = connectionsListed
	for name, values := range q {
		v := values[0]
		switch name {
		case "address":
			f.from, err = readNetwork(v)
		case "transport":
			if f.transport = v; !slices.Contains(server.Transports(), v) {
				err = fmt.Errorf("want one of %s", strings.Join(server.Transports(), ", "))
			}
		case "lag_min":
			if f.lagMin, err = strconv.ParseUint(v, 10, 64); err != nil {
				err = fmt.Errorf("want a number of messages")
			}
		case "limit":
			if f.limit, err = strconv.Atoi(v); err != nil || f.limit < 1 || f.limit > connectionsMax {
				err = fmt.Errorf("want a number from 1 to %d", connectionsMax)
			}
		default:
			err = fmt.Errorf("there is no such parameter; there are address, transport, lag_min and limit")
		}
		if err != nil {
			return f, fmt.Errorf("%s=%s: %w", name, v, err)
		}
	}
	return f, nil
}

// readNetwork reads an address, or a network such as 10.0.0.0/8.
func readNetwork(s string) (netip.Prefix, error) {
	if network, err := netip.ParsePrefix(s); err == nil {
		return network, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("want an IP address, or a network such as 10.0.0.0/8")
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func (f *filter) takes(s *server.SessionInfo) bool {
	return (!f.from.IsValid() || f.from.Contains(s.RemoteAddr.Addr())) &&
		(f.transport == "" || s.Transport == f.transport) && s.Lag >= f.lagMin
}

// endConnection sends a client away.
func (p *plane) endConnection(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		problem{Status: http.StatusBadRequest, Detail: "want the id of a connection, a number"}.write(w)
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	if err := p.server.EndSession(ctx, id, server.CodeGoAway, "ended by an operator"); err != nil {
		problemOf(err).write(w)
		return
	}
	p.log.Info("connection ended by the admin plane", "id", id)
	w.WriteHeader(http.StatusNoContent)
}
