package loadclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

var testToken = []byte("0123456789abcdef")

// startAgent starts one in this process. end ends it; served is closed when it has.
func startAgent(t *testing.T, a *Agent) (addr string, end context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := a.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), cancel
}

// startAgents starts two.
func startAgents(t *testing.T) *Agents {
	t.Helper()
	a := &Agents{Token: testToken}
	for range 2 {
		addr, _ := startAgent(t, &Agent{Token: testToken})
		a.Addrs = append(a.Addrs, addr)
	}
	return a
}

func openAgents(t *testing.T, a *Agents, r *room.Room, change func(*LevelConfig)) *Level {
	t.Helper()
	c := LevelConfig{
		Target:      target(t, r.URL(), SockJS, TargetOptions{}),
		Connections: 10, IDBase: 1, Agents: a, Drain: 10 * time.Second,
	}
	if change != nil {
		change(&c)
	}
	l, err := OpenLevel(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// Two agents find what one client does: each of their connections hears what those of both send.
func TestTrialOverAgents(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	l := openAgents(t, startAgents(t), r, nil)
	for range 2 {
		got, err := l.Trial(500, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		missing := got.Lost + got.Duplicated + got.Reordered + got.Foreign + got.NotCompleted + got.OwnMissing
		if got.Connections != 10 || got.Sent != 100 || got.Expected != 1000 || got.Received != 1000 || missing != 0 {
			t.Errorf("%+v", got)
		}
		if got.RTT.Count != 100 || got.StartSkew <= 0 || len(got.Agents) != 2 || len(got.ClientBusy) != 2 {
			t.Errorf("%+v", got)
		}
		for _, a := range got.Agents {
			if a.Connections != 5 || a.Sent != 50 || a.Received != 500 || a.RTT.Count != 50 || a.Queues == nil ||
				a.Heard <= 0 || a.Heard > got.StartSkew {
				t.Errorf("%+v", a)
			}
		}
	}
}

// The arrival of messages is timed of those that the same agent sent: when the others were due only their agent knows.
func TestArrivalOverAgents(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	// The first connection sends alone, and the second agent has none that do.
	l := openAgents(t, startAgents(t), r, func(c *LevelConfig) { c.Publishers = 1 })
	got, err := l.Trial(100, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got.Sent != 20 || got.Received != 200 || got.Arrival.Count == 0 || got.Arrival.Count > 5*20 {
		t.Errorf("%d of %d arrivals: %+v", got.Arrival.Count, got.Received, got)
	}
	if got.Agents[1].Sent != 0 || got.Agents[1].Received != 100 {
		t.Errorf("%+v", got.Agents[1])
	}
}

// What is missing or too often on a connection of one agent is found, and whose it was.
func TestFaultsOverAgents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults room.Faults
		check  func(Trial) bool
	}{
		{"lost", room.Faults{LoseEvery: 10}, func(x Trial) bool {
			return x.NotCompleted+x.Lost == 10 && x.Received == 990
		}},
		{"repeated", room.Faults{RepeatEvery: 10}, func(x Trial) bool { return x.Duplicated == 10 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := room.New(tt.faults)
			defer r.Close()
			l := openAgents(t, startAgents(t), r, func(c *LevelConfig) { c.Drain = 1500 * time.Millisecond })
			got, err := l.Trial(1000, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(got) || got.Verdict != TargetFailed || !strings.HasPrefix(got.Reason, "agent 127.0.0.1:") {
				t.Errorf("%+v", got)
			}
			failed := 0
			for _, a := range got.Agents {
				if a.Verdict == TargetFailed {
					failed++
				}
			}
			if failed != 1 {
				t.Errorf("%d agents saw it: %+v", failed, got.Agents)
			}
		})
	}
}

// Rooms that lie on both agents, an echo, other messages and a sample are as in one process.
func TestPatternsOverAgents(t *testing.T) {
	t.Parallel()
	sockJS := newRoom(t, room.Faults{})
	web := "ws" + serve(t, &chatRooms{}).URL[len("http"):]
	payload := TargetOptions{Payload: `{"id":{id},"at":{time},"n":{seq},"x":"{pad}"}`, PayloadBytes: "60-90"}
	for name, c := range map[string]LevelConfig{
		"rooms":   {Target: target(t, web+"/rooms/{room}", WebSocket, TargetOptions{}), Room: 4},
		"echo":    {Target: target(t, web+"/echo/{room}", WebSocket, TargetOptions{}), Room: 1},
		"payload": {Target: target(t, web+"/payload", WebSocket, payload)},
		"sample":  {Target: target(t, sockJS, SockJS, TargetOptions{}), Verify: VerifySample},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Connections, c.IDBase, c.Drain, c.Agents = 12, 95, 20*time.Second, startAgents(t)
			got := oneTrial(t, c, 480, 100*time.Millisecond)
			wrong := got.Foreign + got.Lost + got.Duplicated + got.NotCompleted + got.Stragglers
			if got.Sent != 48 || got.Received != 48*c.Hearers() || got.RTT.Count != 48 || wrong != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Quantiles are those of all round trips together.
func TestRecordingsOfAgentsAreMerged(t *testing.T) {
	t.Parallel()
	one, other := newRecording(), newRecording()
	one.reset(time.Second)
	other.reset(time.Second)
	for range 90 {
		_ = one.intended.RecordValue(1000)
	}
	for range 10 {
		_ = other.intended.RecordValue(100_000)
	}
	other.buckets[3] = bucket{10, 1000}
	other.rest = time.Millisecond
	text, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	came := new(recording)
	if err := json.Unmarshal(text, came); err != nil {
		t.Fatal(err)
	}
	one.add(came)
	got := newLatency(one.intended)
	if got.Count != 100 || got.P50 > 1.01 || got.P90 > 1.01 || got.P99 < 99 {
		t.Errorf("%+v", got)
	}
	if one.buckets[3] != (bucket{10, 1000}) || one.rest != time.Millisecond {
		t.Errorf("%+v %v", one.buckets[3], one.rest)
	}
}

// An agent knows of a target what the coordinator does.
func TestTargetsTravel(t *testing.T) {
	t.Parallel()
	payload, err := ParsePayload(`{"i":{id},"t":{time},"p":"{pad}"}`, "100-200")
	if err != nil {
		t.Fatal(err)
	}
	to := target(t, "wss://me:secret@example.org/{room}?x=1", WebSocket, TargetOptions{
		Insecure: true, Headers: []string{"X-A: 1"}, Cookies: []string{"a=b"}, Subprotocols: []string{"v1"},
		SendFirst: []string{"join"}, Greeting: "^hello",
	})
	to.Payload, to.Bearers, to.Origin = payload, []string{"one", "two"}, "x"
	text, err := json.Marshal(LevelConfig{Target: to, Connections: 7, Share: Share{1, 2}, IDBase: 3, Room: 7})
	if err != nil {
		t.Fatal(err)
	}
	var got LevelConfig
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if x := got.Target.TLS; x == nil || x.ServerName != "example.org" || !x.InsecureSkipVerify ||
		!reflect.DeepEqual(x.NextProtos, to.TLS.NextProtos) {
		t.Errorf("%+v", x)
	}
	if got.Target.Greeting == nil || got.Target.Greeting.String() != "^hello" {
		t.Errorf("greeting %v", got.Target.Greeting)
	}
	got.Target.TLS, to.TLS = nil, nil
	got.Target.Greeting, to.Greeting = (*regexp.Regexp)(nil), nil
	if !reflect.DeepEqual(got.Target, to) {
		t.Errorf("got  %+v\nwant %+v", got.Target, to)
	}
	if got.Connections != 7 || got.Share != (Share{1, 2}) || got.IDBase != 3 || got.Room != 7 {
		t.Errorf("%+v", got)
	}
}

// The worst verdict of an agent is the trial's; that one's round trips are long by themselves is not.
func TestBlame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		whole  Verdict
		agents []results.Agent
		want   Verdict
		reason string
	}{
		{"all well", OK, []results.Agent{{Addr: "a", Verdict: OK}, {Addr: "b", Verdict: OK}}, OK, "whole"},
		{"one slow", OK, []results.Agent{{Addr: "a", Verdict: OK}, {Addr: "b", Verdict: Overloaded}}, OK, "whole"},
		{"one lags", Overloaded, []results.Agent{{Addr: "a", Verdict: Overloaded},
			{Addr: "b", Verdict: ClientLimited, Reason: "r"}}, ClientLimited, "agent b: r"},
		{"the worst", OK, []results.Agent{{Addr: "a", Verdict: Noisy, Reason: "n"},
			{Addr: "b", Verdict: TargetFailed, Reason: "f"}}, TargetFailed, "agent b: f"},
		{"the first", TargetFailed, []results.Agent{{Addr: "a", Verdict: TargetFailed, Reason: "1"},
			{Addr: "b", Verdict: TargetFailed, Reason: "2"}}, TargetFailed, "agent a: 1"},
	} {
		x := Trial{Verdict: tt.whole, Reason: "whole"}
		if blame(&x, tt.agents); x.Verdict != tt.want || x.Reason != tt.reason {
			t.Errorf("%s: %s, %q", tt.name, x.Verdict, x.Reason)
		}
	}
}

// Agents that begin far apart have not sent at the rate that was asked for.
func TestStartSkew(t *testing.T) {
	t.Parallel()
	l := &Level{LevelConfig: LevelConfig{
		Connections: 2, Threshold: saturationRTT, Agents: &Agents{Addrs: []string{"a", "b"}},
	}, parts: make([]part, 2)}
	for heard, want := range map[time.Duration]Verdict{
		90 * time.Millisecond: OK, 110 * time.Millisecond: ClientLimited,
	} {
		x := &execution{
			plan: trialPlan{window: time.Second, schedule: l.sends(0, time.Second)}, checked: make([]integrity, 2),
			heard: []time.Duration{time.Millisecond, heard},
		}
		for range l.parts {
			m := measurement{Connections: 1, Recorded: newRecording(), Senders: make([]senderTally, 2)}
			x.measured = append(x.measured, m)
		}
		if got := l.gather(x); got.Verdict != want || got.StartSkew != milliseconds(heard) {
			t.Errorf("%v: %s after %v ms", heard, got.Verdict, got.StartSkew)
		}
	}
}

// What an agent beside the server sees of it holds for those that are far off: it has not lost what it has not read.
func TestQueuesOfTheServerAreOfAllAgents(t *testing.T) {
	t.Parallel()
	l := &Level{LevelConfig: LevelConfig{
		Connections: 2, Threshold: saturationRTT, Agents: &Agents{Addrs: []string{"near", "far"}},
	}, parts: make([]part, 2)}
	for unheard, want := range map[int64]Verdict{0: TargetFailed, 1: Overloaded} {
		x := &execution{
			plan:    trialPlan{window: time.Second, schedule: l.sends(0, time.Second)},
			heard:   []time.Duration{time.Millisecond, time.Millisecond},
			checked: []integrity{{NotCompleted: 1}, {NotCompleted: 1}},
		}
		for _, q := range []Queues{{Unheard: unheard}, {Unsent: -1}} {
			x.measured = append(x.measured, measurement{
				Connections: 1, Recorded: newRecording(), Senders: make([]senderTally, 2), Queues: q,
				Sent: 2, Received: 1, HeardAt: time.Second, Drained: 5 * time.Second,
			})
		}
		if got := l.gather(x); got.Verdict != want {
			t.Errorf("%d bytes unread: %s, %s", unheard, got.Verdict, got.Reason)
		}
	}
}

// Each agent listens to the CPUs that it has, with connections open or without.
func TestNoiseOverAgents(t *testing.T) {
	t.Parallel()
	quiet, _ := startAgent(t, &Agent{})
	hears, _ := startAgent(t, &Agent{CPUs: tuning.CPUs{0}})
	c := LevelConfig{Target: target(t, "ws://127.0.0.1:1/", SockJS, TargetOptions{}), Connections: 2}
	for addr, want := range map[string]bool{quiet: false, hears: true} {
		c.Agents = &Agents{Addrs: []string{addr}}
		l, err := newLevel(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if n, err := l.noise(20 * time.Millisecond); err != nil || (n != nil) != want {
			t.Errorf("%+v %v, want some: %v", n, err, want)
		}
	}
}

// An agent that goes away in a trial ends it at once, and is named.
func TestAgentThatGoesAway(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	stays, _ := startAgent(t, &Agent{})
	goes, end := startAgent(t, &Agent{})
	l := openAgents(t, &Agents{Addrs: []string{stays, goes}}, r, nil)
	failed := make(chan error, 1)
	go func() {
		_, err := l.Trial(100, time.Hour)
		failed <- err
	}()
	for l.Live().Returned == 0 { // what agents say meanwhile
		time.Sleep(time.Millisecond)
	}
	end()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "agent "+goes+" has gone") {
		t.Errorf("got %v", err)
	}
	if _, err := l.Trial(100, time.Second); err == nil {
		t.Error("another trial ran")
	}
}

// When a coordinator goes, what its agents have opened is closed, and another may come.
func TestCoordinatorThatGoesAway(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	agents := startAgents(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, err := OpenLevel(ctx, LevelConfig{
		Target: target(t, r.URL(), SockJS, TargetOptions{}), Connections: 10, IDBase: 1, Agents: agents,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other := LevelConfig{Target: l.Target, Connections: 10, IDBase: 1, Agents: agents}
	if _, err := OpenLevel(t.Context(), other); err == nil || !strings.Contains(err.Error(), "busy with another") {
		t.Errorf("a second coordinator: %v", err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := l.Trial(100, time.Hour)
		failed <- err
	}()
	for len(r.First(1)) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-failed; err != context.Canceled {
		t.Errorf("got %v", err)
	}
	l.Close()
	next, err := OpenLevel(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	got, err := next.Trial(500, 200*time.Millisecond)
	if err != nil || got.Received != 1000 || got.Foreign != 0 {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestAgentsThatAreRefused(t *testing.T) {
	t.Parallel()
	with, _ := startAgent(t, &Agent{Token: testToken})
	old, _ := startAgent(t, &Agent{version: "v0"})
	r := room.New(room.Faults{})
	defer r.Close()
	for _, tt := range []struct {
		name   string
		agents Agents
		want   string
	}{
		{"another token", Agents{Addrs: []string{with}, Token: []byte("another one, as long")}, "the token is another"},
		{"no token", Agents{Addrs: []string{with}}, "the token is another"},
		{"another version", Agents{Addrs: []string{old}, version: "v1"}, `it is sockload "v0" and this is "v1"`},
		{"no agent", Agents{Addrs: []string{strings.TrimPrefix(r.Server.URL, "http://")}}, "is no sockload agent"},
		{"nobody", Agents{Addrs: []string{"127.0.0.1:1"}}, "agent 127.0.0.1:1 cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "no agent" {
				tt.agents.Addrs[0] = talker(t, "220 mail.example.org ESMTP\r\n")
			}
			c := LevelConfig{Target: target(t, "ws://127.0.0.1:1/", SockJS, TargetOptions{}), Connections: 1,
				Agents: &tt.agents}
			if _, err := OpenLevel(t.Context(), c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// talker says something to whoever connects.
func talker(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	return ln.Addr().String()
}

// A coordinator tells its target to nobody who does not know the token.
func TestAgentThatDoesNotKnowTheToken(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer here.Close()  //nolint:errcheck // the test is over
	defer there.Close() //nolint:errcheck // the test is over
	go func() {
		c := newControl(there)
		own, peer := hello{Version: "v1", Nonce: newNonce()}, hello{}
		_ = c.send(own)
		_ = c.receive(&peer, helloTime, helloBytesMax)
		// It has seen the coordinator's proof, and says it again.
		_ = c.send(hello{Proof: peer.Proof})
	}()
	if err := newControl(here).greet(testToken, "v1"); err != errToken {
		t.Errorf("got %v", err)
	}
}

// What is said is bounded, also when its end does not come.
func TestControlMessagesAreBounded(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer here.Close() //nolint:errcheck // the test is over
	go func() {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(there, "[[[[[[[[[[[[[[[[")
		}
	}()
	var x any
	err := newControl(here).receive(&x, time.Minute, 100_000)
	if err == nil || !strings.Contains(err.Error(), "more than 100000 bytes") {
		t.Errorf("got %v", err)
	}
}

// Agents that are on the server's machine see the same that it has not sent, and the rest of their own connections.
func TestQueuesOfAgents(t *testing.T) {
	t.Parallel()
	one, other := Queues{Unread: 1, Unsent: 5, Left: 7, Unheard: 9}, Queues{Unread: 2, Unsent: 5, Left: 7, Unheard: 1}
	got := together(together(one, other), Queues{Unread: 3, Unsent: -1})
	if want := (Queues{Unread: 6, Unsent: 5, Left: 14, Unheard: 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A stream is silent from the last message that any part of it has heard, also one that misses nothing.
func TestSilenceOfAllParts(t *testing.T) {
	t.Parallel()
	sum := measurement{Recorded: newRecording()}
	for _, part := range []measurement{
		{HeardAt: 5 * time.Second},
		{HeardAt: 3 * time.Second, Drained: 5500 * time.Millisecond},
		{HeardAt: 4 * time.Second, Drained: 5600 * time.Millisecond},
	} {
		part.Recorded = newRecording()
		sum.add(&part)
	}
	if sum.HeardAt != 5*time.Second || sum.Drained != 5500*time.Millisecond {
		t.Errorf("heard last at %v, the drain ended at %v", sum.HeardAt, sum.Drained)
	}
}

// An agent checks the version and the token itself, and refuses what is no hello or too long.
func TestAgentRefuses(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, &Agent{Token: testToken, version: "v1"})
	for _, tt := range []struct {
		name  string
		token []byte
		says  func(nonce string) string
		want  string
	}{
		{"version", testToken, nil, `the coordinator is sockload "v0" and this is "v1"`},
		{"token", []byte("another"), nil, "the token is another one"},
		{"a request", nil, func(string) string { return "GET / HTTP/1.1\r\n\r\n" }, ""},
		{"too long", nil, func(string) string { return strings.Repeat(" ", 2*helloBytesMax) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() //nolint:errcheck // the test is over
			in := bufio.NewReader(c)
			var agent, refused hello
			line, err := in.ReadBytes('\n')
			if err != nil || json.Unmarshal(line, &agent) != nil {
				t.Fatalf("%q %v", line, err)
			}
			own := hello{Version: "v0", Nonce: newNonce()}
			own.Proof = proof(tt.token, asCoordinator, agent.Nonce, own.Nonce)
			text, err := json.Marshal(own)
			if err != nil {
				t.Fatal(err)
			}
			if tt.says != nil {
				text = []byte(tt.says(agent.Nonce))
			}
			_, _ = fmt.Fprintf(c, "%s\n", text)
			line, _ = in.ReadBytes('\n')
			if tt.want == "" {
				if len(line) > 0 {
					t.Errorf("answered with %q", line)
				}
				return
			}
			if json.Unmarshal(line, &refused) != nil || !strings.Contains(refused.Refused, tt.want) {
				t.Errorf("%q, want %q", line, tt.want)
			}
		})
	}
}

// Without a token an agent listens where only its own machine can reach it.
func TestAgentListens(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:0": "", "[::1]:0": "", "localhost:0": "", "0.0.0.0:0": "--token-file", ":0": "--token-file",
		"7070": "want host:port",
	} {
		ln, err := new(Agent).Listen(t.Context(), addr)
		if err == nil {
			_ = ln.Close()
		}
		if want == "" && err != nil && addr != "[::1]:0" ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
	}
	ln, err := (&Agent{Token: testToken}).Listen(t.Context(), "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}

// An agent that has been asked for something out of turn says so, and lives.
func TestAgentStepsHaveAnOrder(t *testing.T) {
	t.Parallel()
	addr, _ := startAgent(t, &Agent{})
	a := Agents{Addrs: []string{addr}}
	for _, q := range []request{
		{Step: stepMeasure}, {Step: stepCheck}, {Step: stepOpen}, {Step: "fly"},
		{Step: stepOpen, Level: &LevelConfig{Target: Target{Protocol: SockJS}, Share: Share{3, 2}, Connections: 4}},
	} {
		r, err := a.dial(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.do(t.Context(), q); err == nil || !strings.Contains(err.Error(), "cannot be now") {
			t.Errorf("%s: %v", q.Step, err)
		}
		r.close()
	}
}

// A search over agents opens levels anew, and finds what ends it, as one client does.
func TestSearchOverAgents(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{SilentAfter: 60})
	defer r.Close()
	p := profile(t, "quick")
	p.Window, p.Precision, p.Confirm, p.Curve = 100*time.Millisecond, 0.5, 100*time.Millisecond, nil
	c := SearchConfig{Profile: p, StartRate: 400, CoolDown: time.Millisecond, Level: LevelConfig{
		Target: target(t, r.URL(), SockJS, TargetOptions{}), Connections: 2, IDBase: 1, Drain: 100 * time.Millisecond,
		Agents: startAgents(t),
	}}
	var trials []Trial
	_, err := Search(t.Context(), c, func(x Trial) { trials = append(trials, x) }, nil)
	if !IsTargetFailure(err) || len(trials) < 2 || trials[len(trials)-1].Verdict != TargetFailed {
		t.Errorf("%v after %d trials", err, len(trials))
	}
}
