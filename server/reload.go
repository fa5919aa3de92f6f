package server

import (
	"context"
	"fmt"
	"reflect"
)

// reloadable are the fields that can be changed while the server runs: what the loop does when one has been.
var reloadable = map[string]func(*loop){
	"ConnectionsMax":     nothing,
	"SessionsMax":        nothing,
	"MessageBytesMax":    nothing,
	"RawMessageBytesMax": nothing,
	"BodyBytesMax":       nothing,
	"PublishRate":        nothing,
	"PublishBytes":       nothing,
	"OverloadAfter":      nothing,
	"TurnTarget":         nothing,
	"MemoryBytesMax":     (*loop).memoryChanged,
	"OutboxBytesMax":     (*loop).outboxChanged,
	"Origins":            (*loop).originsChanged,
}

// nothing is done for what is read from the configuration where it is needed.
func nothing(*loop) {}

// memoryChanged makes the budget and the logs' bounds those of the configuration. If it is less than what is kept
// the next flush ends the largest holders; there is one at every tick.
func (l *loop) memoryChanged() {
	l.memory.budget.BytesMax = l.cfg.MemoryBytesMax
	l.outflows.SkipBytesMax = l.cfg.MemoryBytesMax / skipShare
	for _, t := range l.topics {
		t.log.SetPace(l.pace(), l.logBytesLimit())
	}
}

// outboxChanged holds for what is sent from then on; nobody is ended for what waits already.
func (l *loop) outboxChanged() { l.outflows.OutboxBytesMax = l.cfg.OutboxBytesMax }

func (l *loop) originsChanged() {
	for _, r := range l.routes {
		if !r.ownOrigins {
			r.options.Origins = l.cfg.Origins
		}
	}
}

// Reload changes the configuration of a running server. change is handed a copy of what is in force, and may set any
// field; a zero one stands for its default, as in New. Slices must be replaced and not written to. A configuration with
// faults changes nothing, and the error is that of New. What can be changed while the server runs is in force when
// Reload returns (changed); what else differs is left as it is (needsRestart); both are names of fields. Logger and
// Broker are left as they are, and not named.
//
// These can be changed: ConnectionsMax and SessionsMax (nobody is ended by a smaller one, newcomers are refused until
// it holds); Origins (for requests from then on, except of services that Handle has given their own); MessageBytesMax,
// RawMessageBytesMax, PublishRate and PublishBytes (for sessions that are opened from then on; what is posted over HTTP
// is bounded by MessageBytesMax at once), BodyBytesMax (for connections that are accepted from then on); MemoryBytesMax
// (the largest holders are ended if it is less than what is kept); OutboxBytesMax (for what is sent from then on; it
// does not follow the others by itself, unless it is set to zero); OverloadAfter and TurnTarget.
//
// The error is ErrNotRunning or ErrMailboxFull as from Post, and ErrNotRunning when the server ends meanwhile. It must
// not be called on the loop.
func (s *Server) Reload(change func(*Config)) (changed, needsRestart []string, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	next := s.Config()
	change(&next)
	if next, err = next.WithDefaults(); err != nil {
		return nil, nil, err
	}
	inForce := s.Config()
	for _, name := range differing(&inForce, &next) {
		if reloadable[name] == nil {
			needsRestart = append(needsRestart, name)
			continue
		}
		changed = append(changed, name)
		field(&inForce, name).Set(field(&next, name))
	}
	if len(changed) == 0 {
		return nil, needsRestart, nil
	}
	return changed, needsRestart, s.apply(inForce, changed)
}

// apply hands a configuration to the loop, and waits until it is in force.
func (s *Server) apply(c Config, changed []string) error {
	_, err := ask(context.Background(), s, func(l *loop) struct{} {
		l.cfg = c
		for _, name := range changed {
			reloadable[name](l)
		}
		s.inForce.Store(&c)
		return struct{}{}
	})
	return err
}

// differing are the names of the fields in which two configurations differ, but for those that are no values: the
// logger and the broker.
func differing(a, b *Config) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Anonymous || f.Type.Kind() == reflect.Interface || f.Type.Kind() == reflect.Pointer {
			continue
		}
		// As text nil and empty lists are the same.
		if fmt.Sprint(field(a, f.Name)) != fmt.Sprint(field(b, f.Name)) {
			names = append(names, f.Name)
		}
	}
	return names
}

func field(c *Config, name string) reflect.Value { return reflect.ValueOf(c).Elem().FieldByName(name) }
