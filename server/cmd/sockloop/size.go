package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
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
