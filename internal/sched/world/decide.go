package world

import (
	"slices"

	"github.com/loragate/loragate/internal/sched/task"
)

// Decide asks the scheduler until it has nothing more to say, and carries its actions out.
// It returns them.
func (w *World) Decide() (all []task.Action) {
	for again := true; again && !w.broken; again = w.changed {
		w.changed = false
		actions, wake := w.scheduler.Decide(w.now)
		if wake <= w.now {
			w.refuse("asked to be woken at %s, it is %s", wake, w.now)
		}
		if w.wake == nil || w.wake.place == 0 || w.wake.at != wake {
			w.Cancel(w.wake)
			w.wake = w.At(wake, w.Changed)
		}
		for _, a := range actions {
			w.carryOut(a)
		}
		all = append(all, actions...)
	}
	if w.OnSettled != nil && !w.broken {
		w.OnSettled()
	}
	return all
}

// refuse says what is not allowed, and ends the world.
func (w *World) refuse(format string, args ...any) {
	w.broken = true
	w.fail(format, args...)
}

func (w *World) carryOut(a task.Action) {
	if w.broken {
		return
	}
	x := w.Workers[a.Worker]
	switch a.Kind {
	case task.Reload, task.Retire, task.Start:
		if w.OnProcess != nil {
			w.OnProcess(a)
		}
		switch {
		case a.Kind == task.Start && (x != nil || w.Starting[a.Worker] != nil):
			w.refuse("%+v starts what is there", a)
		case a.Kind == task.Start:
			w.Begin(a.Worker)
		case x == nil:
			w.refuse("%+v: the worker is not up", a)
		case len(x.Jobs) > 0:
			w.refuse("%+v ends a process with %d requests", a, len(x.Jobs))
		default:
			w.Down(a.Worker)
			w.Begin(a.Worker)
		}
	default:
		if j := w.Queued[a.Ticket]; j == nil {
			w.refuse("%+v: nobody waits with that ticket", a)
		} else if x == nil {
			w.refuse("%+v: the worker is not up", a)
		} else if w.check(a, j, x) {
			w.place(a, j, x)
		}
	}
}

// check reports whether a request may be placed so.
func (w *World) check(a task.Action, j *Job, x *Worker) bool {
	if !w.Mixed {
		if (a.Kind == task.Swap) != (x.Applied != j.Identity) {
			w.refuse("%+v for %q where %q is applied", a, j.Identity, x.Applied)
		}
		if a.Kind == task.Swap && len(x.Jobs) > 0 {
			w.refuse("%+v: swapped under %d running requests", a, len(x.Jobs))
		}
	}
	for _, other := range x.Jobs {
		if other.Exclusive || j.Exclusive || other.Slot == a.Slot {
			w.refuse("%+v beside %+v", a, other)
		}
	}
	if (a.Slot == task.NoSlot) != j.Exclusive || a.Slot >= x.Slots {
		w.refuse("%+v: slot of a request with exclusive=%v", a, j.Exclusive)
	}
	for _, file := range j.Files {
		if !slices.Contains(w.planned[a.Worker], file) {
			w.refuse("%+v: %s is not loaded there", a, file)
		}
	}
	return !w.broken
}

func (w *World) place(a task.Action, j *Job, x *Worker) {
	delete(w.Queued, j.Ticket)
	j.Worker, j.Slot, j.Started, j.Kind, j.Missed = a.Worker, a.Slot, w.now, a.Kind, a.Missed
	w.Placed[j.Ticket] = j
	x.Applied = j.Identity
	x.Jobs = append(x.Jobs, j)
	if w.OnPlace != nil {
		w.OnPlace(j, a)
	}
}

// remove forgets a job; it keeps the others' order.
func (x *Worker) remove(j *Job) {
	x.Jobs = slices.DeleteFunc(x.Jobs, func(other *Job) bool { return other == j })
}
