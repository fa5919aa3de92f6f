package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// The first message after a pause leaves at once. The next ones wait, though the loop goes on; they leave together.
func TestGatheredMessagesLeaveTogether(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{Gather: time.Minute})
	c, other := r.join(t, "/broadcast"), r.join(t, "/echo")
	c.send(`["first"]`)
	c.expect(`a["first"]`)
	for _, text := range []string{"second", "third"} {
		c.send(`["` + text + `"]`)
		other.send(`["turn"]`)
		other.expect(`a["turn"]`)
	}
	r.eventually(t, "published", func(st server.Stats) bool { return st.MessagesPublished == 3 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	c.expect(`a["second","third"]`) // a server that drains gathers nothing
	c.expect(`c[3000,"Go away!"]`)
	_ = c.Close()
	_ = other.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// What has been gathered leaves when its time has come, and not before.
func TestGatheredMessagesLeaveInTime(t *testing.T) {
	t.Parallel()
	const gather = 100 * time.Millisecond
	r := start(t, server.Config{Gather: gather})
	c := r.join(t, "/broadcast")
	for range 3 {
		begun := time.Now()
		c.send(`["first"]`)
		c.expect(`a["first"]`)
		c.send(`["second"]`)
		c.expect(`a["second"]`)
		if took := time.Since(begun); took < gather {
			t.Errorf("it came after %v", took)
		}
	}
}

// A large batch waits for nothing.
func TestGatheringEndsWithALargeBatch(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{Gather: time.Minute, BatchBytesMax: 1000})
	c := r.join(t, "/broadcast")
	long := strings.Repeat("x", 600)
	c.send(`["first"]`)
	c.expect(`a["first"]`)
	c.send(`["` + long + `"]`)
	c.send(`["` + long + `"]`)
	c.expect(`a["` + long + `","` + long + `"]`)
}

// intoBoth publishes what it is told to one topic and, several times, to another.
type intoBoth struct {
	hearing, other *server.Topic
	times          int
}

func (b *intoBoth) OnOpen(s *server.Session)                    { s.Subscribe(b.hearing) }
func (b *intoBoth) OnClose(*server.Session, server.CloseReason) {}

func (b *intoBoth) OnMessage(_ *server.Session, m *server.Message) {
	b.other.Publish(m)
	for range b.times {
		b.hearing.Publish(m)
	}
}

// A large batch of one topic does not hurry another one.
func TestLargeBatchHurriesItsOwnTopicAlone(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", Gather: time.Minute, BatchBytesMax: 1000})
	if err != nil {
		t.Fatal(err)
	}
	quiet := srv.NewTopic("quiet")
	if err := srv.Handle("/quiet", &room{quiet}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/loud", &intoBoth{srv.NewTopic("loud"), quiet, 10}); err != nil {
		t.Fatal(err)
	}
	r := serve(t, srv)
	hears, loud := r.join(t, "/quiet"), r.join(t, "/loud")
	hears.send(`["first"]`)
	hears.expect(`a["first"]`)
	text := strings.Repeat("x", 100)
	for range 2 { // each is a turn of its own
		loud.send(`["` + text + `"]`)
		if _, got, err := loud.next(); err != nil || !strings.HasPrefix(got, `a["`+text) {
			t.Fatalf("%.100q, %v", got, err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	hears.expect(`a["` + text + `","` + text + `"]`)
	_ = hears.Close()
	_ = loud.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Each topic gathers as long as it is told; one that is closed meanwhile is forgotten.
func TestTopicsGatherForThemselves(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", Gather: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	slow := srv.NewTopic("slow")
	fast := srv.NewTopic("fast", func(o *server.TopicOptions) { o.Gather = 0 })
	for path, topic := range map[string]*server.Topic{"/slow": slow, "/fast": fast} {
		if err := srv.Handle(path, &room{topic}); err != nil {
			t.Fatal(err)
		}
	}
	r := serve(t, srv)
	a, b := r.join(t, "/slow"), r.join(t, "/fast")
	a.send(`["1"]`)
	a.expect(`a["1"]`)
	a.send(`["2"]`)
	for _, text := range []string{`["1"]`, `["2"]`, `["3"]`} {
		b.send(text)
		b.expect("a" + text)
	}
	r.eventually(t, "published", func(st server.Stats) bool { return st.MessagesPublished == 5 })
	closed := make(chan struct{})
	if err := r.Post(func() { slow.Close(); close(closed) }); err != nil {
		t.Fatal(err)
	}
	<-closed
	b.send(`["4"]`)
	b.expect(`a["4"]`)
}

// With a target the time is found: of a loop with nothing else to do, nearly all of the target.
func TestGatherWithinATarget(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{GatherP99: time.Minute})
	c := r.join(t, "/broadcast")
	r.eventually(t, "gathers", func(st server.Stats) bool { return st.Gather > 30*time.Second })
	c.send(`["first"]`)
	c.expect(`a["first"]`)
	c.send(`["second"]`)
	c.send(`["third"]`)
	r.eventually(t, "published", func(st server.Stats) bool { return st.MessagesPublished == 3 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	c.expect(`a["second","third"]`)
	_ = c.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A loop whose turns take as long as the target gathers nothing.
func TestGatherLeavesTimeForTheTurns(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{GatherP99: 30 * time.Millisecond}, "/tardy", tardy{})
	r.eventually(t, "gathers", func(st server.Stats) bool { return st.Gather > 13*time.Millisecond })
	c := r.join(t, "/tardy")
	for r.stats(t).Gather > time.Millisecond {
		c.send(`["slow"]`)
		c.expect(`a["slow"]`)
	}
}

func TestGatherIsBounded(t *testing.T) {
	t.Parallel()
	both := server.Config{Addr: "127.0.0.1:0", Gather: time.Second, GatherP99: time.Second}
	if _, err := server.New(both); err == nil {
		t.Error("a time and a target for it are taken")
	}
	for _, d := range []time.Duration{-1, time.Minute + 1} {
		if _, err := server.New(server.Config{Addr: "127.0.0.1:0", Gather: d}); err == nil {
			t.Errorf("%v is taken", d)
		}
		if _, err := server.New(server.Config{Addr: "127.0.0.1:0", GatherP99: d}); err == nil {
			t.Errorf("a target of %v is taken", d)
		}
	}
}
