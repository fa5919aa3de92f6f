package codec

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// proxy2 is a header of version 2.
func proxy2(command, kind byte, block string) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, kind, byte(len(block) >> 8), byte(len(block))}) + block
}

const (
	block4 = "\xc0\x00\x02\x07" + "\x0a\x00\x00\x01" + "\xdb\xfc" + "\x01\xbb"
	from6  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07"
	block6 = from6 + from6 + "\xdb\xfc" + "\x01\xbb"
	tlv    = "\x05\x00\x04abcd"
)

var proxyHeaders = []struct {
	name, header string
	want         string // "" is no address
	err          error
}{
	{"2.2 TCP over IPv4", proxy2(0x21, 0x11, block4), "192.0.2.7:56316", nil},
	{"2.2 TCP over IPv6", proxy2(0x21, 0x21, block6), "[2001:db8::7]:56316", nil},
	{"2.2 IPv4 in IPv6", proxy2(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x07"+from6+
		"\x00\x07\x00\x08"), "192.0.2.7:7", nil},
	{"2.2 extensions are skipped", proxy2(0x21, 0x11, block4+tlv+tlv), "192.0.2.7:56316", nil},
	{"2.2 extensions to the bound", proxy2(0x21, 0x21, block6+strings.Repeat("x", ProxyBytesMax-16-36)),
		"[2001:db8::7]:56316", nil},
	{"2.2 LOCAL", proxy2(0x20, 0x00, ""), "", nil},
	{"2.2 LOCAL, its block is not looked at", proxy2(0x20, 0xff, block4), "", nil},
	{"2.2 UNSPEC", proxy2(0x21, 0x00, "abc"), "", nil},
	{"2.2 UNIX", proxy2(0x21, 0x31, strings.Repeat("/", 216)), "", nil},
	{"2.2 UDP", proxy2(0x21, 0x12, block4), "", nil},
	{"2.2 version 1 in the form of 2", proxy2(0x11, 0x11, block4), "", ErrProxyHeader},
	{"2.2 unassigned command", proxy2(0x22, 0x11, block4), "", ErrProxyHeader},
	{"2.2 unspecified family", proxy2(0x21, 0x41, block4), "", ErrProxyHeader},
	{"2.2 unspecified transport", proxy2(0x21, 0x13, block4), "", ErrProxyHeader},
	{"2.2 too short for its family", proxy2(0x21, 0x11, block4[1:]), "", ErrProxyHeader},
	{"2.2 too short for IPv6", proxy2(0x21, 0x21, block6[1:]), "", ErrProxyHeader},
	{"2.2 beyond the bound", proxy2(0x21, 0x21, block6+strings.Repeat("x", ProxyBytesMax-16-36+1)), "",
		ErrProxyHeaderTooLarge},
	{"2.1 TCP4", "PROXY TCP4 192.0.2.7 10.0.0.1 56316 443\r\n", "192.0.2.7:56316", nil},
	{"2.1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", "[2001:db8::7]:0", nil},
	{"2.1 UNKNOWN", "PROXY UNKNOWN\r\n", "", nil},
	{"2.1 UNKNOWN, the rest is not looked at", "PROXY UNKNOWN a b c\r\n", "", nil},
	{"2.1 the longest line", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "", nil},
	{"2.1 a longer line", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "", ErrProxyHeader},
	{"2.1 UNKNOWN and no space", "PROXY UNKNOWNS\r\n", "", ErrProxyHeader},
	{"2.1 another protocol", "PROXY UDP4 192.0.2.7 10.0.0.1 56316 443\r\n", "", ErrProxyHeader},
	{"2.1 another family", "PROXY TCP6 192.0.2.7 10.0.0.1 56316 443\r\n", "", ErrProxyHeader},
	{"2.1 another family of the destination", "PROXY TCP4 192.0.2.7 ::1 56316 443\r\n", "", ErrProxyHeader},
	{"2.1 leading zero", "PROXY TCP4 192.0.2.7 10.0.0.1 056316 443\r\n", "", ErrProxyHeader},
	{"2.1 sign", "PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n", "", ErrProxyHeader},
	{"2.1 port", "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", "", ErrProxyHeader},
	{"2.1 port of the destination", "PROXY TCP4 192.0.2.7 10.0.0.1 1 -443\r\n", "", ErrProxyHeader},
	{"2.1 zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "", ErrProxyHeader},
	{"2.1 two spaces", "PROXY TCP4  192.0.2.7 10.0.0.1 56316 443\r\n", "", ErrProxyHeader},
	{"2.1 a field too few", "PROXY TCP4 192.0.2.7 10.0.0.1 56316\r\n", "", ErrProxyHeader},
	{"2.1 LF alone", "PROXY TCP4 192.0.2.7 10.0.0.1 56316 443\n" + strings.Repeat(" ", 107), "", ErrProxyHeader},
	{"HTTP", "GET / HTTP/1.1\r\n", "", ErrNoProxyHeader},
	{"an empty line", "\r\n\r\nGET / HTTP/1.1\r\n", "", ErrNoProxyHeader},
	{"TLS", "\x16\x03\x01", "", ErrNoProxyHeader},
	{"lower case", "proxy TCP4", "", ErrNoProxyHeader},
}

// A header is read wherever it is cut, what follows it is not looked at, and what is illegal is known at the byte that
// makes it so, or at the header's end.
func TestParseProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range proxyHeaders {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var want netip.AddrPort
			if tt.want != "" {
				want = netip.MustParseAddrPort(tt.want)
			}
			for _, behind := range []string{"", "GET / HTTP/1.1\r\n", "\x00"} {
				client, size, err := ParseProxy([]byte(tt.header + behind))
				if wantSize := len(tt.header); tt.err != nil {
					if err != tt.err || size != 0 || client != want {
						t.Errorf("followed by %q: %v, %d, %v; want %v", behind, client, size, err, tt.err)
					}
				} else if client != want || size != wantSize || err != nil {
					t.Errorf("followed by %q: %v, %d, %v; want %v, %d", behind, client, size, err, want, wantSize)
				}
			}
			for n := range len(tt.header) {
				client, size, err := ParseProxy([]byte(tt.header[:n]))
				if size != 0 || client.IsValid() || err != nil && err != tt.err {
					t.Fatalf("cut at %d: %v, %d, %v", n, client, size, err)
				}
			}
		})
	}
}

