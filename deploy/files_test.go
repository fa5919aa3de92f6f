package deploy_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settings are the values of a setting in a unit, with %i filled in.
func settings(unit, name string) (values []string) {
	for line := range strings.Lines(strings.ReplaceAll(unit, "%i", "0")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			values = append(values, value)
		}
	}
	return values
}

// The unit's command line is one of the program, and its variables are those of flags.
func TestUnitStartsTheProgram(t *testing.T) {
	t.Parallel()
	unit := read(t, "systemd/sockloop@.service")
	command := strings.Fields(settings(unit, "ExecStart")[0])
	if command[0] != "/usr/local/bin/sockloop" {
		t.Errorf("the program is %s, which make install does not know", command[0])
	}
	variables := strings.Fields(settings(unit, "Environment")[0])
	startWith(t, command[1:], variables)
	for _, v := range variables {
		isVariable(t, v)
	}
}

// systemd itself takes the unit, with the program where make install has put it.
func TestUnitIsVerified(t *testing.T) {
	t.Parallel()
	analyze := look(t, "systemd-analyze", "systemd")
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(read(t, "systemd/sockloop@.service"), "/usr/local/bin/sockloop", bin)
	path := write(t, filepath.Join(t.TempDir(), "sockloop@0.service"), []byte(unit))
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The unit lets the program make the system calls that it makes.
func TestUnitAllowsTheSystemCalls(t *testing.T) {
	t.Parallel()
	analyze, strace := look(t, "systemd-analyze", "systemd"), look(t, "strace", "strace")
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	var set func(filter string) []string
	set = func(filter string) (calls []string) {
		if !strings.HasPrefix(filter, "@") {
			return []string{filter}
		}
		out, err := exec.Command(analyze, "syscall-filter", filter).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if call, ok := strings.CutPrefix(line, "    "); ok && !strings.HasPrefix(call, "#") {
				calls = append(calls, set(strings.TrimSpace(call))...)
			}
		}
		return calls
	}
	allowed := map[string]bool{}
	for _, filter := range settings(read(t, "systemd/sockloop@.service"), "SystemCallFilter") {
		denied := strings.HasPrefix(filter, "~")
		for _, f := range strings.Fields(strings.TrimPrefix(filter, "~")) {
			for _, call := range set(f) {
				allowed[call] = !denied
			}
		}
	}
	trace := filepath.Join(t.TempDir(), "trace")
	listens(t, nil, strace, "-f", "-o", trace, bin, "serve", "--cpu", "0", "--share-port", "--compress")
	used := regexp.MustCompile(`(?m)^\d+ +(\w+)\(`).FindAllStringSubmatch(read(t, trace), -1)
	if len(used) < 100 {
		t.Fatalf("%d system calls were seen", len(used))
	}
	for _, call := range used {
		if !allowed[call[1]] {
			t.Errorf("the program calls %s, which the unit forbids", call[1])
			allowed[call[1]] = true
		}
	}
}

// isVariable checks that a variable of the environment is that of a flag.
func isVariable(t *testing.T, assignment string) {
	t.Helper()
	name, _, _ := strings.Cut(assignment, "=")
	if !slices.Contains(variables(t), name) {
		t.Errorf("%s is the variable of no flag", name)
	}
}

// composeFile is what of a compose file is looked at.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Volumes     []string
		Secrets     []string
		DependsOn   []string `yaml:"depends_on"`
		Build       struct{ Context, Dockerfile string }
	}
	Secrets map[string]struct{ File string }
}

// The compose file names what there is: files, secrets, services, flags, and versions of images.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	var c composeFile
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	haproxy := read(t, "haproxy/haproxy.cfg")
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			if _, err := os.Stat(strings.Split(v, ":")[0]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" {
				t.Errorf("%s: there is no secret %s", name, secret)
			}
		}
		for _, other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		switch {
		case s.Build.Dockerfile != "":
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for variable := range s.Environment {
				isVariable(t, variable)
			}
			startWith(t, s.Command, nil)
		case !regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(s.Image):
			t.Errorf("%s: %s is no exact version", name, s.Image)
		}
	}
	for variable, value := range c.Services["haproxy"].Environment {
		if !strings.Contains(haproxy, "presetenv "+variable+" ") {
			t.Errorf("haproxy.cfg does not know %s", variable)
		}
		if host, port, ok := strings.Cut(value, ":"); ok && host != "" {
			if _, ok := c.Services[host]; !ok || port != "8080" {
				t.Errorf("%s: nobody is at %s", variable, value)
			}
		}
	}
}

// Prometheus takes its configuration.
func TestPrometheusConfig(t *testing.T) {
	t.Parallel()
	promtool := look(t, "promtool", "prometheus")
	check := exec.Command(promtool, "check", "config", "--syntax-only", "prometheus/prometheus.yaml")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.RuleFiles) == 0 {
		t.Error("no rules are loaded")
	}
	for _, file := range config.RuleFiles {
		if out, err := exec.Command(promtool, "check", "rules", "prometheus/"+file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// The image has nothing but static programs, which run as nobody in particular. Nothing here can build it, so its
// commands are run as they stand.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	file := read(t, "Dockerfile")
	_, image, ok := strings.Cut(file, "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image is not from scratch")
	}
	command := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 .*go build.*)$`).FindStringSubmatch(file)
	if command == nil {
		t.Fatal("the programs are not built without cgo")
	}
	out := t.TempDir()
	build := exec.Command("sh", "-c", strings.Replace(command[1], "/out/", out+"/", 1))
	build.Dir, build.Env = "..", append(os.Environ(), "TARGETARCH=arm64")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	entry := regexp.MustCompile(`(?m)^ENTRYPOINT \["/usr/bin/(\w+)"\]$`).FindStringSubmatch(image)
	if entry == nil || !regexp.MustCompile(`(?m)^USER [1-9]\d*:[1-9]\d*$`).MatchString(image) ||
		!strings.Contains(image, "COPY --from=build /out/ /usr/bin/\n") {
		t.Fatalf("no program, or one that is run by root:\n%s", image)
	}
	program, err := elf.Open(filepath.Join(out, entry[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close() //nolint:errcheck // only read from
	libraries, err := program.ImportedLibraries()
	if program.Machine != elf.EM_AARCH64 || len(libraries) > 0 || err != nil {
		t.Errorf("a program for %v that needs %v, %v", program.Machine, libraries, err)
	}
	for _, v := range regexp.MustCompile(`(?m)^ENV (\S+)$`).FindAllStringSubmatch(image, -1) {
		isVariable(t, v[1])
	}
	version := regexp.MustCompile(`golang:(\d+\.\d+)\.\d+-`).FindStringSubmatch(file)
	if version == nil || !strings.Contains(read(t, "../go.mod"), "\ngo "+version[1]+".") {
		t.Errorf("the image is built with Go %v, and go.mod wants another", version)
	}
}
