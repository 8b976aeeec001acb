package catalog

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// TestVersionsTakeOver replaces an adapter that workers have loaded.
func TestVersionsTakeOver(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.load("one")
	source := r.file("two", "two")
	if rec, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: source}, false); err != nil ||
		rec.State != lora.Downloading || rec.Active == nil {
		t.Errorf("%+v, %v", rec, err)
	}
	staged := func() bool { rec, _ := r.Get("a"); return rec.Staged != nil }
	r.until("the second is staged", staged)
	r.want("a", "one")
	stock := map[string]bool{}
	for _, s := range r.Stock() {
		stock[s.Path] = s.Preload
	}
	if len(stock) != 2 || !stock[r.path("two")] || stock[r.path("one")] {
		t.Errorf("in stock are %v: the new one is to be loaded soon", stock)
	}
	waited := make(chan error)
	go func() {
		_, err := r.Put(context.Background(), lora.Spec{Name: "a", Source: source}, true) // the same bytes again
		waited <- err
	}()
	r.until("it waits", staged)
	r.load("two")
	if err := <-waited; err != nil {
		t.Error(err)
	}
	r.want("a", "two")
	if got := r.Stock(); len(got) != 1 || got[0].Path != r.path("two") {
		t.Errorf("in stock are %+v", got)
	}
	r.Loaded(r.path("one")) // by a slow worker: it changes nothing
	r.want("a", "two")
	if got := strings.Join(r.versions("a"), " "); got != "1 2" {
		t.Errorf("versions %s", got)
	}
}

// TestRollback goes back, and on with new bytes only.
func TestRollback(t *testing.T) {
	r := newRig(t)
	for _, content := range []string{"one", "two", "three", "four"} { // three are kept
		r.put("a", content)
	}
	if got := strings.Join(r.versions("a"), " "); got != "2 3 4" {
		t.Errorf("versions %s", got)
	}
	for _, want := range []string{"three", "two"} {
		if _, err := r.Rollback("a"); err != nil {
			t.Fatal(err)
		}
		r.want("a", want)
	}
	if _, err := r.Rollback("a"); refusal(err) != lora.Conflict {
		t.Errorf("beyond the first: %v", err)
	}
	r.reopen()
	r.want("a", "two")
	r.put("a", "four") // again: it is the fourth still
	r.want("a", "four")
	if got := strings.Join(r.versions("a"), " "); got != "2 3 4" {
		t.Errorf("versions %s", got)
	}
	r.load("four")
	if rec, err := r.Rollback("a"); err != nil || rec.Staged == nil || rec.State != lora.Loading {
		t.Errorf("%+v, %v: the old bytes are not loaded", rec, err)
	}
	r.want("a", "four")
	r.load("three")
	r.want("a", "three")
}

// answered before.
func TestOldBytesAgain(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	if rec := r.put("a", "one"); rec.Active.Number != 3 {
		t.Errorf("%+v", rec.Active)
	}
	if got := strings.Join(r.versions("a"), " "); got != "2 3" {
		t.Errorf("versions %s", got)
	}
	if _, err := r.Rollback("a"); err != nil {
		t.Fatal(err)
	}
	r.want("a", "two")
	r.reopen()
	r.want("a", "two")
	if rec := r.put("a", "two"); rec.Active.Number != 2 {
		t.Errorf("what answers already: %+v", rec.Active)
	}
}