// What is no header is known at its first byte that differs, however much is still to come.
func TestParseProxyDoesNotWaitForMore(t *testing.T) {
	t.Parallel()
	for _, begun := range []string{"G", "\r\n\r\nG", "PROXY\t", "\r\n\r\n\x00\r\nQUIX"} {
		if _, _, err := ParseProxy([]byte(begun)); err != ErrNoProxyHeader {
			t.Errorf("%q: %v", begun, err)
		}
	}
	long := []byte(proxy2(0x21, 0x11, block4))[:proxyHeadBytes]
	long[14] = 0xff
	if _, _, err := ParseProxy(long); err != ErrProxyHeaderTooLarge {
		t.Errorf("a length beyond the bound: %v", err)
	}
}

func TestParseProxyDoesNotAllocate(t *testing.T) {
	p := []byte(proxy2(0x21, 0x21, block6+tlv))
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseProxy(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a widely used library accepts is accepted, and means the same.
func FuzzParseProxy(f *testing.F) {
	for _, tt := range proxyHeaders {
		f.Add([]byte(tt.header))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		client, size, err := ParseProxy(p)
		if size < 0 || size > min(len(p), ProxyBytesMax) || err != nil && (size != 0 || client.IsValid()) {
			t.Fatalf("%v, %d, %v", client, size, err)
		}
		for n := range min(size, len(p)) { // not before its end
			if _, early, err := ParseProxy(p[:n]); early != 0 || err != nil {
				t.Fatalf("cut at %d: %d, %v", n, early, err)
			}
		}
		if size == 0 {
			return
		}
		theirs, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(p), 1<<17))
		if errors.Is(err, proxyproto.ErrUnsupportedAddressFamilyAndProtocol) || err != nil && !client.IsValid() {
			return // it wants more of what is of no use to us
		}
		if err != nil {
			t.Fatalf("%q is %v; the library says %v", p[:size], client, err)
		}
		if from, ok := theirs.SourceAddr.(*net.TCPAddr); ok && client.IsValid() {
			if got := from.AddrPort(); got.Addr().Unmap() != client.Addr() || got.Port() != client.Port() {
				t.Fatalf("%q is %v; the library says %v", p[:size], client, got)
			}
		}
	})
}
