package codec

import "unicode/utf8"

// utf8Prefix returns the length of the longest part at the front of p that is whole characters in UTF-8. ok is false
// when what follows that part can begin no character, whatever comes behind p; else it is the first bytes of a
// character, at most three, or nothing.
func utf8Prefix(p []byte) (n int, ok bool) {
	end := len(p)
	for i := len(p) - 1; i >= 0 && i > len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				end = i
			}
			break
		}
	}
	return end, utf8.Valid(p[:end])
}
