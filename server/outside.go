package server

import (
	"bytes"
	"context"
	"errors"
	"unicode/utf8"
)

// Errors of Server.Publish and Server.EndSession.
var (
	ErrNoTopic         = errors.New("server: there is no topic of that name")
	ErrTopicFull       = errors.New("server: the topic's log is full: its readers must catch up first")
	ErrMessageTooLarge = errors.New("server: a message is larger than MessageBytesMax")
	ErrNotText         = errors.New("server: a message is not UTF-8")
	ErrNoSession       = errors.New("server: there is no session of that id")
)

// ask runs f on the loop and returns what it returns: at once if the caller is there. The error is ErrNotRunning,
// ErrMailboxFull or ctx's; f may run all the same in the last case.
func ask[T any](ctx context.Context, s *Server, f func(l *loop) T) (T, error) {
	if s.loop.isHere() {
		return f(s.loop), nil
	}
	var none T
	answer := make(chan T, 1)
	if err := s.Post(func() { answer <- f(s.loop) }); err != nil {
		return none, err
	}
	select {
	case v := <-answer:
		return v, nil
	case <-s.stopped:
		return none, ErrNotRunning
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Publish sends messages, which are text and borrowed, to every subscriber of the topics with that name, all or none of
// them, and reports how many subscribers that were. It may be called from anywhere.
func (s *Server) Publish(ctx context.Context, topic string, messages [][]byte) (subscribers int, err error) {
	owned, bytesMax := make([][]byte, len(messages)), s.inForce.Load().MessageBytesMax
	for i, p := range messages {
		switch {
		case len(p) > bytesMax:
			return 0, ErrMessageTooLarge
		case !utf8.Valid(p):
			return 0, ErrNotText
		}
		owned[i] = bytes.Clone(p)
	}
	type result struct {
		subscribers int
		err         error
	}
	r, err := ask(ctx, s, func(l *loop) result {
		n, err := l.publish(topic, owned)
		return result{n, err}
	})
	return r.subscribers, errors.Join(err, r.err)
}

func (l *loop) publish(name string, messages [][]byte) (subscribers int, err error) {
	var to []*Topic
	for _, t := range l.topics {
		if t.name == name {
			to = append(to, t)
		}
		if t.name == name && t.log.Full() {
			return 0, ErrTopicFull
		}
	}
	if len(to) == 0 {
		return 0, ErrNoTopic
	}
	for _, t := range to {
		subscribers += t.Len()
		for _, p := range messages {
			m := Text(p)
			t.Publish(&m)
		}
	}
	return subscribers, nil
}

// EndSession closes a session, as Session.Close does. It may be called from anywhere.
func (s *Server) EndSession(ctx context.Context, id uint64, code int, reason string) error {
	found, err := ask(ctx, s, func(l *loop) (found bool) {
		l.eachSession(func(s *Session) {
			if s.id == id && s.state == open {
				found = true
				s.Close(code, reason)
			}
		})
		return found
	})
	if err == nil && !found {
		err = ErrNoSession
	}
	return err
}
