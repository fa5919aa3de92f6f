package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// With a turn that one message fills, a session publishes one message a turn. Everybody's arrive all the same.
func TestPublishersWaitForTheNextTurn(t *testing.T) {
	t.Parallel()
	const publishers, each = 3, 50
	r := start(t, server.Config{TurnBytesMax: 1})
	var all []*client
	for range publishers {
		all = append(all, r.join(t, "/broadcast"))
	}
	payload := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, each), ",") + "]"
	before := r.stats(t).Turns
	for _, c := range all {
		c.send(payload)
	}
	for _, c := range all {
		c.messages(publishers * each)
	}
	if turns := r.stats(t).Turns - before; turns < each {
		t.Errorf("%d messages of each publisher left in %d turns", each, turns)
	}
}

// While more is published than turns can send, for OverloadAfter, newcomers are refused; whoever publishes nothing is
// served, and afterwards everybody is welcome.
func TestNewcomersAreRefusedUnderOverload(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{TurnBytesMax: 1, OverloadAfter: time.Millisecond})
	calm, reader := r.join(t, "/echo"), r.join(t, "/broadcast")
	publishers := []*client{r.join(t, "/broadcast"), r.join(t, "/broadcast")}
	payload := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, 1000), ",") + "]"
	refused, sent := false, 0
	for end := time.Now().Add(10 * time.Second); !refused && time.Now().Before(end); sent += 1000 * len(publishers) {
		for _, c := range publishers {
			c.send(payload)
		}
		calm.send(`["still here"]`)
		calm.expect(`a["still here"]`)
		status, _ := r.dial(t).answer("POST", fmt.Sprintf("/echo/0/%d/xhr", sent), "")
		refused = status == http.StatusServiceUnavailable
		for _, c := range append(publishers, reader) {
			c.messages(1000 * len(publishers))
		}
	}
	if st := r.stats(t); !refused || st.RefusedForLoad == 0 {
		t.Fatalf("nobody was refused under %d messages: %+v", sent, st)
	}
	for n := 0; ; n++ {
		if status, _ := r.dial(t).answer("POST", fmt.Sprintf("/echo/0/again%d/xhr", n), ""); status == http.StatusOK {
			return
		}
	}
}

// With a batch that one message fills, each leaves in a frame of its own, which is what --gather=off is.
func TestMessagesThatAreNotGathered(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{BatchBytesMax: 1})
	c := r.join(t, "/broadcast")
	c.send(`["a","b"]`)
	c.expect(`a["a"]`)
	c.expect(`a["b"]`)
}
