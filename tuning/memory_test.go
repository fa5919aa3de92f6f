package tuning

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryIsTheLeastOfTheCgroups(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	inner := filepath.Join(root, "system.slice", "sockloop.service")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(root, "self")
	for file, content := range map[string]string{
		self: "0::/system.slice/sockloop.service\n",
		filepath.Join(root, "system.slice", "memory.max"): "4096\n",
		filepath.Join(inner, "memory.max"):                "max\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := cgroupMemory(self, root); n != 4096 || err != nil {
		t.Errorf("%d %v, want the outer cgroup's limit", n, err)
	}
	if err := os.WriteFile(filepath.Join(inner, "memory.max"), []byte("1024\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := cgroupMemory(self, root); n != 1024 || err != nil {
		t.Errorf("%d %v, want the inner cgroup's limit", n, err)
	}
	if err := os.WriteFile(self, []byte("4:memory:/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := cgroupMemory(self, root); err == nil {
		t.Errorf("%d of a cgroup of version 1", n)
	}
	if n, err := Memory(); n < 64<<20 || err != nil {
		t.Errorf("this machine has %d bytes (%v)", n, err)
	}
}
