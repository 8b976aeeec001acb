package usage

import (
	"testing"
	"time"

	"github.com/loragate/loragate/internal/state"
)

// TestClocksThatJump has a year's account with a retention of 30 days, and a clock that
// is ahead, at the start or later: nothing is deleted that is younger by the time that
// has passed, and all that is older is once the clock has stayed there.
func TestClocksThatJump(t *testing.T) {
	dir := t.TempDir()
	start := func() (*Recorder, func()) {
		db, err := state.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return &Recorder{db: db, sums: map[sumKey]*Record{}, retention: 30 * 24 * time.Hour}, func() { db.Close() }
	}
	requests := func(r *Recorder) int64 { return sums(t, r, Query{})[0].Requests }
	at := func(r *Recorder, now time.Time, want int64) {
		t.Helper()
		if err := r.forgetBefore(now); err != nil {
			t.Fatal(err)
		}
		if got := requests(r); got != want {
			t.Errorf("at %s there are %d records, want %d", now, got, want)
		}
	}
	r, end := start()
	for days := range 40 {
		r.Add(Record{At: noon.AddDate(0, 0, days-39), Tenant: "a", Prompt: 1})
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	at(r, noon, 31)
	r.clock.last = r.clock.last.AddDate(10, 0, 0) // the clock jumps: no time has passed
	at(r, noon.AddDate(10, 0, 0), 31)
	at(r, noon.AddDate(10, 0, 0).Add(time.Hour), 30) // an hour has
	end()
	r, end = start() // with the wrong clock still
	at(r, noon.AddDate(10, 0, 0).Add(time.Hour), 30)
	at(r, noon.AddDate(0, 0, 1), 30) // it is right again
	end()
	r, end = start() // after it was switched off for a month and a half
	defer end()
	late := noon.AddDate(0, 0, 46)
	at(r, late, 30)
	for hours := range 23 {
		if err := r.forgetBefore(late.Add(time.Duration(hours+1) * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	at(r, late.Add(24*time.Hour), 0)
}
