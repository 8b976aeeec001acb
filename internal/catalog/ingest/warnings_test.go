package ingest

import (
	"slices"
	"testing"
)

// TestWarningsAreKept over a restart, and are learned of bytes that were taken without.
func TestWarningsAreKept(t *testing.T) {
	r := newRig(t)
	want := func(number int, warnings ...string) {
		t.Helper()
		rec, _ := r.Get("a")
		if rec.Active == nil || rec.Active.Number != number || !slices.Equal(rec.Active.Warnings, warnings) ||
			!slices.Equal(rec.Versions[len(rec.Versions)-1].Warnings, warnings) || rec.Active != rec.Versions[number-1] {
			t.Errorf("it is %+v, %+v", rec.Active, rec.Versions)
		}
	}
	warn := func(warnings ...string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.warnings = warnings
	}
	r.put("a", "one")
	want(1)
	warn("it changes nothing")
	r.put("a", "one")
	want(1, "it changes nothing")
	r.untilLogged("adapter may not do what it was trained for")
	r.untilLogged("adapter unchanged")
	r.reopen()
	want(1, "it changes nothing")
	warn()
	r.put("a", "two")
	want(2)
}
