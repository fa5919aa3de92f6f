package conformance

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// different are the checks that sockjs-node 0.3.24 does not pass, and why. None of them is in the protocol's own suite.
var different = map[string]string{
	"TestPoint04Bodies/pipelined": "Node hands out the next request while the first waits, so a poll behind a poll " +
		"is told that another connection is open",
	"TestPoint13NotStrings": "it makes strings of what is none; ours refuses the payload",
	"TestPoint13XHRSend": "it takes a body that claims to be a form for one; ours reads any Content-Type as " +
		"JSON, as its browsers' clients mean it",
	"TestPoint17HTMLFile": "it does not escape < in scripts: a message </script> breaks out of the frame",
	"TestPoint18JSONP":    "it calls a callback without a name",
	"TestPoint25Handshake": "0.3 has another text for a plain GET; ours is that of 0.2 and of the protocol's " +
		"old suite",
	"TestPoint27RawWebSocket": "binary comes back as text",
	"TestPoint28Versions":     "clients of hybi-10 are refused, and 400 stands for 426",
	"TestPoint29Escaping":     "surrogate pairs leave escaped: legal, and more than browsers ask for",
	"TestPoint29Surrogates":   "the same",
}

var failure = regexp.MustCompile(`^ *--- FAIL: (\S+)`)

// The suite is run against sockjs-node, from which the protocol is written down: it passes all but the explained
// checks, and so these checks can fail.
func TestSockJSNode(t *testing.T) {
	if *targetURL != "" {
		t.Skip("this is a server of -url itself")
	}
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed (Debian: nodejs npm)")
	}
	if _, err := os.Stat("../interop/node_modules/sockjs"); err != nil {
		t.Skip("the npm packages are not installed (npm ci in server/interop)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "sockjs-node.mjs", "2000", "1000")
	node.Dir, node.Stderr = "../interop", os.Stderr
	in, errIn := node.StdinPipe()
	out, errOut := node.StdoutPipe()
	if err := errors.Join(errIn, errOut, node.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = node.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("sockjs-node does not start: %v", err)
	}
	suite := exec.CommandContext(ctx, os.Args[0], "-test.v", "-url=http://127.0.0.1:"+strings.TrimSpace(port),
		"-heartbeat-delay=2s", "-disconnect-delay=1s")
	log, err := suite.CombinedOutput()
	failed := map[string]bool{}
	for line := range strings.SplitSeq(string(log), "\n") {
		if m := failure.FindStringSubmatch(line); m != nil {
			failed[m[1]] = true
		}
	}
	if err == nil || len(failed) == 0 {
		t.Fatalf("the suite ended with %v and these failures: %v\n%s", err, failed, log)
	}
	for name := range different {
		if !failed[name] {
			t.Errorf("%s passes: it is no difference any more", name)
		}
		parent, _, _ := strings.Cut(name, "/")
		delete(failed, parent)
		delete(failed, name)
	}
	if len(failed) > 0 {
		t.Errorf("not explained: %v\n%s", failed, log)
	}
}
