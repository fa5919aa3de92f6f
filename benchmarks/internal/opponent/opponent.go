// Package opponent is what the programs have in common that sockloop is compared with and that are ours: flags, CPUs,
// and an HTTP server that a signal ends.
package opponent

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/tuning"
)

// Flags are for every opponent to embed.
type Flags struct {
	CPU     tuning.CPUs      `help:"CPUs to run on." name:"cpu" placeholder:"SET"`
	Version kong.VersionFlag `help:"Print the version."`
}

// Main parses the flags and runs the program. An error ends it with a line and exit code 1.
func Main(name, description string, flags any, run func() error) {
	kong.Parse(flags, kong.Name(name), kong.Description(description), kong.Vars{"version": version.Own()})
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Serve serves HTTP at an address, on the CPUs, until SIGTERM or SIGINT, which is no error. Connections that were taken
// over from HTTP are the handler's to end.
func (f *Flags) Serve(addr string, h http.Handler) error {
	if _, err := tuning.RaiseDescriptors(); err != nil {
		return err
	}
	// As sockloop has it: 0.89 of the CPU at low rates for goroutine, nothing for goroutine-batched.
	if err := tuning.Background(); err != nil {
		log.Printf("scheduling: %v", err)
	}
	if _, _, err := tuning.Pin(f.CPU); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	log.Printf("listening on %s", ln.Addr())
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
