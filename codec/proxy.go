package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// ProxyBytesMax bounds a PROXY header, in bytes. Senders keep it within 536, so that it comes in one segment; beyond
// that only extensions are longer, such as a client's certificate.
const ProxyBytesMax = 2 << 10

// Errors of ParseProxy.
var (
	ErrNoProxyHeader       = errors.New("codec: the connection does not begin with a PROXY header")
	ErrProxyHeader         = errors.New("codec: the PROXY header is malformed")
	ErrProxyHeaderTooLarge = errors.New("codec: the PROXY header is longer than 2048 bytes")
)

var (
	proxySignature1 = []byte("PROXY ")
	proxySignature2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// proxyLineMax is the longest header of version 1, in bytes, with its CR LF.
const proxyLineMax = 107

// ParseProxy reads a header of the PROXY protocol, version 1 or 2, from the front of the borrowed p (HAProxy's
// proxy-protocol.txt, sections 2.1 and 2.2). It returns the address of the client that the proxy speaks for, and the
// header's size in bytes; a size of 0 without an error means that p ends before the header does. The address is the
// zero AddrPort when the proxy speaks for itself (LOCAL), or names no TCP client (UNSPEC, UNIX, DGRAM, UNKNOWN):
// then the connection's own holds. Extensions (section 2.2.x) are skipped. The errors are ErrNoProxyHeader,
// ErrProxyHeader and ErrProxyHeaderTooLarge.
func ParseProxy(p []byte) (client netip.AddrPort, size int, err error) {
	switch {
	case begins(p, proxySignature2):
		return parseProxy2(p)
	case begins(p, proxySignature1):
		return parseProxy1(p)
	}
	return client, 0, ErrNoProxyHeader
}

// begins tells whether p begins with a signature, as far as p goes.
func begins(p, signature []byte) bool {
	n := min(len(p), len(signature))
	return bytes.Equal(p[:n], signature[:n])
}

// The parts of a header of version 2.
const (
	proxyHeadBytes = 16 // signature, version and command, family and transport, length of the rest
	proxyLocal     = 0x20
	proxyProxy     = 0x21
	proxyTCP4      = 0x11
	proxyTCP6      = 0x21
)

func parseProxy2(p []byte) (client netip.AddrPort, size int, err error) {
	if len(p) < proxyHeadBytes {
		return client, 0, nil
	}
	command, kind := p[12], p[13]
	size = proxyHeadBytes + int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case command != proxyLocal && command != proxyProxy:
		return client, 0, ErrProxyHeader
	case size > ProxyBytesMax:
		return client, 0, ErrProxyHeaderTooLarge
	case len(p) < size:
		return client, 0, nil
	case command == proxyLocal:
		return client, size, nil
	}
	block := p[proxyHeadBytes:size]
	switch {
	case kind>>4 > 3 || kind&0x0f > 2:
		return client, 0, ErrProxyHeader
	case kind == proxyTCP4:
		return proxyAddr(block, 4, size)
	case kind == proxyTCP6:
		return proxyAddr(block, 16, size)
	}
	return client, size, nil
}

// proxyAddr reads the source's address and port: source, destination, and their ports, then extensions.
func proxyAddr(block []byte, n, size int) (client netip.AddrPort, _ int, err error) {
	if len(block) < 2*n+4 {
		return client, 0, ErrProxyHeader
	}
	addr, _ := netip.AddrFromSlice(block[:n])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(block[2*n:])), size, nil
}

func parseProxy1(p []byte) (client netip.AddrPort, size int, err error) {
	end := bytes.Index(p[:min(len(p), proxyLineMax)], endOfLine)
	switch {
	case end < 0 && len(p) >= proxyLineMax:
		return client, 0, ErrProxyHeader
	case end < 0:
		return client, 0, nil
	}
	size = end + len(endOfLine)
	line := string(p[len(proxySignature1):end])
	if line == "UNKNOWN" || strings.HasPrefix(line, "UNKNOWN ") {
		return client, size, nil
	}
	field := strings.Split(line, " ")
	if len(field) != 5 {
		return client, 0, ErrProxyHeader
	}
	client, ok := proxyText(field[0], field[1], field[3])
	if _, destination := proxyText(field[0], field[2], field[4]); !ok || !destination {
		return netip.AddrPort{}, 0, ErrProxyHeader
	}
	return client, size, nil
}

// proxyText reads an address and a port as version 1 has them; family is TCP4 or TCP6.
func proxyText(family, addr, port string) (a netip.AddrPort, ok bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" || family != "TCP4" && family != "TCP6" || ip.Is4() != (family == "TCP4") {
		return a, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(n, 10) { // no sign, no leading zeros
		return a, false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), true
}
