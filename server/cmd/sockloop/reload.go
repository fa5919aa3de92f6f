package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/sockloop/sockloop/server"
)

// reloader applies what can be changed while the server runs, when SIGHUP comes.
type reloader struct {
	args    []string
	log     *slog.Logger
	level   *slog.LevelVar
	inForce map[string]setting
}

// newReloader begins with the configuration that the server is made with.
func newReloader(i *invocation, s *serve, c server.Config, log *slog.Logger, level *slog.LevelVar) *reloader {
	return &reloader{args: i.args, log: log, level: level, inForce: i.filledSettings(s, c)}
}

// filledSettings are the values of all flags, with what they leave open filled in.
func (i *invocation) filledSettings(s *serve, c server.Config) map[string]setting {
	asGiven := *s
	s.fillIn(c)
	all := map[string]setting{}
	for _, one := range i.settings() {
		all[one.flag.Name] = one
	}
	*s = asGiven
	return all
}

// run reloads at every signal, until the server ends.
func (r *reloader) run(ctx context.Context, srv *server.Server, hangUps <-chan os.Signal) {
	for {
		select {
		case <-hangUps:
			if err := r.reload(srv); err != nil {
				r.log.Error("not reloaded", "faults", strings.Split(err.Error(), "\n"))
			}
		case <-ctx.Done():
			return
		}
	}
}

// reload reads the file and the environment again, and applies what can be applied. With an error nothing is changed.
func (r *reloader) reload(srv *server.Server) error {
	next, err := read(r.args, &streams{io.Discard, io.Discard})
	if err != nil {
		return err
	}
	c, err := next.check(&next.commands.Serve, r.log)
	if err != nil {
		return err
	}
	if _, _, err := srv.Reload(func(inForce *server.Config) { *inForce = c }); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "server: "))
	}
	r.level.Set(next.commands.Serve.LogLevel)
	r.report(next.filledSettings(&next.commands.Serve, c), next.serveFlagNames())
	return nil
}

func (i *invocation) serveFlagNames() []string { return flagNames(i.serveNode()) }

// report logs what has been changed, and what needs a restart.
func (r *reloader) report(next map[string]setting, names []string) {
	changed, needsRestart := []string{}, []string{}
	for _, name := range names {
		was, is := r.inForce[name], next[name]
		if fmt.Sprint(was.value) == fmt.Sprint(is.value) {
			continue
		}
		line := fmt.Sprintf("%s: %v to %v", name, was.shown(), is.shown())
		if !is.flag.Tag.Has("reload") {
			needsRestart = append(needsRestart, line)
			continue
		}
		changed = append(changed, line)
		r.inForce[name] = is
	}
	r.log.Info("reloaded", "changed", changed)
	if len(needsRestart) > 0 {
		r.log.Warn("changed, but needs a restart", "flags", needsRestart)
	}
}
