// Command overload shows what a server does under several times the load that it can carry, and how soon it is itself
// again. It starts sockloop on CPU 0, finds from CPU 1 what it can carry, and then asks for several times that. It
// watches meanwhile, by connections of its own: the round trip of an echo, whether /info is answered on a new
// connection, whether a new session is admitted or refused, whether /readyz sends newcomers here, and the server's
// resident memory. It writes a line of CSV for each look, and a chart.
package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sockloop/sockloop/benchmarks/internal/process"
	"github.com/sockloop/sockloop/tuning"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "overload:", err)
		os.Exit(1)
	}
}

// look is what one look at the server saw.
type look struct {
	at    time.Duration
	echo  time.Duration // round trip of an echo on an open connection; negative if it failed
	info  time.Duration // of GET /info on a new connection, likewise
	admit int           // status of a new session over HTTP, 0 if there was no answer
	ready int           // status of /readyz, likewise
	rss   int           // bytes
}

const (
	lookEvery = 250 * time.Millisecond
	patience  = 5 * time.Second // after which a look has failed
)

func run() error {
	bin := flag.String("bin", "bin", "folder of sockloop")
	times := flag.Float64("times", 3, "the overload, as a multiple of what the server carried just before")
	connections := flag.Int("connections", 2000, "connections of the load")
	publishers := flag.Int("publishers", 50, "those of them that publish")
	calm := flag.Duration("calm", 10*time.Second, "time before and after the load")
	window := flag.Duration("window", 30*time.Second, "length of the load")
	out := flag.String("out", "benchmarks/results/overload", "folder for overload.csv and overload.svg")
	flag.Parse()
	addr, err := process.FreeAddr()
	if err != nil {
		return err
	}
	admin, err := process.FreeAddr()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(*bin, "sockloop"), "--cpu", "0", "--addr", addr, "--admin-addr", admin)
	cmd.Stderr = os.Stderr
	server, err := process.Start(context.Background(), cmd, tuning.CPUs{0}, addr)
	if err != nil {
		return err
	}
	defer server.Stop()
	if _, _, err := tuning.Pin(tuning.CPUs{1}); err != nil {
		return err
	}
	l := load{addr: addr, connections: *connections, publishers: *publishers, rate: 1e10, window: capacityWindow}
	capacity, err := l.run()
	if err != nil {
		return err
	}
	carried := float64(capacity.received) / float64(deliveredBytes) / capacityWindow.Seconds()
	fmt.Printf("capacity: %.3g deliveries/s to %d connections, %d of them lost\n", carried, *connections, capacity.lost)
	l.rate, l.window = *times*carried, *window

	w := watcher{addr: addr, admin: admin, server: server, start: time.Now()}
	time.Sleep(*calm)
	w.start = time.Now()
	var from, until time.Duration
	var outcome outcome
	loadEnds := make(chan struct{})
	time.AfterFunc(*calm, func() {
		defer close(loadEnds)
		from = time.Since(w.start)
		outcome, err = l.run()
		until = time.Since(w.start)
	})
	looks := w.watch(loadEnds, *calm)
	if err != nil {
		return err
	}
	fmt.Printf("asked for %.3g deliveries/s, sent %.3g, delivered %.3g, connections lost %d\n",
		l.rate, l.rate*float64(outcome.sent)/float64(outcome.due),
		float64(outcome.received)/float64(deliveredBytes)/window.Seconds(), outcome.lost)
	if err := os.MkdirAll(*out, 0o750); err != nil {
		return err
	}
	if err := writeCSV(filepath.Join(*out, "overload.csv"), looks); err != nil {
		return err
	}
	summarize(os.Stdout, looks, from, until)
	return os.WriteFile(filepath.Join(*out, "overload.svg"), []byte(draw(looks, from, until)), 0o600)
}

// capacityWindow is how long the server is given more than it can carry, to see what that is.
const capacityWindow = 5 * time.Second

// watcher looks at a server.
type watcher struct {
	addr   string
	admin  string // address of the admin plane
	server *process.Process
	start  time.Time
	echo   *websocket.Conn
	n      int
}

