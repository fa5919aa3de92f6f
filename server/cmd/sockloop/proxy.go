package main

import (
	"fmt"
	"net/netip"

	"github.com/sockloop/sockloop/server"
)

// proxies are what stands between the server and its clients.
type proxies struct {
	TrustedProxies []network `help:"Addresses of proxies that are believed about whom they speak for, in X-Forwarded-For and PROXY headers, such as 10.0.0.0/8. Default: none." placeholder:"CIDR"`
	ProxyProtocol  bool      `help:"Connections from trusted proxies begin with a PROXY header, version 1 or 2."`
}

func (p *proxies) configure(c *server.Config) {
	for _, n := range p.TrustedProxies {
		c.TrustedProxies = append(c.TrustedProxies, n.Prefix)
	}
	c.ProxyProtocol = p.ProxyProtocol
}

// network is a set of addresses: 10.0.0.0/8, or one alone.
type network struct{ netip.Prefix }

// UnmarshalText reads it.
func (n *network) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil && a.Zone() == "" {
		n.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q: want an address or a network, such as 10.0.0.1 or 10.0.0.0/8", text)
	}
	n.Prefix = p
	return nil
}
