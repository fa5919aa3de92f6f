package deploy_test

import (
	"archive/zip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What git knows of here is a module from which `go install …@version` makes both programs, as README and docs say:
// nothing that they need is missing from it, and go.mod has nothing that go refuses in a module of somebody else.
func TestGoInstall(t *testing.T) {
	t.Parallel()
	git := look(t, "git", "git")
	list, err := exec.Command(git, "-C", "..", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("this is no git repository, so it is not known what belongs to it: %v", err)
	}
	const module, version = "github.com/sockloop/sockloop", "v0.0.0-test"
	proxy := t.TempDir()
	versions := filepath.Join(proxy, module, "@v")
	if err := os.MkdirAll(versions, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(versions, "list"), []byte(version+"\n"))
	write(t, filepath.Join(versions, version+".info"), []byte(`{"Version":"`+version+`"}`))
	write(t, filepath.Join(versions, version+".mod"), []byte(read(t, "../go.mod")))
	zipModule(t, filepath.Join(versions, version+".zip"), module+"@"+version+"/", strings.Split(string(list), "\x00"))
	cache, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	fetched, proxies, _ := strings.Cut(strings.TrimSpace(string(cache)), "\n")
	bin := t.TempDir()
	install := exec.Command("go", "install", module+"/server/cmd/sockloop@"+version,
		module+"/loadclient/cmd/sockload@"+version)
	install.Dir = bin
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GONOSUMDB="+module, "CGO_ENABLED=0",
		"GOFLAGS=-trimpath -modcacherw",
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(fetched, "cache", "download")+","+proxies)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, program := range []string{"sockloop", "sockload"} {
		out, err := exec.Command(filepath.Join(bin, program), "--version").Output()
		if err != nil || !strings.Contains(string(out), version) {
			t.Errorf("%s --version: %q %v, want %s", program, out, err, version)
		}
	}
}

// zipModule makes a module's archive of the files that belong to it: not those of other modules within.
func zipModule(t *testing.T, path, prefix string, files []string) {
	t.Helper()
	to, err := os.Create(path) //nolint:gosec // the test's own
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(to)
	var others []string
	for _, file := range files {
		if dir, ok := strings.CutSuffix(file, "/go.mod"); ok {
			others = append(others, dir+"/")
		}
	}
	for _, file := range files {
		if within(others, file) {
			continue
		}
		content, err := os.ReadFile(filepath.Join("..", file)) //nolint:gosec // a file of this repository
		if os.IsNotExist(err) || file == "" {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		w, err := archive.Create(prefix + file)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{archive, to} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func within(dirs []string, file string) bool {
	for _, dir := range dirs {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}
