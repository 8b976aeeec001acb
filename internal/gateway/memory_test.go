package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/config"
)

func TestMemoryForBodies(t *testing.T) {
	nothing, machine := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(machine, "proc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(machine, "proc", "meminfo"),
		[]byte("MemTotal: 16777216 kB\nMemAvailable: 1024 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		limits config.Limits
		root   string
		want   int64
	}{
		"a share":         {config.Limits{Body: 1 << 10}, machine, 4 << 30},
		"nothing is told": {config.Limits{Body: 1 << 10}, nothing, someMemory / 4},
		"what is set":     {config.Limits{Body: 1 << 10, Memory: 1 << 20}, machine, 1 << 20},
		"a large body":    {config.Limits{Body: 8 << 30}, machine, config.MemoryFactor * 8 << 30},
	} {
		if got := bodyMemory(&config.Config{Limits: c.limits}, c.root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
