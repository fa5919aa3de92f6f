package codec

// appendGrowing appends the borrowed piece to buf. When buf must grow it doubles, but not beyond bytesMax, the most
// that it will ever hold: so memory follows what has come, and not what a peer says will come.
func appendGrowing(buf, piece []byte, bytesMax int) []byte {
	need := len(buf) + len(piece)
	if need > cap(buf) {
		grown := make([]byte, len(buf), max(need, min(2*cap(buf), bytesMax)))
		copy(grown, buf)
		buf = grown
	}
	return append(buf, piece...)
}
