package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// size is a number of bytes on the command line: 1048576, or 1024K, 1M, with K, M, G and T for powers of 1024.
type size int

// UnmarshalText reads such a number.
func (b *size) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(string(text)), "B"), "I")
	digits := strings.TrimRight(s, "KMGT")
	shift := 0
	if unit := s[len(digits):]; unit != "" {
		shift = 10 * (1 + strings.Index("KMGT", unit))
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || len(s)-len(digits) > 1 || bits.Len(uint(n))+shift > 62 {
		return fmt.Errorf("%q is no size, want a number such as 1048576, 256M or 1G", text)
	}
	*b = size(n << shift)
	return nil
}

// String writes the number with the largest unit that loses nothing.
func (b size) String() string {
	unit := 0
	for ; unit < len("KMGT") && b != 0 && b%1024 == 0; unit++ {
		b /= 1024
	}
	return strconv.Itoa(int(b)) + "KMGT"[max(unit-1, 0):unit]
}

// gather is how long messages are gathered on the command line.
type gather time.Duration

const gatherOff gather = -1 // each message is sent at once, alone

// UnmarshalText reads a time, or off.
func (g *gather) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*g = gatherOff
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q: want a time, such as 5ms, or off", text)
	}
	*g = gather(d)
	return nil
}

// String writes it as it is read.
func (g gather) String() string {
	if g == gatherOff {
		return "off"
	}
	return time.Duration(g).String()
}
