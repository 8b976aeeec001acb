package state

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/fulldisk"
)

// stocked is a state with adapters and keys on a disk, closed.
func stocked(t *testing.T, dir string) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		a := record("api", fmt.Sprint("a", i), strings.Repeat("x", 2000))
		if err := errors.Join(d.Apply(Update{Put: []Adapter{a}}), d.PutKey(APIKey{ID: fmt.Sprint("k", i)})); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// counts returns how many adapters and keys there are.
func counts(t *testing.T, d *DB) (adapters, keys int) {
	t.Helper()
	a, err := d.Adapters()
	k, err2 := d.Keys()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return len(a), len(k)
}

// wantFull fails if a change is taken on a full disk, or refused with other words.
func wantFull(t *testing.T, d *DB) {
	t.Helper()
	adapters, keys := counts(t, d)
	for what, err := range map[string]error{
		"an adapter": d.Apply(Update{Put: []Adapter{record("", "new", strings.Repeat("x", 100_000))}}),
		"a key":      d.PutKey(APIKey{ID: "new", Label: strings.Repeat("x", 100_000)}),
	} {
		var full *FullError
		if !errors.As(err, &full) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a, k := counts(t, d); a != adapters || k != keys {
		t.Errorf("there are %d adapters and %d keys, of %d and %d: something is half done", a, k, adapters, keys)
	}
	if !d.Trouble().Full {
		t.Error("it is not known that the disk is full")
	}
}

// TestFullDisk opens a state on a disk without a free byte: it is read, each removal is
// done, nothing is added; and all is well once there is room, without another start.
func TestFullDisk(t *testing.T) {
	disk := fulldisk.New(t, "4m")
	if disk == nil {
		return
	}
	dir := filepath.Join(disk.Dir, "state")
	stocked(t, dir)
	disk.Fill()
	for round := range 3 { // each start and each removal leaves room for the next one
		d := open(t, dir)
		if a, k := counts(t, d); a != 20-6*round || k != 20-6*round {
			t.Fatalf("round %d: %d adapters and %d keys", round, a, k)
		}
		if token, _, err := d.Token(); err != nil || token == "" {
			t.Errorf("the token: %v", err)
		}
		for i := range 6 {
			wantFull(t, d)
			n := fmt.Sprint(6*round + i)
			if err := errors.Join(d.Apply(Update{Forget: []Key{{"api", "a" + n}}}), d.DeleteKey("k"+n)); err != nil {
				t.Fatalf("removing %s: %v", n, err)
			}
			disk.Fill() // somebody else takes what has become free
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		disk.Fill()
	}
	d := open(t, dir)
	if a, k := counts(t, d); a != 2 || k != 2 {
		t.Errorf("%d adapters and %d keys are left", a, k)
	}
	disk.Empty()
	if err := errors.Join(d.Room(), d.PutKey(APIKey{ID: "new"}),
		d.Apply(Update{Put: []Adapter{record("", "new", "")}})); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if d.Trouble().Full {
		t.Error("the disk is still taken for full")
	}
}

// TestFullDiskWithoutReserve opens a state whose reserve is gone: it can be read, also
// what only the database's log has, and nothing else.
func TestFullDiskWithoutReserve(t *testing.T) {
	disk := fulldisk.New(t, "4m")
	if disk == nil {
		return
	}
	dir := filepath.Join(disk.Dir, "state")
	stocked(t, dir)
	if err := os.Remove(filepath.Join(dir, "reserve")); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	d := open(t, dir)
	wantFull(t, d)
	if a, _ := counts(t, d); a != 20 {
		t.Errorf("%d adapters", a)
	}
	var full *FullError
	if err := d.Apply(Update{Forget: []Key{{"api", "a1"}}}); !errors.As(err, &full) {
		t.Errorf("a removal: %v", err)
	}
	disk.Empty()
	if err := errors.Join(d.Apply(Update{Forget: []Key{{"api", "a1"}}}), d.PutKey(APIKey{ID: "new"}),
		d.Check()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if d.Trouble().Full {
		t.Error("the disk is still taken for full")
	}
}

// TestFullDiskWithNothing says what is wrong where there was nothing before.
func TestFullDiskWithNothing(t *testing.T) {
	disk := fulldisk.New(t, "4m")
	if disk == nil {
		return
	}
	disk.Fill()
	var full *FullError
	if _, err := Open(filepath.Join(disk.Dir, "state")); !errors.As(err, &full) {
		t.Errorf("%v", err)
	}
}

// TestDiskThatFillsUp writes until nothing more can be, with others taking what little is
// left, and then removes: there is room for that.
func TestDiskThatFillsUp(t *testing.T) {
	disk := fulldisk.New(t, "4m")
	if disk == nil {
		return
	}
	dir := filepath.Join(disk.Dir, "state")
	stocked(t, dir)
	d := open(t, dir)
	written := 0
	var err error
	for ; err == nil; written++ {
		err = d.Write(func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO keys (id, record) VALUES (?, ?)", fmt.Sprint("w", written),
				`{"ID":"`+strings.Repeat("w", 3000)+`"}`)
			return err
		})
	}
	var full *FullError
	if !errors.As(err, &full) {
		t.Fatal(err)
	}
	disk.Fill()
	if _, k := counts(t, d); k != 20+written-1 {
		t.Errorf("%d keys, %d were acknowledged", k, 20+written-1)
	}
	for i := range 20 {
		if err := errors.Join(d.Apply(Update{Forget: []Key{{"api", fmt.Sprint("a", i)}}}),
			d.DeleteKey(fmt.Sprint("k", i))); err != nil {
			t.Fatalf("removal %d: %v", i, err)
		}
		disk.Fill()
	}
	if err := d.Apply(Update{Quarantine: map[string]string{"digest": "bad"}}); err != nil {
		t.Errorf("a mark: %v", err)
	}
	disk.Fill()
	if err := d.Last(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO spent (tenant, month, tokens) VALUES ('a', '2030-01', 1)")
		return err
	}); err != nil {
		t.Errorf("what would be lost: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	d = open(t, dir)
	if a, k := counts(t, d); a != 0 || k != written-1 {
		t.Errorf("after another start: %d adapters and %d keys, want 0 and %d", a, k, written-1)
	}
}
