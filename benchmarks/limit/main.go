// Command limit measures the kernel's wall: how many bytes a second one thread can hand to N sockets when it does
// nothing else. It sends prebuilt bytes with raw system calls, one send a socket in turn, over loopback to a thread on
// another CPU that takes them off without copying (recv with MSG_TRUNC, tcp(7)). No server can send more on that
// machine at that moment. It prints a line of JSON for each pair of connections and bytes a send.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/tuning"
)

type flags struct {
	Connections []int         `help:"Connections." default:"25,100,500,2000" placeholder:"N,…"`
	Bytes       []int         `help:"Bytes a send." default:"16,4096,65536,262144" placeholder:"N,…"`
	Window      time.Duration `help:"How long each pair is measured." default:"2s"`
	Rounds      int           `help:"Rounds a second: a send to each socket, and a rest. Default: one after the other." placeholder:"N"`
	CPU         int           `help:"CPU of the sender." name:"cpu" default:"0"`
	ReaderCPU   int           `help:"CPU of the reader." name:"reader-cpu" default:"1"`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Measures how many bytes a second one thread can hand to sockets."))
	if err := run(os.Stdout, f); err != nil {
		fmt.Fprintln(os.Stderr, "limit:", err)
		os.Exit(1)
	}
}

// sendBytesMax bounds --bytes.
const sendBytesMax = 16 << 20

func (f flags) check() error {
	for _, n := range f.Connections {
		if n < 1 {
			return fmt.Errorf("--connections %d: want at least 1", n)
		}
	}
	for _, n := range f.Bytes {
		if n < 1 || n > sendBytesMax {
			return fmt.Errorf("--bytes %d: want 1 to %d", n, sendBytesMax)
		}
	}
	if f.Rounds < 0 || f.Rounds > 1e6 {
		return fmt.Errorf("--rounds %d: want 1 to a million, or 0 for as many as possible", f.Rounds)
	}
	if f.Window <= 0 {
		return errors.New("--window: want more than nothing")
	}
	allowed, err := tuning.Allowed()
	if err != nil {
		return err
	}
	for _, n := range []int{f.CPU, f.ReaderCPU} {
		if _, _, err := (tuning.CPUs{n}).Cut(allowed); err != nil {
			return err
		}
	}
	return nil
}

func run(out io.Writer, f flags) error {
	if err := f.check(); err != nil {
		return err
	}
	descriptors, err := tuning.RaiseDescriptors()
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 3)) // the two threads never wait for a place, nor for a collection
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	control, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return err
	}
	lines := json.NewEncoder(out)
	for _, connections := range f.Connections {
		if 2*connections+16 > descriptors {
			return fmt.Errorf("--connections %d: want twice as many descriptors, and have %d", connections, descriptors)
		}
		for _, bytes := range f.Bytes {
			r, err := measure(connections, bytes, f)
			if err != nil {
				return err
			}
			r.CongestionControl = strings.TrimSpace(string(control))
			if err := lines.Encode(r); err != nil {
				return err
			}
		}
	}
	return nil
}
