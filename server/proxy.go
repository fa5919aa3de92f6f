package server

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/sockloop/sockloop/codec"
)

// checkProxies refuses what would never be believed. Addresses of connections have IPv4 in its own form, so prefixes
// must too.
func (c *Config) checkProxies(f *faults) {
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		f.add("ProxyProtocol", "ProxyProtocol without TrustedProxies: say which addresses may send a PROXY header")
	}
	for _, p := range c.TrustedProxies {
		switch {
		case !p.IsValid():
			f.add("TrustedProxies", "TrustedProxies has a prefix that is none: want one such as 10.0.0.0/8")
		case p.Addr().Is4In6():
			f.add("TrustedProxies", "TrustedProxies has %v: write IPv4 as in 10.0.0.0/8", p)
		}
	}
}

// trusts tells whether an address is that of a proxy that is believed.
func (c *Config) trusts(a netip.Addr) bool {
	for _, p := range c.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor is the address of the client that a request comes from; peer is whom the connection comes from. A proxy
// appends whom it heard to X-Forwarded-For, so the list is read from its end, as long as trusted proxies have written
// it: the last address that is no trusted proxy's is the client's. What stands before it may be the client's own
// invention. Where the list ends early, or goes on with what is no address, the proxy before that counts as the client.
func (c *Config) forwardedFor(peer netip.AddrPort, h http.Header) netip.AddrPort {
	lines := h["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0 && c.trusts(peer.Addr()); i-- {
		for line, more := lines[i], true; more && c.trusts(peer.Addr()); {
			comma := strings.LastIndexByte(line, ',')
			a, ok := parseForwarded(strings.Trim(line[comma+1:], " \t"))
			if !ok {
				return peer
			}
			peer = a
			more, line = comma >= 0, line[:max(comma, 0)]
		}
	}
	return peer
}

// parseForwarded reads an address as proxies write it: with a port or without, which is 0 then.
func parseForwarded(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.AddrPortFrom(a.Unmap(), 0), true
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Addr().Zone() != "" {
		return a, false
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
}

// firstProtocol is what a new connection speaks.
func (l *loop) firstProtocol(c *conn) protocol {
	if l.cfg.ProxyProtocol && l.cfg.trusts(c.remote.Addr()) {
		return &proxyHeader{c: c, since: l.now}
	}
	return newHTTP(c)
}

// proxyHeader is the first protocol of a connection from a trusted proxy, with Config.ProxyProtocol: the proxy says
// whom it speaks for, and then HTTP begins.
type proxyHeader struct {
	c       *conn
	partial []byte // a header of which a part has come
	since   int64  // loop time of the connect
}

func (p *proxyHeader) receive(data []byte) []byte {
	kept := len(p.partial)
	header := data
	if kept > 0 {
		p.partial = append(p.partial, data[:min(len(data), codec.ProxyBytesMax-kept)]...)
		header = p.partial
	}
	client, size, err := codec.ParseProxy(header)
	switch {
	case err != nil:
		p.refuse(err)
		return nil
	case size == 0:
		if kept == 0 {
			p.partial = append(p.partial, data...) // less than a header
		}
		return nil
	case client.IsValid():
		p.c.remote = client
	}
	h := newHTTP(p.c)
	h.anonymous = !client.IsValid()
	p.c.protocol = h
	return data[size-kept:]
}

// refuse cuts the connection: whatever else it says might be meant to be from somebody else.
func (p *proxyHeader) refuse(err error) {
	l := p.c.loop
	l.stats.ProxyHeadersRefused++
	l.logger.Debug("a connection from a proxy was cut", "from", p.c.remote, "error", err)
	p.c.kill()
}

func (p *proxyHeader) tick() {
	if l := p.c.loop; l.now-p.since > l.cfg.HandshakeTimeout.Milliseconds() {
		l.stats.HandshakeTimeouts++
		p.c.kill()
	}
}

func (p *proxyHeader) goAway() { p.c.linger() }

func (p *proxyHeader) kept() int        { return cap(p.partial) }
func (p *proxyHeader) unfinished() bool { return false }
func (p *proxyHeader) writable()        {}
func (p *proxyHeader) outbox() int      { return 0 }
func (p *proxyHeader) closed()          {}