// watch looks until the load has ended and a calm time has passed.
func (w *watcher) watch(loadEnds <-chan struct{}, calm time.Duration) []look {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var looks []look
	var over <-chan time.Time
	for {
		looks = append(looks, w.look())
		select {
		case <-loadEnds:
			loadEnds, over = nil, time.After(calm)
		case <-over:
			return looks
		case <-ticks.C:
		}
	}
}

// look asks everything at once, since each answer may take long.
func (w *watcher) look() look {
	l := look{at: time.Since(w.start), rss: w.server.RSS()}
	w.n++
	var all sync.WaitGroup
	all.Go(func() { l.echo = timed(w.roundTrip) })
	all.Go(func() {
		l.info = timed(func() error {
			status, err := ask(w.addr, "GET", "/echo/info")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("status %d", status)
			}
			return err
		})
	})
	all.Go(func() { l.admit, _ = ask(w.addr, "POST", "/echo/0/newcomer"+strconv.Itoa(w.n)+"/xhr") })
	all.Go(func() { l.ready, _ = ask(w.admin, "GET", "/readyz") })
	all.Wait()
	return l
}

// timed is how long f took, negative if it failed.
func timed(f func() error) time.Duration {
	from := time.Now()
	if f() != nil {
		return -1
	}
	return time.Since(from)
}

func (w *watcher) roundTrip() (err error) {
	if w.echo == nil {
		d := websocket.Dialer{HandshakeTimeout: patience}
		if w.echo, _, err = d.Dial("ws://"+w.addr+"/echo/websocket", nil); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(patience)
	_ = w.echo.SetReadDeadline(deadline)
	_ = w.echo.SetWriteDeadline(deadline)
	if err = w.echo.WriteMessage(websocket.TextMessage, []byte("x")); err == nil {
		_, _, err = w.echo.ReadMessage()
	}
	if err != nil {
		_ = w.echo.Close()
		w.echo = nil
	}
	return err
}

// ask is the status of a request on a connection of its own.
func ask(addr, method, path string) (int, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close() //nolint:errcheck // it has been read to the end
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path, addr)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func writeCSV(path string, looks []look) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	_ = w.Write([]string{"at_s", "echo_ms", "info_ms", "new_session_status", "readyz_status", "rss_mb"})
	for _, l := range looks {
		_ = w.Write([]string{
			fmt.Sprintf("%.2f", l.at.Seconds()), milliseconds(l.echo), milliseconds(l.info),
			strconv.Itoa(l.admit), strconv.Itoa(l.ready), fmt.Sprintf("%.1f", float64(l.rss)/1e6),
		})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	return f.Close()
}

// milliseconds writes a time, and nothing for what failed.
func milliseconds(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000)
}

// summarize prints what the looks come to: before, under and after the load.
func summarize(to io.Writer, looks []look, from, until time.Duration) {
	for _, phase := range []struct {
		name     string
		from, to time.Duration
	}{{"before", 0, from}, {"under load", from, until}, {"5 s after and later", until + 5*time.Second, 1 << 62}} {
		var n, echoes, infos, admitted, refused, ready, memory int
		var mean time.Duration
		for _, l := range looks {
			if l.at < phase.from || l.at >= phase.to {
				continue
			}
			n++
			if l.echo >= 0 {
				echoes++
				mean += l.echo
			}
			if l.info >= 0 {
				infos++
			}
			switch l.admit {
			case http.StatusOK:
				admitted++
			case http.StatusServiceUnavailable:
				refused++
			}
			if l.ready == http.StatusOK {
				ready++
			}
			memory = max(memory, l.rss)
		}
		fmt.Fprintf(to, "%-20s %3d looks: echo answered %d, mean %.2f ms; /info answered %d; sessions admitted %d, "+
			"refused %d; /readyz 200 %d; RSS at most %.1f MB\n",
			phase.name, n, echoes, float64(mean.Microseconds())/1000/float64(max(echoes, 1)), infos, admitted, refused,
			ready, float64(memory)/1e6)
	}
}
