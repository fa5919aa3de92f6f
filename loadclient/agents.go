package loadclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/sockloop/sockloop/internal/version"
)

// Agents are processes on other machines that open a level's connections; see Agent.
type Agents struct {
	Addrs   []string // host:port
	Token   []byte   // that agents want to be shown; nil for none
	version string   // of this program; empty is what it is
}

// remote is the part of a level that an agent has. It is one connection, with which that part ends.
type remote struct {
	addr   string
	config LevelConfig
	to     *control
	last   atomic.Pointer[Live]
}

const (
	helloTime = 10 * time.Second
	// silenceMax is how long an agent that works on something may say nothing: it says each beat how far it is.
	silenceMax = 30 * time.Second
	beat       = 500 * time.Millisecond
	// farewellTime is how long an agent may take to close its connections.
	farewellTime = 10 * time.Second
)

// dial connects to an agent, and each shows the other that it knows the token.
func (a *Agents) dial(ctx context.Context, i int) (*remote, error) {
	addr := a.Addrs[i]
	d := net.Dialer{Timeout: helloTime, KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("agent %s cannot be reached: %w: start it there with sockload agent --listen", addr, err)
	}
	r := &remote{addr: addr, to: newControl(c)}
	r.last.Store(&Live{})
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := r.to.greet(a.Token, cmp.Or(a.version, version.Own())); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("agent %s: %w", addr, cmp.Or(ctx.Err(), err))
	}
	return r, nil
}

// ask has the agent do something, and waits until it has.
func (r *remote) ask(ctx context.Context, q request) (answer, error) {
	stop := context.AfterFunc(ctx, r.leave)
	defer stop()
	err := r.to.send(q)
	for err == nil {
		var a answer
		if err = r.to.receive(&a, silenceMax, messageBytesMax); err != nil {
			break
		}
		if a.Live == nil {
			return a, cmp.Or(ctx.Err(), a.failure(r.addr))
		}
		r.last.Store(a.Live)
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("agent %s has gone: it was ended, or its machine was", r.addr)
	default:
		err = fmt.Errorf("agent %s has gone: %w", r.addr, err)
	}
	return answer{}, err
}

// do has the agent do something that has no result.
func (r *remote) do(ctx context.Context, q request) error {
	_, err := r.ask(ctx, q)
	return err
}

func (r *remote) open(ctx context.Context) error {
	return r.do(ctx, request{Step: stepOpen, Level: &r.config})
}

func (r *remote) settle(ctx context.Context) error { return r.do(ctx, request{Step: stepSettle}) }

func (r *remote) prepare(ctx context.Context, p trialPlan) error {
	s := p.schedule
	return r.do(ctx, request{Step: stepPrepare, Plan: &plan{
		Rate: s.rate, Connections: s.connections, Messages: s.messages, Block: s.block,
		Window: p.window, Drain: p.drain,
	}})
}

func (r *remote) begin(ctx context.Context) error { return r.do(ctx, request{Step: stepBegin}) }

func (r *remote) measure(ctx context.Context) (measurement, error) {
	a, err := r.ask(ctx, request{Step: stepMeasure})
	if err != nil {
		return measurement{}, err
	}
	if m := a.Measured; m != nil && m.Recorded != nil && len(m.Senders) == r.config.Connections {
		return *m, nil
	}
	return measurement{}, r.nonsense()
}

func (r *remote) check(ctx context.Context, sent account) (integrity, error) {
	a, err := r.ask(ctx, request{Step: stepCheck, Sent: &sent})
	if err == nil && a.Checked == nil {
		err = r.nonsense()
	}
	if err != nil {
		return integrity{}, err
	}
	return *a.Checked, nil
}

func (r *remote) nonsense() error {
	return fmt.Errorf("agent %s answers something that was not asked", r.addr)
}

func (r *remote) noise(ctx context.Context, d time.Duration) (*Noise, error) {
	a, err := r.ask(ctx, request{Step: stepListen, For: d})
	return a.Noise, err
}

func (r *remote) live() Live { return *r.last.Load() }

// close ends the agent's part, and waits until it has: the next level wants the agent free.
func (r *remote) close() {
	r.leave()
	_ = r.to.conn.SetReadDeadline(time.Now().Add(farewellTime))
	_, _ = io.Copy(io.Discard, r.to.conn)
	_ = r.to.conn.Close()
}

// leave has the agent end what it does.
func (r *remote) leave() {
	if c, ok := r.to.conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}

// secured is what an agent must know of a target's TLS.
type secured struct {
	Server   string
	Insecure bool
}

// plainTarget is a Target without its JSON methods.
type plainTarget Target

// MarshalJSON writes everything that an agent must know of a target.
func (t Target) MarshalJSON() ([]byte, error) {
	x := struct {
		plainTarget
		Secure *secured `json:",omitempty"`
	}{plainTarget: plainTarget(t)}
	if t.TLS != nil {
		x.Secure = &secured{t.TLS.ServerName, t.TLS.InsecureSkipVerify}
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads it.
func (t *Target) UnmarshalJSON(text []byte) error {
	var x struct {
		plainTarget
		Secure *secured
	}
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	*t = Target(x.plainTarget)
	if declared(t.Protocol).open == nil {
		return fmt.Errorf("protocol %q is not known", t.Protocol)
	}
	if x.Secure == nil {
		return nil
	}
	t.TLS = tlsFor(x.Secure.Server)
	t.TLS.InsecureSkipVerify = x.Secure.Insecure
	if len(t.CA) > 0 && !t.trustCA() {
		return errors.New("there is no certificate in the authority's")
	}
	return nil
}

// shape is a payload on its way to an agent.
type shape struct {
	Kinds []pieceKind
	Texts []string
	Sizes []int
}

// MarshalJSON writes the pieces and the sizes.
func (p Payload) MarshalJSON() ([]byte, error) {
	x := shape{Sizes: p.sizes}
	for _, piece := range p.pieces {
		x.Kinds, x.Texts = append(x.Kinds, piece.kind), append(x.Texts, piece.text)
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads them.
func (p *Payload) UnmarshalJSON(text []byte) error {
	var x shape
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	if len(x.Kinds) != len(x.Texts) {
		return fmt.Errorf("%d pieces and %d texts", len(x.Kinds), len(x.Texts))
	}
	*p = Payload{sizes: x.Sizes}
	for i, kind := range x.Kinds {
		p.pieces = append(p.pieces, piece{kind, x.Texts[i]})
	}
	return nil
}
