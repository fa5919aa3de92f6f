package loadclient

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// smallWire frames messages as a server sends them that compresses frames of bytesMin bytes.
func smallWire(t *testing.T, p Protocol, level, bytesMin int, frames ...[]string) []byte {
	t.Helper()
	d, err := codec.NewDeflater(level, bytesMin)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, texts := range frames {
		var b codec.Batch
		for _, s := range texts {
			m := codec.Text([]byte(s))
			b.Append(&m)
		}
		if p == SockJS {
			out = d.AppendArray(out, b)
		} else {
			out = d.AppendTexts(out, b)
		}
	}
	return out
}

func inFrames(texts []string, each int) (frames [][]string) {
	for len(texts) > 0 {
		n := min(each, len(texts))
		frames, texts = append(frames, texts[:n]), texts[n:]
	}
	return frames
}

// Compressed frames are inflated once for all who receive the same bytes; who receives others inflates them by itself.
// Either way every message is counted, cut wherever it is.
func TestCompressedFrames(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{SockJS, WebSocket} {
		for _, bytesMin := range []int{1, 60, 10_000} {
			t.Run(fmt.Sprintf("%s from %d bytes", p, bytesMin), func(t *testing.T) {
				t.Parallel()
				w := newTestWorkerOf(t, Target{Protocol: p, Compress: true})
				texts := someMessages(300)
				frames := inFrames(texts, 7)
				small := smallWire(t, p, 1, bytesMin, frames...)
				feed(t, w.conns[0], small, nil)
				feed(t, w.conns[1], small, rand.New(rand.NewPCG(1, 1)))
				feed(t, w.conns[2], small, rand.New(rand.NewPCG(2, 1)))
				other := smallWire(t, p, codec.DeflateLevelMax, bytesMin, inFrames(texts, 11)...) // another server
				feed(t, w.conns[3], other, rand.New(rand.NewPCG(3, 1)))
				r := w.rooms[0]
				for i, c := range w.conns {
					differs := i == 3 && !bytes.Equal(small, other) // a message alone is too short to be compressed
					if alone := c.alone != nil; alone != differs {
						t.Errorf("connection %d is counted by itself: %v", i, alone)
					}
				}
				if r.framing.err != nil || !r.tally.whole(sentAs(texts)) || w.delivered() != 4*len(texts) {
					t.Errorf("%v, %d messages of %d, delivered %d", r.framing.err, r.tally.messages, len(texts),
						w.delivered())
				}
				if c := w.conns[3]; c.alone != nil && !c.alone.tally.whole(sentAs(texts)) {
					t.Errorf("by itself it has counted %d messages", c.alone.tally.messages)
				}
			})
		}
	}
}

// What is skimmed is counted by its frames.
func TestCompressedFramesThatAreSkimmed(t *testing.T) {
	t.Parallel()
	w := newTestWorkerOf(t, Target{Protocol: SockJS, Compress: true})
	texts := someMessages(300)
	small := smallWire(t, SockJS, 1, 60, inFrames(texts, 50)...)
	feed(t, w.conns[0], small, nil)
	c := w.conns[1]
	c.skims = true
	for skimmed := 0; len(small) > 0; {
		n := min(len(small), 20)
		if s := c.link.sockets()[0].skim; s > 0 {
			n = min(len(small), s)
			c.link.skimmed(n)
			if c.link.sockets()[0].skim -= n; c.link.sockets()[0].skim > 0 {
				t.Fatal("it would wait for more")
			}
			skimmed += n
		} else if err := c.feedRaw(small[:n]); err != nil {
			t.Fatal(err)
		}
		if small = small[n:]; len(small) == 0 && skimmed == 0 {
			t.Error("nothing was skimmed")
		}
	}
	if r := w.rooms[0]; c.pos != r.end || r.countAt(c.pos) != len(texts) {
		t.Errorf("at %d of %d, %d messages", c.pos, r.end, r.countAt(c.pos))
	}
}

// What cannot be inflated, or is none of the protocol's frames, is the server's fault.
func TestCompressedFramesThatAreBroken(t *testing.T) {
	t.Parallel()
	d, err := codec.NewDeflater(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, stream := range map[string][]byte{
		"no deflate":         {0xc1, 2, 0xff, 0xff},
		"no frame of SockJS": d.AppendFrame(nil, ws.OpText, []byte(strings.Repeat("x", 100))),
		"half a message":     d.AppendFrame(nil, ws.OpText, []byte("a["+strings.Repeat(`"x",`, 50)+`"x]`)),
	} {
		w := newTestWorkerOf(t, Target{Protocol: SockJS, Compress: true})
		if err := w.conns[0].feedRaw(stream); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	w := newTestWorkerOf(t, Target{Protocol: SockJS})
	frame := d.AppendFrame(nil, ws.OpText, []byte("a["+strings.Repeat(`"x",`, 50)+`"x"]`))
	if err := w.conns[0].feedRaw(frame); err == nil {
		t.Error("a compressed frame is taken though nothing was negotiated")
	}
}
