package codec

import (
	"encoding/binary"
	"math/bits"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainLen is the number of bytes at the front of p that are the same inside a JSON string and outside it: ASCII, no
// control character, no quote, no backslash. It looks at eight bytes at a time; byte by byte a message of 2011 (17
// bytes) costs 16 ns instead of 4 (BenchmarkPlainLen).
func plainLen(p []byte) int {
	n := 0
	for ; len(p)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(p[n:])
		if stop := notPlain(w); stop != 0 {
			return n + bits.TrailingZeros64(stop)/8
		}
	}
	for ; n < len(p); n++ {
		if c := p[n]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

// notPlain sets the high bit of the first byte of w that is not plain, and maybe of later ones (a borrow runs upwards
// only, so the lowest bit set is exact).
func notPlain(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return (w | (w - ones*0x20) | (quote - ones) | (slash - ones)) & highs
}
