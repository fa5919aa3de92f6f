package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

const (
	adminAddrDefault = "127.0.0.1:9090"
	adminTokenEnv    = "SOCKLOOP_ADMIN_TOKEN"
)

// adminPlane are the flags of the admin plane.
type adminPlane struct {
	AdminAddr      string `help:"Address of metrics, probes and the API for operators; off switches them off. Default: 127.0.0.1:9090, or none if that is taken. Any but a loopback address needs a token." placeholder:"ADDR"`
	AdminTokenFile string `help:"File with the token that the admin plane wants as Authorization: Bearer; or the token itself in the variable SOCKLOOP_ADMIN_TOKEN. It has 16 characters or more." type:"path" placeholder:"FILE"`
	Pprof          bool   `help:"Serve Go's profiles on the admin plane, under /debug/pprof/."`
}

// start serves the admin plane of a server until stop is called, which is when the server has ended: so that probes see
// it drain. at is its address, or off. The error is for the user.
func (a *adminPlane) start(srv *server.Server, log *slog.Logger, events *admin.Events) (
	at string, stop func(), err error,
) {
	if a.AdminAddr == "off" {
		return "off", func() {}, nil
	}
	token, err := a.token()
	if err != nil {
		return "", nil, err
	}
	handler, err := admin.New(srv, admin.Options{Token: token, Pprof: a.Pprof, Logger: log, Events: events})
	if err != nil {
		return "", nil, errors.New(strings.TrimPrefix(err.Error(), "admin: "))
	}
	ln, err := a.listen(token != "")
	if errors.Is(err, syscall.EADDRINUSE) && a.AdminAddr == "" {
		log.Warn("no admin plane: its default address is taken; choose another with --admin-addr, or off",
			"addr", adminAddrDefault)
		return "off", func() {}, nil
	}
	if err != nil {
		return "", nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := admin.Serve(ctx, ln, handler, log); err != nil {
			log.Error("the admin plane ended", "error", err)
		}
	}()
	return ln.Addr().String(), func() { end(); <-ended }, nil
}

// token is the token that was configured, empty if none was.
func (a *adminPlane) token() (string, error) {
	if a.AdminTokenFile == "" {
		return os.Getenv(adminTokenEnv), nil
	}
	p, err := os.ReadFile(a.AdminTokenFile)
	if err != nil {
		return "", fmt.Errorf("--admin-token-file: %w", err)
	}
	token := strings.TrimSpace(string(p))
	if token == "" {
		return "", fmt.Errorf("--admin-token-file: %s is empty; fill it with: openssl rand -base64 24",
			a.AdminTokenFile)
	}
	return token, nil
}

// check looks at what can be told without listening.
func (a *adminPlane) check() error {
	if a.AdminAddr == "off" {
		return nil
	}
	token, err := a.token()
	if err == nil {
		err = a.checkAddr(token != "")
	}
	return err
}

// checkAddr wants an address; without a token only one that no other machine can reach.
func (a *adminPlane) checkAddr(token bool) error {
	addr := cmp.Or(a.AdminAddr, adminAddrDefault)
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("--admin-addr %q: want host:port, as in 127.0.0.1:9090, or off", addr)
	}
	if ip, err := netip.ParseAddr(host); !token && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("--admin-addr %s is no loopback address, so a token is needed: --admin-token-file, "+
			"or the variable %s", addr, adminTokenEnv)
	}
	return nil
}

// listen opens the address.
func (a *adminPlane) listen(token bool) (net.Listener, error) {
	if err := a.checkAddr(token); err != nil {
		return nil, err
	}
	addr := cmp.Or(a.AdminAddr, adminAddrDefault)
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && a.AdminAddr != "" {
		return nil, fmt.Errorf("port of --admin-addr %s is in use: choose another, or off", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("--admin-addr: %w", err)
	}
	return ln, nil
}
