package world

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// script is a scheduler that says what a test wrote down.
type script struct {
	actions []task.Action
	wake    task.Time
}

func (s *script) Arrive(task.Request, task.Time) (task.Ticket, bool) { return 0, true }
func (s *script) Leave(task.Ticket, task.Time)                       {}
func (s *script) Finish(task.Ticket, task.Usage, task.Time)          {}
func (s *script) Up(int, int, string, task.Time)                     {}
func (s *script) Down(int, task.Time)                                {}

func (s *script) Plan(int, task.Time) ([]stock.File, bool) { return []stock.File{"f"}, true }

func (s *script) Decide(task.Time) (actions []task.Action, wake task.Time) {
	actions, s.actions = s.actions, nil
	return actions, s.wake
}

// TestWhatIsNotAllowedIsRefused has a scheduler do what it must not, with a worker of two
// slots on which "a" is in force and "f" loaded, where request 1, for "a", runs in slot 0. 2
// waits for "a", 3 for "b", 4 for "a" exclusively, 5 for a file that is not loaded. Worker 1
// starts.
func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	for want, a := range map[string]task.Action{
		"":                             {Ticket: 2, Slot: 1},
		"nobody waits":                 {Ticket: 1, Slot: 1},
		"the worker is not up":         {Ticket: 2, Slot: 1, Worker: 1},
		`for "b" where "a" is applied`: {Ticket: 3, Slot: 1},
		"swapped under 1":              {Ticket: 3, Slot: 1, Kind: task.Swap},
		"beside":                       {Ticket: 2, Slot: 0},
		"exclusive=true":               {Ticket: 4, Slot: 1},
		"slot of a request":            {Ticket: 2, Slot: 2},
		"other is not loaded":          {Ticket: 5, Slot: 1},
		"ends a process with 1":        {Kind: task.Reload},
		"starts what is there":         {Kind: task.Start, Worker: 1},
	} {
		s := &script{wake: task.Never}
		var said []string
		w := New(s, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		w.OnStart, w.OnCome = func(int, []stock.File) time.Duration { return time.Second }, func(int) {}
		w.Plan(0)
		w.Up(0, 2, "gpu")
		w.Begin(1)
		for _, r := range []task.Request{{Identity: "a"}, {Identity: "a"}, {Identity: "b"},
			{Identity: "a", Exclusive: true}, {Identity: "a", Files: []stock.File{"other"}}} {
			w.Arrive(r)
		}
		s.actions = []task.Action{{Kind: task.Swap, Ticket: 1, Slot: 0}}
		w.Decide()
		s.actions = []task.Action{a}
		w.Decide()
		text := strings.Join(said, "; ")
		if (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("%+v: said %q, not %q", a, text, want)
		}
		if want != "" && w.Step() {
			t.Errorf("%+v: it goes on", a)
		}
	}
}

// TestEventsHappenInOrder: by time, those of one moment in the order in which they were made,
// and not what was cancelled or never comes.
func TestEventsHappenInOrder(t *testing.T) {
	w := New(&script{wake: task.Never}, t.Fatalf)
	var got []string
	note := func(what string) func() {
		return func() { got = append(got, fmt.Sprint(what, w.Now().Seconds())) }
	}
	w.At(2*time.Second, note("b"))
	w.At(time.Second, func() {
		note("a")()
		w.At(0, note("late")) // happens at once
	})
	w.At(2*time.Second, note("c"))
	w.Cancel(w.At(time.Second, note("cancelled")))
	w.At(task.Never, note("never"))
	w.Pass(90 * time.Minute)
	if want := []string{"a1", "late1", "b2", "c2"}; !slices.Equal(got, want) || w.Now() != 90*time.Minute {
		t.Errorf("at %s: %q, not %q", w.Now(), got, want)
	}
}

// TestWorkersDieWithWhatRuns: what was to end there does not.
func TestWorkersDieWithWhatRuns(t *testing.T) {
	s := &script{wake: task.Never, actions: []task.Action{{Ticket: 1}}}
	w := New(s, t.Fatalf)
	w.OnPlace = func(j *Job, _ task.Action) {
		j.End = w.At(time.Minute, func() { t.Error("it ends on a worker that is down") })
	}
	w.Up(0, 1, "gpu")
	j, _ := w.Arrive(task.Request{})
	w.Decide()
	if lost := w.Down(0); len(lost) != 1 || lost[0] != j || len(w.Placed) > 0 {
		t.Errorf("lost %v, %d run", lost, len(w.Placed))
	}
	for w.Step() {
	}
}
