package codec

// appendGrowing appends the borrowed piece to buf. When buf must grow it doubles, but not beyond bytesMax, the most
// that it will ever hold: so memory follows what has come, and not what a peer says will come.
func appendGrowing(buf, piece []byte, bytesMax int) []byte {
	if need := len(buf) + len(piece); need > cap(buf) {
		buf = grown(buf, max(need, min(2*cap(buf), bytesMax)))
	}
	return append(buf, piece...)
}

// grown is a copy of buf with room for exactly so many bytes.
func grown(buf []byte, size int) []byte {
	p := make([]byte, len(buf), size)
	copy(p, buf)
	return p
}
