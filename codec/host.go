package codec

import (
	"bytes"
	"net/netip"
)

// isHost tells whether p is the value of a Host header: uri-host [ ":" port ] (RFC 9112 section 3.2, RFC 3986 section
// 3.2.2), or nothing, which stands for a target without a host. A port without a host is refused.
func isHost(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] != '[' {
		name, port, _ := bytes.Cut(p, []byte{':'})
		return len(name) > 0 && isName(name) && isNumber(port)
	}
	literal, port, closed := bytes.Cut(p[1:], []byte{']'})
	if len(port) > 0 && port[0] != ':' {
		return false
	}
	return closed && isIPLiteral(literal) && isNumber(bytes.TrimPrefix(port, []byte{':'}))
}

// isIPLiteral tells whether p may stand between brackets: an IPv6 address without a zone, or an address of a later
// version, like v7.x:y.
func isIPLiteral(p []byte) bool {
	if len(p) > 0 && (p[0] == 'v' || p[0] == 'V') {
		version, address, _ := bytes.Cut(p[1:], []byte{'.'})
		legal := isHex(version) && isName(bytes.ReplaceAll(address, []byte{':'}, nil))
		return legal && len(version) > 0 && len(address) > 0 && bytes.IndexByte(address, '%') < 0
	}
	address, err := netip.ParseAddr(string(p))
	return err == nil && address.Is6() && address.Zone() == ""
}

func isHex(p []byte) bool {
	for _, c := range p {
		if hexDigit(c) < 0 {
			return false
		}
	}
	return true
}

// isName tells whether p is a reg-name of RFC 3986, which a DNS name and an IPv4 address are too.
func isName(p []byte) bool {
	for i, c := range p {
		switch {
		case isAlphanumeric(c), bytes.IndexByte([]byte("-._~!$&'()*+,;="), c) >= 0:
		case c == '%' && i+2 < len(p) && isHex(p[i+1:i+3]):
		default:
			return false
		}
	}
	return true
}

// isNumber tells whether p has digits only; it may be empty, as a port may.
func isNumber(p []byte) bool {
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
