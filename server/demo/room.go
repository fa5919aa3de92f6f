package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sockloop/sockloop/server"
)

// Room is a service in which everybody has a name and hears who comes, goes and speaks. Messages are JSON objects:
// clients send {"say":…} or {"name":…}, and are sent the events below.
type Room struct {
	server  *server.Server
	topic   *server.Topic
	rates   *server.Topic // of this process
	members map[int]*member
	lastID  int
	firstID int
}

type member struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	Transport string `json:"transport"`
}

// event is what the room tells; which fields it has follows from its type.
type event struct {
	Type string `json:"type"` // welcome, joined, left, renamed, said, rate, refused

	ID        int    `json:"id,omitempty"`
	Name      string `json:"name,omitempty"`
	Transport string `json:"transport,omitempty"`
	Text      string `json:"text,omitempty"`
	At        int64  `json:"at,omitempty"` // ms since 1970

	You     int       `json:"you,omitempty"`
	Members []*member `json:"members,omitempty"`
	Hidden  int       `json:"hidden,omitempty"` // members that the list leaves out

	Why string `json:"why,omitempty"`
}

// rate is what the server carried in the last second.
type rate struct {
	Type      string `json:"type"`
	At        int64  `json:"at"`
	Delivered uint64 `json:"delivered"`
	Received  uint64 `json:"received"`
	Sessions  int    `json:"sessions"`
}

const (
	textRunesMax  = 500
	nameRunesMax  = 30
	membersListed = 200 // a newcomer is told of
)

func newRoom(s *server.Server) *Room {
	r := &Room{server: s, topic: s.NewTopic("room"), members: map[int]*member{}}
	r.rates = s.NewTopic("room rates", func(o *server.TopicOptions) { o.Local = true })
	if r.isShared() {
		// Members of other processes have other ids: 2^20 each, and JavaScript counts exactly up to 2^53.
		r.firstID = rand.IntN(1<<32) << 20
	}
	return r
}

// isShared tells that a broker joins the room with those of other processes. Each lists its own members; of the others
// it hears what they say, and who comes and goes.
func (r *Room) isShared() bool { return r.server.Config().Broker != nil }

// OnOpen welcomes a session and tells the others.
func (r *Room) OnOpen(s *server.Session) {
	r.lastID++
	m := &member{ID: r.firstID + r.lastID, Name: fmt.Sprintf("Guest %d", r.lastID), Transport: s.Transport()}
	welcome := event{Type: "welcome", You: m.ID, Members: []*member{m}, Hidden: max(len(r.members)+1-membersListed, 0)}
	for _, other := range r.members {
		if len(welcome.Members) == membersListed {
			break
		}
		welcome.Members = append(welcome.Members, other)
	}
	r.members[m.ID] = m
	s.Data = m
	send(s, welcome)
	s.Subscribe(r.topic)
	s.Subscribe(r.rates)
	r.publish(event{Type: "joined", ID: m.ID, Name: m.Name, Transport: m.Transport})
}

// OnClose tells the others.
func (r *Room) OnClose(s *server.Session, _ server.CloseReason) {
	if m, ok := s.Data.(*member); ok {
		delete(r.members, m.ID)
		r.publish(event{Type: "left", ID: m.ID})
	}
}

// OnMessage does what a member asks for, or says why not.
func (r *Room) OnMessage(s *server.Session, msg *server.Message) {
	var asked struct {
		Say  *string `json:"say"`
		Name *string `json:"name"`
	}
	m := s.Data.(*member)
	switch err := json.Unmarshal(msg.Text(), &asked); {
	case err != nil || asked.Say == nil && asked.Name == nil:
		send(s, event{Type: "refused", Why: `The room takes {"say":"…"} and {"name":"…"}.`})
	case asked.Name != nil:
		name := printable(*asked.Name)
		if n := utf8.RuneCountInString(name); n == 0 || n > nameRunesMax {
			send(s, event{Type: "refused", Why: fmt.Sprintf("A name has 1 to %d characters.", nameRunesMax)})
			return
		}
		m.Name = name
		r.publish(event{Type: "renamed", ID: m.ID, Name: name})
	default:
		text := printable(*asked.Say)
		if n := utf8.RuneCountInString(text); n == 0 || n > textRunesMax {
			send(s, event{Type: "refused", Why: fmt.Sprintf("A message has 1 to %d characters.", textRunesMax)})
			return
		}
		r.publish(event{Type: "said", ID: m.ID, Name: m.Name, Text: text, At: time.Now().UnixMilli()})
	}
}

// printable is the text without what cannot be seen, nor direct how the rest is.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, s))
}

// Run publishes once a second what the server carries, until ctx is done or the server has ended.
func (r *Room) Run(ctx context.Context) {
	select {
	case <-r.server.Ready():
	case <-ctx.Done():
		return
	}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	r.run(ctx, ticks.C)
}

func (r *Room) run(ctx context.Context, ticks <-chan time.Time) {
	var last measured
	for !errors.Is(r.publishRate(ctx, &last), server.ErrNotRunning) { // a full mailbox leaves out one
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
	}
}

// measured are the counters of a moment.
type measured struct {
	server.Stats
	at time.Time
}

// publishRate publishes what the server carried since the last time, which the first has none of.
func (r *Room) publishRate(ctx context.Context, last *measured) error {
	st, err := r.server.Stats(ctx)
	if err != nil {
		return err
	}
	before, now := *last, time.Now()
	*last = measured{st, now}
	if before.at.IsZero() {
		return nil
	}
	seconds := now.Sub(before.at).Seconds()
	per := func(now, before uint64) uint64 { return uint64(float64(now-before)/seconds + 0.5) }
	x := rate{
		Type: "rate", At: now.UnixMilli(), Sessions: st.Sessions,
		Delivered: per(st.MessagesDelivered, before.MessagesDelivered),
		Received:  per(st.MessagesReceived, before.MessagesReceived),
	}
	return r.server.Post(func() { r.publishTo(r.rates, x) })
}

// publish tells everybody, wherever they are.
func (r *Room) publish(x any) { r.publishTo(r.topic, x) }

func (r *Room) publishTo(t *server.Topic, x any) {
	if t.Len() > 0 || t == r.topic && r.isShared() {
		m := text(x)
		t.Publish(&m)
	}
}

func send(s *server.Session, x any) {
	m := text(x)
	_ = s.Send(&m) // a session that is closing hears no more
}

func text(x any) server.Message {
	p, err := json.Marshal(x)
	if err != nil {
		panic(err) // there is nothing in an event that could not be encoded
	}
	return server.Text(p)
}