// TestQuarantine takes bytes out of service wherever they are.
func TestQuarantine(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	r.put("alone", "two")
	r.Quarantine(r.path("two"), "it ended llama-server")
	r.want("a", "one")
	if _, err := r.Resolve("alone"); refusal(err) != lora.InQuarantine ||
		!strings.Contains(errors.Unwrap(err).Error(), "it ended llama-server") {
		t.Errorf("alone: %v", err)
	}
	if _, err := r.Resolve("alone@0.5"); refusal(err) != lora.InQuarantine {
		t.Errorf("in an expression: %v", err)
	}
	for _, s := range r.Stock() {
		if s.Path == r.path("two") {
			t.Error("it is in stock still")
		}
	}
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "again", Source: r.file("again", "two")}, true); refusal(err) != lora.Refused {
		t.Errorf("under another name: %v", err)
	}
	if rec, _ := r.Get("again"); rec.State != lora.Quarantined {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	if rec, _ := r.Get("alone"); rec.State != lora.Quarantined {
		t.Errorf("after a restart: %+v", rec)
	}
	r.want("a", "one")
	if _, err := r.Rollback("a"); refusal(err) != lora.Conflict {
		t.Errorf("there is nothing before it: %v", err)
	}
	for _, name := range []string{"a", "alone", "again"} {
		if err := r.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	r.put("again", "two") // the quarantine went with the last record of these bytes
	r.want("again", "two")
}

// TestQuarantineOfAStagedVersion leaves what answers alone.
func TestQuarantineOfAStagedVersion(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.load("one")
	done := make(chan error)
	go func() {
		_, err := r.Put(context.Background(), lora.Spec{Name: "a", Source: r.file("b", "two")}, true)
		done <- err
	}()
	r.until("it is staged", func() bool { rec, _ := r.Get("a"); return rec.Staged != nil })
	r.Quarantine(r.path("two"), "it ended llama-server")
	if err := <-done; refusal(err) != lora.Refused {
		t.Errorf("whoever waited for it: %v", err)
	}
	r.want("a", "one")
	if rec, _ := r.Get("a"); rec.Staged != nil || rec.State != lora.Ready ||
		!strings.Contains(rec.Reason, "ended llama-server") {
		t.Errorf("%+v", rec)
	}
}

// TestPinsSurvive until the configuration says something else.
func TestPinsSurvive(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	entry := lora.Spec{Name: "c", Source: r.file("c", "c"), Pin: true}
	if err := r.Configure([]lora.Spec{entry}); err != nil {
		t.Fatal(err)
	}
	r.until("c is ready", func() bool { return r.answers("c") == digest("c") })
	for name, pin := range map[string]bool{"a": true, "c": false} {
		if _, err := r.Pin(name, pin); err != nil {
			t.Fatal(err)
		}
	}
	pins := func() (a, c bool) {
		x, _ := r.Get("a")
		y, _ := r.Get("c")
		return x.Pin, y.Pin
	}
	r.entries = []lora.Spec{entry}
	r.reopen()
	if a, c := pins(); !a || c {
		t.Errorf("after a restart a is pinned: %t, c: %t", a, c)
	}
	entry.Pin = false
	entries := []lora.Spec{entry}
	if err := r.Configure(entries); err != nil {
		t.Fatal(err)
	}
	entries[0].Pin = true
	if err := r.Configure(entries); err != nil {
		t.Fatal(err)
	}
	if _, c := pins(); !c {
		t.Error("what the configuration says anew does not hold")
	}
}

// TestTheNewerWordOnAPinHolds, be it the operator's or that of a description.
func TestTheNewerWordOnAPinHolds(t *testing.T) {
	r := newRig(t)
	put := func(pin bool, content string) bool {
		t.Helper()
		rec, err := r.Put(t.Context(), lora.Spec{Name: "a", Pin: pin, Source: r.file("a", content)}, true)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Pin
	}
	put(false, "one")
	if rec, err := r.Pin("a", true); err != nil || !rec.Pin {
		t.Fatalf("%+v, %v", rec, err)
	}
	if !put(false, "two") {
		t.Error("a new version that says nothing of it takes the pin off")
	}
	put(true, "three")
	if put(false, "four") {
		t.Error("it cannot be taken off")
	}
	if _, err := r.Pin("a", false); err != nil {
		t.Fatal(err)
	}
	if !put(true, "five") {
		t.Error("it cannot be set")
	}
}

// TestLostBytes finds that a version's file was deleted behind the gateway's back.
func TestLostBytes(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	path := r.path("one")
	r.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if rec, _ := r.Get("a"); rec.State != lora.Rejected || !strings.Contains(rec.Reason, "not in the state directory") {
		t.Errorf("%+v", rec)
	}
	r.put("a", "one")
	r.want("a", "one")
}

// TestFailingStoreChangesNothing closes the database under the catalog.
func TestFailingStoreChangesNothing(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	if err := r.opts.Store.SQL().Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "a", Source: r.file("b", "two")}, true); refusal(err) != lora.Failed {
		t.Errorf("replace: %v", err)
	}
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "new", Source: r.file("b", "two")}, true); refusal(err) != lora.Failed {
		t.Errorf("add: %v", err)
	}
	if _, err := r.Pin("a", true); refusal(err) != lora.Failed {
		t.Errorf("pin: %v", err)
	}
	if err := r.Remove("a"); refusal(err) != lora.Failed {
		t.Errorf("remove: %v", err)
	}
	r.want("a", "one")
	r.unknown("new")
	if rec, _ := r.Get("a"); rec.Pin || len(rec.Versions) != 1 {
		t.Errorf("%+v", rec)
	}
}
