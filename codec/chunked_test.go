package codec

import (
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// readChunked reads a body that comes in the given pieces; rest is what follows it.
func readChunked(pieces ...[]byte) (body, rest string, done bool, err error) {
	var r ChunkedReader
	var all bytes.Buffer
	for i, data := range pieces {
		data = bytes.Clone(data)
		for len(data) > 0 && !done {
			var piece []byte
			if piece, data, done, err = r.Next(data); err != nil {
				return all.String(), "", done, err
			}
			all.Write(piece)
			if !done && len(piece) == 0 {
				break
			}
		}
		if done {
			return all.String(), string(data) + string(bytes.Join(pieces[i+1:], nil)), true, nil
		}
	}
	return all.String(), "", false, nil
}

func TestChunkedBodies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, body, rest string }{
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"several", "1\r\na\r\n0A\r\n0123456789\r\nf\r\nabcdefghijklmno\r\n0\r\n\r\n",
			"a0123456789abcdefghijklmno", ""},
		{"empty", "0\r\n\r\n", "", ""},
		{"what follows stays", "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1", "a", "GET / HTTP/1.1"},
		{"extensions", "1;name=value;x\r\na\r\n0;y\r\n\r\n", "a", ""},
		{"trailers", "1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\nrest", "a", "rest"},
		{"names of all kinds, values of any", "0\r\n!#$%&'*+-.^_`|~09azAZ:\xff:\r\n\r\n", "", ""},
		{"a size of 15 digits", "000000000000001\r\na\r\n0\r\n\r\n", "a", ""},
		{"the longest size line", "1;" + strings.Repeat("x", 252) + "\r\na\r\n0\r\n\r\n", "a", ""},
		{"line ends are data too", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := []byte(tt.in)
			for cut := range in {
				body, rest, done, err := readChunked(in[:cut], in[cut:])
				if err != nil || !done || body != tt.body || rest != tt.rest {
					t.Fatalf("cut at %d: %q %q %v %v", cut, body, rest, done, err)
				}
			}
			var bytewise [][]byte
			for i := range in {
				bytewise = append(bytewise, in[i:i+1])
			}
			if body, rest, done, err := readChunked(bytewise...); err != nil || !done || body != tt.body ||
				rest != tt.rest {
				t.Fatalf("byte by byte: %q %q %v %v", body, rest, done, err)
			}
		})
	}
}

// Whatever another reader might take differently is refused.
func TestBrokenChunks(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 \r\na\r\n",
		"1\na\n0\n\n", "1\r\nab\r\n", "1\r\na\n0\r\n\r\n", "1\r\na0\r\n\r\n",
		"1000000000000000\r\n", "1;\x01\r\na\r\n", "1\r\na\r\n0\r\nX: \x00\r\n\r\n", strings.Repeat("0", 300),
		"1;" + strings.Repeat("x", 300),
		"0\r\nno colon\r\n\r\n", "0\r\n: no name\r\n\r\n",
		"0\r\nA : b\r\n\r\n", "0\r\nA: b\r\n folded: c\r\n\r\n", "0\r\nA\": b\r\n\r\n",
		"1;" + strings.Repeat("x", 253) + "\r\na\r\n0\r\n\r\n",
		"0\r\n\xe9: b\r\n\r\n", "0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 200)+"\r\n", 30),
	} {
		if body, _, done, err := readChunked([]byte(in)); !errors.Is(err, ErrBrokenChunk) || done {
			t.Errorf("%.60q: %q %v %v", in, body, done, err)
		}
	}
}

// What this reader takes, net/http's takes the same.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\nrest"), uint16(7))
	f.Add([]byte("1;x\r\na\r\n0\r\nT: v\r\n\r\n"), uint16(2))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		at := int(cut) % (len(in) + 1)
		body, rest, done, err := readChunked(in[:at], in[at:])
		if err != nil || !done {
			return
		}
		want, wantErr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in[:len(in)-len(rest)])))
		if wantErr != nil || string(want) != body {
			t.Fatalf("%q: read %q, net/http %q %v", in, body, want, wantErr)
		}
	})
}

func TestChunkHeader(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]string{1: "1\r\n", 15: "f\r\n", 16: "10\r\n", 2049: "801\r\n", 65536: "10000\r\n"} {
		if got := string(AppendChunkHeader(nil, size)); got != want {
			t.Errorf("%d: %q, want %q", size, got, want)
		}
	}
}

func TestTrailersAreBounded(t *testing.T) {
	t.Parallel()
	line := func(n int) string { return "A:" + strings.Repeat("b", n-2) + "\r\n" }
	const body = "0\r\n"
	most := body + strings.Repeat(line(128), trailerBytesMax/128)
	if _, _, done, err := readChunked([]byte(most + "\r\n")); err != nil || !done {
		t.Errorf("%d bytes: %v, done %v", trailerBytesMax, err, done)
	}
	if _, _, done, err := readChunked([]byte(most + line(3))); !errors.Is(err, ErrBrokenChunk) || done {
		t.Errorf("more: %v, done %v", err, done)
	}
}

// A buffer that is large enough stays.
func TestAppendGrowing(t *testing.T) {
	t.Parallel()
	buf := append(make([]byte, 0, 10), "12345"...)
	got := appendGrowing(buf, []byte("67890"), 100)
	if string(got) != "1234567890" || cap(got) != 10 || &got[0] != &buf[0] {
		t.Errorf("%q in %d bytes", got, cap(got))
	}
	if got := appendGrowing(buf, []byte("678901"), 15); string(got) != "12345678901" || cap(got) != 15 {
		t.Errorf("%q in %d bytes", got, cap(got))
	}
}
