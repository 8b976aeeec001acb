package pool

import (
	"errors"
	"testing"

	"github.com/loragate/loragate/internal/worker"
)

// suspect asks for a place for a request whose worker ended under it.
func (b *bench) suspect(id string) *ticket {
	t := b.ticket(Identity(id))
	t.request.Again, t.request.Suspect = b.fx.clock, true
	if err := b.admit(t); err != nil {
		b.t.Fatal(err)
	}
	return t
}

func TestSuspectsAreTriedOneAtATime(t *testing.T) {
	b := newBench(t, 2)
	first, second := b.suspect(""), b.suspect("")
	lease := granted(first)
	if lease == nil || granted(second) != nil {
		t.Fatal("not the first alone runs")
	}
	beside := b.ask("")
	if l := granted(beside); l == nil || l.Member == lease.Member {
		t.Fatalf("an ordinary request got %+v, beside a suspect or nowhere", l)
	}
	b.prove(lease)
	other := granted(second)
	if other != nil {
		t.Fatal("the second is tried on a worker on which others run")
	}
	b.release(granted(beside), Done, Usage{})
	if other = granted(second); other == nil || other.Member == lease.Member {
		t.Fatalf("the second got %+v", other)
	}
	if l := granted(b.ask("")); l == nil || l.Member != lease.Member {
		t.Errorf("%+v: nobody may run beside a suspect that did no harm", l)
	}
}

func TestTrialEndsWithItsRequest(t *testing.T) {
	for name, end := range map[string]func(*bench, *ticket){
		"done":  func(b *bench, s *ticket) { b.release(granted(s), Done, Usage{}) },
		"left":  func(b *bench, s *ticket) { b.cancel(s) },
		"ended": func(b *bench, s *ticket) { b.release(granted(s), Failed, Usage{}); b.fall(0) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			first, second := b.suspect(""), b.suspect("")
			end(b, first)
			if b.members[0].up == nil {
				b.upWith(b.members[0], stubRunner{}, 2)
			}
			if granted(second) == nil {
				t.Error("the next one's trial does not begin")
			}
		})
	}
}

func TestSuspectsWaitForThoseThatAreNone(t *testing.T) {
	b := newBench(t, 1)
	holder := b.ask("")
	b.release(granted(holder), Failed, Usage{})
	b.fall(0)
	s := b.suspect("")
	victim := b.ticket("")
	victim.request.Again = b.fx.clock
	if err := b.admit(victim); err != nil {
		t.Fatal(err)
	}
	b.upWith(b.members[0], stubRunner{}, 2)
	if granted(victim) == nil || granted(s) != nil {
		t.Fatal("the suspect goes before one that is none")
	}
	b.release(granted(victim), Done, Usage{})
	if granted(s) == nil {
		t.Error("the suspect does not run after it")
	}
}

func TestSuspectsAreTurnedAwayAtTheEnd(t *testing.T) {
	b := newBench(t, 1)
	b.suspect("")
	second := b.suspect("")
	b.close()
	if err := refused(second); !errors.Is(err, ErrStopping) {
		t.Errorf("got %v", err)
	}
}

// fall is the end of a worker by itself.
func (b *bench) fall(id int) {
	b.down(b.members[id], b.fx.clock, &worker.ExitError{Worker: "0", Status: "signal: aborted"})
}

func TestCrashUnderMPSReplacesIdleWorkers(t *testing.T) {
	for name, test := range map[string]struct {
		shared bool
		cause  error
		up     bool
	}{
		"crash":        {true, &worker.ExitError{Status: "signal: aborted"}, false},
		"from outside": {true, &worker.ExitError{Status: "signal: killed", Outside: true}, true},
		"killed by us": {true, &worker.ExitError{Status: "signal: killed", Cause: "hung"}, true},
		"not shared":   {false, &worker.ExitError{Status: "signal: aborted"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3)
			b.shared = test.shared
			busy := granted(b.ask(""))
			b.down(b.members[(busy.Member+1)%3], b.fx.clock, test.cause)
			if b.members[busy.Member].up == nil {
				t.Error("a worker on which something runs was replaced")
			}
			if up := b.members[(busy.Member+2)%3].up != nil; up != test.up {
				t.Errorf("the idle worker is up: %v", up)
			}
		})
	}
}

func TestFailureUnderMPSHoldsTheOthers(t *testing.T) {
	b := newBench(t, 2)
	b.shared = true
	failed := granted(b.ask(""))
	b.release(failed, Failed, Usage{})
	waits := b.ask("")
	if granted(waits) != nil {
		t.Fatal("got a worker whose fate is not known")
	}
	b.probed(failed.member, failed.gen, nil) // it lives
	if granted(waits) == nil {
		t.Error("nobody is let go after a sign of life")
	}
}
