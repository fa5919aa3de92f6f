package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// grammar has one of everything that a program declares.
type grammar struct {
	Config string `help:"A file." placeholder:"FILE"`

	Serve struct {
		Addr    string `help:"It's [an] address: C:\\here, 'quoted'." default:"here"`
		Policy  string `help:"…" enum:"close,skip" default:"close"`
		Fast    bool   `help:".starts with a dot"`
		Sockets bool   `help:"Sockets." negatable:""`
		Secret  string `hidden:""`
	} `cmd:"" default:"withargs" help:"Serve."`
	Doctor     struct{}   `cmd:"" help:"Look."`
	Completion Completion `cmd:"" help:"Complete."`
	Man        Man        `cmd:"" help:"Manual."`
}

func model(t *testing.T, out io.Writer, args ...string) *kong.Kong {
	t.Helper()
	parser, err := kong.New(&grammar{}, kong.Name("prog"), kong.Description("A program."), kong.DefaultEnvars("PROG"),
		kong.Writers(out, out))
	if err != nil {
		t.Fatal(err)
	}
	if len(args) > 0 {
		k, err := parser.Parse(args)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Run(); err != nil {
			t.Fatal(err)
		}
	}
	return parser
}

// tool is a program that the test needs.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s: install the Debian package %s", name, pkg)
	}
	return path
}

// script is what a command prints, in a file.
func script(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	model(t, &out, args...)
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const commandsAndFlags = "serve doctor completion man --help --config --addr --policy --fast --sockets --no-sockets"

// completions are lines and what they are completed with.
var completions = []struct{ line, want string }{
	{"prog ", commandsAndFlags},
	{"prog --po", "--policy"},
	{"prog --policy ", "close skip"},
	{"prog --policy=", "close skip"},
	{"prog --policy=s", "skip"},
	{"prog serve --no", "--no-sockets"},
	{"prog serve d", ""},
	{"prog doctor ", "--help --config"},
	{"prog completion ", "bash zsh fish --help --config"},
	{"prog --config ", ""},
	{"prog --se", ""}, // hidden
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash := tool(t, "bash", "bash")
	file := script(t, "completion", "bash")
	for _, tt := range completions {
		words := strings.Split(strings.ReplaceAll(tt.line, "=", " = "), " ")
		if strings.HasSuffix(tt.line, "=") {
			words = words[:len(words)-1] // the sign is the last word, as bash has it
		}
		args := append([]string{"-c", `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _prog
			echo "${COMPREPLY[@]}"`, file}, words...)
		out, err := exec.Command(bash, args...).CombinedOutput()
		if got := sorted(string(out)); err != nil || got != sorted(tt.want) {
			t.Errorf("%q: %v %q, want %q", tt.line, err, got, tt.want)
		}
	}
	out, err := exec.Command(bash, "-c", `source "$0"; complete -p prog`, file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-F _prog") {
		t.Errorf("not registered: %v %s", err, out)
	}
}

func sorted(words string) string {
	all := strings.Fields(words)
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestFishCompletes(t *testing.T) {
	t.Parallel()
	fish := tool(t, "fish", "fish")
	file := script(t, "completion", "fish")
	for line, want := range map[string]string{
		"prog ": "serve doctor completion man", "prog --po": "--policy", "prog --policy ": "close skip",
		"prog doctor --ad": "", "prog serve --no-s": "--no-sockets", "prog completion ": "bash zsh fish",
	} {
		ask := `source $argv[1]; complete -C $argv[2] | string split -f 1 \t`
		out, err := exec.Command(fish, "--no-config", "-c", ask, file, line).CombinedOutput()
		if want = sorted(want); want != "" && err != nil || sorted(string(out)) != want {
			t.Errorf("%q: %v %q, want %q", line, err, out, want)
		}
	}
}

func TestZshReadsTheScript(t *testing.T) {
	t.Parallel()
	zsh := tool(t, "zsh", "zsh")
	file := script(t, "completion", "zsh")
	// What _arguments is handed is seen by one of our own.
	out, err := exec.Command(zsh, "-f", "-c", `compdef() { registered=$* }; source $1; _arguments() { print -l -- "$@" }
		words=(prog --po) CURRENT=2; _prog; print $registered`, "zsh", file).CombinedOutput()
	for _, want := range []string{
		`--addr=[It's \[an\] address: C:\\here, 'quoted'.]:addr:_files`, "--policy=[…]:policy:(close skip)",
		"--no-sockets[Not: Sockets.]", "_prog prog",
	} {
		if err != nil || !slices.Contains(strings.Split(string(out), "\n"), want) {
			t.Errorf("%v, no %s in\n%s", err, want, out)
		}
	}
}

func TestUnknownShell(t *testing.T) {
	t.Parallel()
	err := WriteCompletion(io.Discard, "tcsh", model(t, io.Discard).Model)
	if err == nil || !strings.Contains(err.Error(), "want bash, zsh or fish") {
		t.Errorf("got %v", err)
	}
}

// The page has every flag that is not hidden, and groff finds nothing to complain of.
func TestManPage(t *testing.T) {
	t.Parallel()
	groff := tool(t, "groff", "groff")
	page := exec.Command(groff, "-man", "-ww", "-Tutf8", "-P-c", "-P-b", "-P-u", script(t, "man"))
	var out, complaints bytes.Buffer
	page.Stdout, page.Stderr = &out, &complaints
	if err := page.Run(); err != nil || complaints.Len() > 0 {
		t.Fatalf("%v %s", err, complaints.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"prog - A program", "serve (if no command is named) Serve.", "completion SHELL Complete.", "--config=FILE",
		`--addr="here" It's [an] address: C:\here, 'quoted'. Default: here. Variable: PROG_ADDR.`, "… Default: close.",
		"--fast .starts with a dot", "--sockets, --no-sockets Sockets.", "FLAGS OF SERVE",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("a hidden flag is on the page")
	}
}
