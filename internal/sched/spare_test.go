package sched

import (
	"testing"
	"time"

	"github.com/loragate/loragate/internal/residency"
)

// TestSpareThatCannotStart falls back to a restart in place, and is tried again
// later.
func TestSpareThatCannotStart(t *testing.T) {
	o := bounded(1, 1)
	o.Spares = 1
	sh := open(t, o, stockOf(3)...)
	for _, f := range []File{"f01", "f02", "f00"} { // all are proven now
		sh.done(sh.wants(f))
		sh.wait(3 * time.Second)
	}
	spare := 1 - sh.s.fleet.list[0].id
	fails := func() {
		if sh.Abort(spare) {
			if sh.s.Failed(spare, sh.Now()) {
				t.Error("proven files are suspected")
			}
			sh.Begin(spare)
		}
	}
	begun := sh.Now()
	for _, f := range []File{"f01", "f02"} {
		j := sh.wants(f)
		sh.run(func() bool { fails(); return sh.Placed[j.Ticket] != nil })
		sh.end(j)
		if j.Worker == spare || !sh.s.Vacant(spare) {
			t.Errorf("%s was served by worker %d", f, j.Worker)
		}
	}
	if sh.s.status().SpareBroken < begun+trouble-time.Minute {
		t.Errorf("the spare is tried again at %s", sh.s.status().SpareBroken)
	}
	sh.wait(trouble)
	j := sh.wants("f00")
	sh.done(j)
	if j.Worker != spare {
		t.Errorf("served by worker %d after the spare works again", j.Worker)
	}
}

// TestVictimThatDiesUnderTheSpare loses the old worker before the new one is up,
// in three ways: it is down when that comes up, or starting, or up again.
func TestVictimThatDiesUnderTheSpare(t *testing.T) {
	for _, after := range []time.Duration{2 * startTime, startTime, startTime / 4} {
		o := bounded(1, 1)
		o.Spares = 1
		sh := open(t, o, stockOf(2)...)
		old := sh.s.fleet.list[0].id
		j := sh.wants(map[File]File{"f00": "f01", "f01": "f00"}[sh.loaded()[old][0]])
		sh.run(func() bool { return len(sh.Starting) == 1 && sh.s.status().Phase == residency.Restarting })
		spare := sh.s.status().Next
		sh.Down(old)
		switch after {
		case startTime:
			sh.takes = startTime + 1
			sh.Begin(old)
		case startTime / 4:
			sh.takes = after
			sh.Begin(old)
		}
		sh.done(j)
		if after > startTime {
			sh.Begin(old)
		}
		sh.run(func() bool {
			return len(sh.Starting) == 0 && len(sh.s.fleet.list) == 1 && sh.s.status().Phase == residency.None
		})
		if sh.s.fleet.list[0].id != spare || !sh.s.Vacant(old) {
			t.Errorf("after %s: worker %d is up, the spare was %d", after, sh.s.fleet.list[0].id, spare)
		}
	}
}

// TestDrainedSpareIsNotUsed: it would come up and take nothing.
func TestDrainedSpareIsNotUsed(t *testing.T) {
	o := bounded(1, 1)
	o.Spares = 1
	sh := open(t, o, stockOf(2)...)
	sh.s.Drain(1, true, sh.Now())
	j := sh.wants(map[File]File{"f00": "f01", "f01": "f00"}[sh.loaded()[0][0]])
	sh.done(j)
	if j.Worker != 0 {
		t.Errorf("served by worker %d", j.Worker)
	}
}
