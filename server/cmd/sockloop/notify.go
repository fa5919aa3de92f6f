package main

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/sockloop/sockloop/server"
)

// notify tells the service manager, if one asks for it (systemd's sd_notify), when the server listens and when it
// begins to stop, and, for its watchdog, that the loop answers. The function that it returns ends that.
func notify(srv *server.Server, log *slog.Logger) (end func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-srv.Ready():
			tell(log, daemon.SdNotifyReady)
		case <-over:
			return
		}
		tellOn(srv, log, over)
	}()
	return func() { close(over); <-ended }
}

// tellOn goes on with what there is to tell until the server is over.
func tellOn(srv *server.Server, log *slog.Logger, over <-chan struct{}) {
	watchdog, stop := beats(log)
	defer stop()
	answered, asked := make(chan struct{}, 1), false
	draining := srv.Draining()
	for {
		select {
		case <-watchdog:
			if !asked {
				asked = srv.Post(func() { answered <- struct{}{} }) == nil
			}
		case <-answered:
			asked = false
			tell(log, daemon.SdNotifyWatchdog)
		case <-draining:
			tell(log, daemon.SdNotifyStopping)
			draining = nil
		case <-over:
			select {
			case <-draining: // both have happened
				tell(log, daemon.SdNotifyStopping)
			default:
			}
			return
		}
	}
}

// beats ticks twice in the time after which the service manager takes the program for hung; never if it does not look.
func beats(log *slog.Logger) (<-chan time.Time, func()) {
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not told anything", "error", err)
	}
	if timeout == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(timeout / 2)
	return t.C, t.Stop
}

func tell(log *slog.Logger, what string) {
	if _, err := daemon.SdNotify(false, what); err != nil {
		log.Warn("the service manager could not be told", "what", what, "error", err)
	}
}
