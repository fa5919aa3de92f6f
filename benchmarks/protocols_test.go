package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sockloop/sockloop/loadclient"
)

// sockload and sockloop understand each other in every protocol: nothing is lost, repeated or out of order, though each
// stream has to be asked for again many times.
func TestProtocols(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, program := range []string{"../server/cmd/sockloop", "../loadclient/cmd/sockload"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, filepath.Base(program)), program).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	b := bench{flags: flags{Bin: bin}}
	for _, protocol := range loadclient.Protocols() {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s, err := b.start(context.Background(), contestant{program: "sockloop"}, "--response-limit=4096")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.stop)
			target := "ws://" + s.addr + "/broadcast"
			if protocol == string(loadclient.WebSocket) {
				target += "/websocket"
			}
			cmd := exec.Command(filepath.Join(bin, "sockload"), "trial", "--target", target, "--protocol", protocol,
				"--connections", "20", "--rate", "100000", "--window", "500ms", "--json")
			var out, log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &log
			if err := measured(cmd.Run()); err != nil {
				t.Fatalf("%v\n%s%s", err, out.String(), log.String())
			}
			var got loadclient.Trial
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Sent != 2500 || got.Received != 50_000 || got.Lost+got.Duplicated+got.Reordered+got.Foreign+got.Stragglers+got.NotCompleted != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
