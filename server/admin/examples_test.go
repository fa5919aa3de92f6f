package admin_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/admin"
)

// examples are the fenced blocks of docs/admin.md in a language.
func examples(t *testing.T, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "\n```") {
		if code, ok := strings.CutPrefix(part, language+"\n"); ok && i%2 == 1 {
			blocks = append(blocks, code)
		}
	}
	return blocks
}

const exampleToken = "a token for examples"

// example runs a program with its text in a file, and returns what it printed.
func (r *running) example(t *testing.T, text, file string, command ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), command[0], append(command[1:], path)...)
	c.Env = append(os.Environ(), "SOCKLOOP_ADMIN="+r.url, "SOCKLOOP_ADMIN_TOKEN="+exampleToken)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// The examples of docs/admin.md do what they say: a client receives what they publish.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		language, name, file, debian string
		command                      []string
		prints                       string
	}{
		{"sh", "curl", "example.sh", "curl", []string{"sh", "-eu"}, `{"messages":2,"subscribers":1}`},
		{"python", "Python", "example.py", "python3", []string{"python3"}, `{'messages': 2, 'subscribers': 1}`},
		{"javascript", "JavaScript", "example.mjs", "nodejs", []string{"node"}, `{ messages: 2, subscribers: 1 }`},
		{"go", "Go", "main.go", "golang", []string{"go", "run"}, "sent to 1 subscribers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tool(t, tt.command[0], tt.debian)
			if tt.language == "sh" {
				tool(t, "curl", "curl")
			}
			r := start(t, server.Config{}, admin.Options{Token: exampleToken})
			c := r.join(t)
			out := r.example(t, examples(t, tt.language)[0], tt.file, tt.command...)
			if !strings.Contains(out, tt.prints) {
				t.Errorf("it printed %s, want %s", out, tt.prints)
			}
			c.expect(t, "from "+tt.name)
			c.expectTemperature(t)
		})
	}
}

func (c client) expectTemperature(t *testing.T) {
	t.Helper()
	_, got, err := c.Read(t.Context())
	var message struct{ Temperature int }
	if err != nil || json.Unmarshal(got, &message) != nil || message.Temperature != 21 {
		t.Errorf("a client received %s %v", got, err)
	}
}

// The other requests, by curl: they end with a drain.
func TestExampleRequests(t *testing.T) {
	t.Parallel()
	tool(t, "curl", "curl")
	r := start(t, server.Config{}, admin.Options{Token: exampleToken})
	c := r.join(t)
	gone := make(chan error, 1)
	go func() {
		_, _, err := c.Read(t.Context())
		gone <- err
	}()
	out := r.example(t, examples(t, "sh")[1], "example.sh", "sh", "-eu")
	for _, want := range []string{
		`{"ready":true}`, `"messages_received":0`, `"name":"broadcast"`, `"transport":"websocket-raw"`,
		"sockloop_messages_published_total 0", `{"draining":true}`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it printed no %s: %s", want, out)
		}
	}
	if err := <-gone; websocket.CloseStatus(err) != server.CodeGoAway {
		t.Errorf("the client was closed with %v", err)
	}
	r.stop()
}
