package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// records that it was about were stored.
func TestStartAfterHalfAQuarantine(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	r.put("alone", "two")
	r.end()
	db, err := state.Open(filepath.Join(r.root, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Apply(state.Update{Quarantine: map[string]string{digest("two"): "it ended llama-server"}}),
		db.Close()); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.want("a", "one")
	if _, err := r.Resolve("alone"); refusal(err) != lora.InQuarantine {
		t.Errorf("alone: %v", err)
	}
	for _, s := range r.Stock() {
		if s.Path == r.path("two") {
			t.Error("it is in stock")
		}
	}
}

// TestNamesThatWait are kept for the API's models that lost them at a start.
func TestNamesThatWait(t *testing.T) {
	r := newRig(t)
	source := r.file("x", "of x")
	put := func(s lora.Spec) error {
		_, err := r.Put(t.Context(), s, true)
		return err
	}
	if err := put(lora.Spec{Name: "x", Settings: lora.Settings{Aliases: []string{"y"}}, Source: source}); err != nil {
		t.Fatal(err)
	}
	if err := put(lora.Spec{Name: "sum", Settings: lora.Settings{Aliases: []string{"z"}},
		Shares: []lora.Share{{Adapter: "x", Scale: .5}}}); err != nil {
		t.Fatal(err)
	}
	r.entries = []lora.Spec{{Name: "y", Source: r.file("y", "of y")}, {Name: "z", Source: r.file("z", "of z")}}
	r.reopen()
	r.want("y", "of y")
	r.unknown("x", "sum")
	for name, reason := range map[string]string{"x": `the name "y" is taken by "y" of the configuration`,
		"sum": `the name "z" is taken by "z" of the configuration`} {
		if rec, ok := r.Get(name); !ok || rec.State != lora.Rejected || rec.Reason != reason || rec.Active != nil {
			t.Errorf("%s: %+v, %t", name, rec, ok)
		}
	}
	for _, s := range []lora.Spec{{Name: "other", Settings: lora.Settings{Aliases: []string{"x"}}, Source: source},
		{Name: "other", Settings: lora.Settings{Aliases: []string{"sum"}},
			Shares: []lora.Share{{Adapter: "y", Scale: 1}}}} {
		if err := put(s); refusal(err) != lora.Conflict || !strings.Contains(err.Error(), "is kept for") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := put(lora.Spec{Name: "x", Shares: []lora.Share{{Adapter: "y", Scale: 1}}}); refusal(err) != lora.Conflict {
		t.Errorf("a composition in place of an adapter: %v", err)
	}
	// They can be put anew by their own names: with others, or removed.
	if err := errors.Join(put(lora.Spec{Name: "x", Source: r.file("x2", "of x, anew")}),
		put(lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "x", Scale: 1}}})); err != nil {
		t.Fatal(err)
	}
	r.want("x", "of x, anew")
	if got := strings.Join(r.versions("x"), " "); got != "1 2" {
		t.Errorf("versions %s", got)
	}
	list := r.List()
	r.reopen()
	r.want("x", "of x, anew")
	r.want("y", "of y")
	if again := r.List(); len(list) != 4 || len(again) != 4 {
		t.Errorf("before a restart %+v, then %+v", list, again)
	}
	if err := errors.Join(r.Remove("sum"), r.Remove("x")); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	r.unknown("x", "sum")
}

// TestQuarantineOfWhatLostItsName holds when it has its name back.
func TestQuarantineOfWhatLostItsName(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.entries = []lora.Spec{{Name: "a", Source: r.file("b", "one")}}
	r.reopen()
	r.Quarantine(r.path("one"), "it ended llama-server")
	if err := r.Configure(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve("a"); refusal(err) != lora.InQuarantine {
		t.Errorf("%v, want it quarantined", err)
	}
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	r.put("a", "one")
	r.want("a", "one")
}

// TestCutBytes are not served after a restart.
func TestCutBytes(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	r.end()
	path := r.path("two")
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 1)); err != nil {
		t.Fatal(err)
	}
	r.open()
	if rec, _ := r.Get("a"); rec.State != lora.Rejected ||
		!strings.Contains(rec.Reason, "version 2 is not in the state directory") {
		t.Errorf("%+v", rec)
	}
	r.put("a", "two")
	r.want("a", "two")
}
