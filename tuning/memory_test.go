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
	if err := os.WriteFile(self, []byte("2:cpu,cpuacct:/system.slice\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := cgroupMemory(self, root); err == nil {
		t.Errorf("%d of a cgroup that is not of memory", n)
	}
}

// Version 1 has a tree for each controller, and a container sees its own cgroup as the root of it.
func TestMemoryOfACgroupOfVersion1(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "memory"), 0o700); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(root, "self")
	for file, content := range map[string]string{
		self: "5:hugetlb,memory:/docker/3f61\n2:cpu:/docker/3f61\n0::/docker/3f61\n",
		filepath.Join(root, "memory", "memory.limit_in_bytes"): "8192\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := cgroupMemory(self, root); n != 8192 || err != nil {
		t.Errorf("%d %v, want the container's limit", n, err)
	}
}

func TestMemoryOfThisMachine(t *testing.T) {
	t.Parallel()
	if n, err := Memory(); n < 64<<20 || err != nil {
		t.Errorf("this machine has %d bytes (%v)", n, err)
	}
}
