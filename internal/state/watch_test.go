package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDamageIsNoticed damages the database while it is open: from the next look on no
// change is acknowledged, and what is wrong is said.
func TestDamageIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(file string) error
		says  string
	}{
		"deleted": {os.Remove, "gone"},
		"replaced": {func(file string) error {
			_ = os.Rename(file, file+".old")
			return os.WriteFile(file, nil,
				0o600)
		}, "replaced"},
		"emptied": {func(file string) error { return os.Truncate(file, 0) }, "emptied"},
		"cut":     {func(file string) error { return os.Truncate(file, 3*4096) }, "damaged"},
		"overwritten": {func(file string) error {
			return os.WriteFile(file, []byte(strings.Repeat("garbage ", 4096)),
				0o600)
		}, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			d := open(t, dir)
			if err := d.Check(); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(filepath.Join(dir, "loragate.db")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := d.Check(); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatal(err)
				}
			}
			for what, err := range map[string]error{"a record": d.Apply(Update{Put: []Adapter{record("", "a", "")}}),
				"a key": d.PutKey(APIKey{ID: "x"}), "a revocation": d.DeleteKey("x")} {
				if err == nil {
					t.Errorf("%s is acknowledged", what)
				}
			}
		})
	}
}
