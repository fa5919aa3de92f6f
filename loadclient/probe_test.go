package loadclient

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/sockloop/sockloop/internal/version"
)

// A process's memory is told apart, the kernel's of its sockets is beside it, and it tells its version.
func TestProbe(t *testing.T) {
	t.Parallel()
	p, err := NewServerProbe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if v := p.Version(); v != version.Own() {
		t.Errorf("version %s, want %s", v, version.Own())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing is left to do
	// What each CPU has reserved, a mebibyte, is not in the kernel's sum yet (net.core.mem_pcpu_rsv).
	written, reserved := 0, runtime.NumCPU()<<20
	for written < 2*reserved {
		unread, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer unread.Close() //nolint:errcheck // nothing is left to do
		_ = unread.SetWriteDeadline(time.Now().Add(time.Second))
		n, _ := unread.Write(make([]byte, 512<<10)) // fits into the two sockets' buffers
		written += n
	}
	before := p.sample()
	for until := time.Now().Add(50 * time.Millisecond); time.Now().Before(until); { // uses CPU
	}
	u := p.since(before)
	if u == nil || u.CPU <= 0 || u.RSS < 1<<20 || u.Anon < 1<<20 || u.File < 1<<20 {
		t.Fatalf("%+v", u)
	}
	if sum := u.Anon + u.File; sum > u.RSS || sum < u.RSS*9/10 {
		t.Errorf("%d anonymous and %d file-backed of %d", u.Anon, u.File, u.RSS)
	}
	if u.KernelSockets < int64(written-reserved) {
		t.Errorf("%d bytes in sockets, of which %d are unread", u.KernelSockets, written)
	}
	var none *ServerProbe
	if none.Version() != "" || none.since(none.sample()) != nil {
		t.Error("no probe has read something")
	}
	if _, err := NewServerProbe(1 << 30); err == nil {
		t.Error("a process that is not there can be probed")
	}
}
