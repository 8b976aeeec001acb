package hostmem

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	const gib = 1 << 30
	machine := map[string]string{"proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 " +
		"kB\n"}
	for name, c := range map[string]struct {
		files map[string]string
		want  Memory
	}{
		"the machine": {nil, Memory{16 * gib, 8 * gib}},
		"a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n",
			"sys/fs/cgroup/memory.current": "536870912\n",
		}, Memory{gib, gib / 2}},
		"pages of files": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2147483648\n",
			"sys/fs/cgroup/memory.current": "2147483648\n",
			"sys/fs/cgroup/memory.stat":    "anon 5\nfile 9\ninactive_file 536870912\nactive_file 536870912\n",
		}, Memory{2 * gib, gib}},
		"a group that tells no use": {map[string]string{"proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "1073741824\n"}, Memory{gib, 8 * gib}},
		"a group without a limit": {map[string]string{"proc/self/cgroup": "0::/a.slice/b\n",
			"sys/fs/cgroup/a.slice/b/memory.max": "max\n"}, Memory{16 * gib, 8 * gib}},
		"a service": {map[string]string{
			"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/memory.max": "4294967296\n",
			"sys/fs/cgroup/a.slice/b/memory.current": "1073741824\n",
		}, Memory{4 * gib, 3 * gib}},
		"a slice above": {map[string]string{
			"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/memory.max": "2147483648\n",
			"sys/fs/cgroup/a.slice/memory.current": "3221225472\n",
		}, Memory{2 * gib, 0}},
		"the older kind": {map[string]string{
			"proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "3221225472\n",
			"sys/fs/cgroup/memory/x/memory.usage_in_bytes": "2147483648\n",
			"sys/fs/cgroup/memory/x/memory.stat":           "inactive_file 1\ntotal_inactive_file 1073741824\n",
		}, Memory{3 * gib, 2 * gib}},
	} {
		files := maps.Clone(machine)
		maps.Copy(files, c.files)
		root := t.TempDir()
		for path, text := range files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Read(root); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	if m, err := Read(t.TempDir()); err == nil {
		t.Errorf("nothing is told: %+v", m)
	}
}

func TestPrivate(t *testing.T) {
	if n, err := Private(os.Getpid()); err != nil || n <= 0 {
		t.Errorf("this process has %d bytes, %v", n, err)
	}
}
