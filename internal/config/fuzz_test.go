package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad checks that no file and no variable makes load panic, and that it
// answers with either a Config or an error.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, "GATEWAY_WORKERS_ARGS", "[-ngl, '99']")
		}
	}
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte, name, value string) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		environ := []string{name + "=" + value}
		for _, l := range leaves() {
			if strings.HasSuffix(l.variable, name) {
				environ = append(environ, l.variable+"="+value)
			}
		}
		c, err := load(path, environ)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v, %v", c, err)
		}
	})
}
