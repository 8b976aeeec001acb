package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/config"
)

func TestMemoryOfTheMachine(t *testing.T) {
	const machine = "MemFree: 1 kB\nMemTotal:       16777216 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing is told":     {nil, someMemory},
		"the machine":         {map[string]string{"proc/meminfo": machine}, 16 << 30},
		"a container":         {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		"a group without one": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/memory.max": "max\n"}, 16 << 30},
		"a slice above":       {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/memory.max": "2147483648\n"}, 2 << 30},
		"the older kind":      {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "3221225472\n"}, 3 << 30},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := memory(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		for set, want := range map[int64]int64{0: c.want / 4, 1 << 20: 1 << 20} {
			if got := bodyMemory(&config.Config{Limits: config.Limits{Body: 1 << 10, Memory: set}}, root); got != want {
				t.Errorf("%s, set to %d: %d, want %d", name, set, got, want)
			}
		}
	}
}
