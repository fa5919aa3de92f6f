package loadclient

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// What coordinator and agent say to each other are lines of JSON. First each shows the other that it is the same
// version and knows the token, without telling it. Then the coordinator asks one thing after the other; the agent
// answers each, and meanwhile says how far it is. All of it belongs to one level, which ends with the connection.

// hello is the first line of both. The agent speaks first; its second hello follows the coordinator's.
type hello struct {
	Version string `json:"version,omitempty"`
	Nonce   string `json:"nonce,omitempty"`
	Proof   string `json:"proof,omitempty"` // that the token is known; see proof
	Refused string `json:"refused,omitempty"`
}

// request is what a coordinator wants: one step of a part, and what that needs.
type request struct {
	Step  step          `json:"step"`
	Level *LevelConfig  `json:"level,omitempty"`
	Plan  *plan         `json:"plan,omitempty"`
	Sent  *account      `json:"sent,omitempty"`
	For   time.Duration `json:"for,omitempty"`
}

// step is one of a part's methods.
type step string

const (
	stepOpen    step = "open"
	stepSettle  step = "settle"
	stepPrepare step = "prepare"
	stepBegin   step = "begin"
	stepMeasure step = "measure"
	stepCheck   step = "check"
	stepListen  step = "listen"
)

// plan is a trialPlan on its way.
type plan struct {
	Rate                         float64
	Connections, Messages, Block int
	Window, Drain                time.Duration
}

// trial is the plan as a worker has it.
func (p *plan) trial() trialPlan {
	return trialPlan{
		schedule: schedule{rate: p.Rate, connections: p.Connections, messages: p.Messages, block: p.Block},
		window:   p.Window, drain: p.Drain,
	}
}

// answer is what an agent says to a request. One with Live is not the last.
type answer struct {
	Live     *Live        `json:"live,omitempty"`
	Failed   string       `json:"failed,omitempty"`
	Target   bool         `json:"target,omitempty"` // that failed, and not the agent
	Measured *measurement `json:"measured,omitempty"`
	Checked  *integrity   `json:"checked,omitempty"`
	Noise    *Noise       `json:"noise,omitempty"`
}

// failure is what an agent says that went wrong.
func (a *answer) failure(addr string) error {
	switch {
	case a.Failed == "":
		return nil
	case a.Target:
		return fmt.Errorf("%w: agent %s: %s", errTarget, addr, a.Failed)
	}
	return fmt.Errorf("agent %s: %s", addr, a.Failed)
}

const (
	helloBytesMax = 1 << 10
	// messageBytesMax is room for what a million connections have sent, at some 30 bytes each.
	messageBytesMax = 32 << 20
	sendTime        = 30 * time.Second
)

// keepAlive and goneTime notice within 20 s that the other end's machine is gone: the first when nothing is said to it,
// the second when what was is not acknowledged (TCP_USER_TIMEOUT, tcp(7)).
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

const goneTime = 20 * time.Second

// control carries lines of JSON.
type control struct {
	conn net.Conn
	in   *bufio.Reader
}

func newControl(conn net.Conn) *control {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(goneTime.Milliseconds()))
			})
		}
	}
	return &control{conn, bufio.NewReader(conn)}
}

func (c *control) send(x any) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if len(text) >= messageBytesMax {
		return tooLong(messageBytesMax)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err = c.conn.Write(append(text, '\n'))
	return err
}

func tooLong(most int) error { return fmt.Errorf("a message of more than %d bytes", most) }

// receive reads a line of at most so many bytes. A time of 0 is for as long as it takes.
func (c *control) receive(x any, within time.Duration, most int) error {
	var until time.Time
	if within > 0 {
		until = time.Now().Add(within)
	}
	if err := c.conn.SetReadDeadline(until); err != nil {
		return err
	}
	var line []byte
	for {
		piece, err := c.in.ReadSlice('\n')
		if len(line)+len(piece) > most {
			return tooLong(most)
		}
		line = append(line, piece...)
		if err == nil {
			return json.Unmarshal(line, x)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// nonceBytes is what makes each conversation's proofs its own.
const nonceBytes = 16

func newNonce() string {
	p := make([]byte, nonceBytes)
	_, _ = rand.Read(p) // never fails
	return hex.EncodeToString(p)
}

// proof shows that one knows the token, to whoever knows it too and has chosen one of the nonces.
func proof(token []byte, who, agentNonce, coordinatorNonce string) string {
	m := hmac.New(sha256.New, token)
	_, _ = fmt.Fprintf(m, "sockload %s\n%s\n%s", who, agentNonce, coordinatorNonce)
	return hex.EncodeToString(m.Sum(nil))
}

// proves tells whether a proof is that one, in a time that does not depend on where they differ.
func proves(got, want string) bool { return hmac.Equal([]byte(got), []byte(want)) }

const asAgent, asCoordinator = "agent", "coordinator"

var (
	errNoAgent = errors.New("what listens there is no sockload agent")
	errToken   = errors.New("the token is another one: give both the same file with --token-file")
)

// greet is the coordinator's side of the beginning.
func (c *control) greet(token []byte, version string) error {
	var agent, last hello
	if err := c.receive(&agent, helloTime, helloBytesMax); err != nil || len(agent.Nonce) != 2*nonceBytes {
		return fmt.Errorf("%w (%v)", errNoAgent, err)
	}
	if agent.Version != version {
		return fmt.Errorf("it is sockload %.60q and this is %q: install the same version on both",
			agent.Version, version)
	}
	own := hello{Version: version, Nonce: newNonce()}
	own.Proof = proof(token, asCoordinator, agent.Nonce, own.Nonce)
	if err := c.send(own); err != nil {
		return err
	}
	switch err := c.receive(&last, helloTime, helloBytesMax); {
	case err != nil:
		return err
	case last.Refused != "":
		return errors.New(last.Refused)
	case !proves(last.Proof, proof(token, asAgent, agent.Nonce, own.Nonce)):
		return errToken
	}
	return nil
}

// welcome is the agent's side of it. admit says why the coordinator is not admitted although it has shown the token.
func (c *control) welcome(token []byte, version string, admit func() error) error {
	own := hello{Version: version, Nonce: newNonce()}
	if err := c.send(own); err != nil {
		return err
	}
	var peer hello
	if err := c.receive(&peer, helloTime, helloBytesMax); err != nil || len(peer.Nonce) != 2*nonceBytes {
		return fmt.Errorf("no coordinator: %v", err)
	}
	err := error(nil)
	switch {
	case !proves(peer.Proof, proof(token, asCoordinator, own.Nonce, peer.Nonce)):
		err = errToken
	case peer.Version != version:
		err = fmt.Errorf("the coordinator is sockload %.60q and this is %q: install the same version on both",
			peer.Version, version)
	default:
		err = admit()
	}
	if err != nil {
		_ = c.send(hello{Refused: err.Error()})
		return err
	}
	return c.send(hello{Proof: proof(token, asAgent, own.Nonce, peer.Nonce)})
}
