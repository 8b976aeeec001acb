// Package world is a virtual world for a scheduler: a clock, requests, and workers whose
// processes and answers take virtual time. It does to the scheduler what the pool does with
// real ones, and checks that everything it is told to do is allowed. The scheduler's tests
// run in it, and the simulator.
//
// A world belongs to one goroutine, and nothing in it blocks.
package world

import (
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// Scheduler is what a world drives; package sched says what the methods mean.
type Scheduler interface {
	Arrive(r task.Request, now task.Time) (evicted task.Ticket, admitted bool)
	Leave(t task.Ticket, now task.Time)
	Finish(t task.Ticket, u task.Usage, now task.Time)
	Decide(now task.Time) (actions []task.Action, wake task.Time)
	Up(id, slots int, device string, now task.Time)
	Down(id int, now task.Time)
	Plan(id int, now task.Time) (files []stock.File, ok bool)
}

// World is a scheduler's surroundings. Its owner says by the hooks how long things take and
// what comes of them.
type World struct {
	Clock
	scheduler Scheduler
	fail      func(format string, args ...any)
	broken    bool // fail was called

	// Mixed says that workers run requests of several identities at once, as bare
	// llama-servers do.
	Mixed bool

	// Hooks; those that are nil do nothing. OnPlace is told of each request that was
	// placed, OnProcess of a Reload, Start or Retire that is about to be carried out,
	// OnSettled when all is carried out that was decided.
	OnPlace   func(*Job, task.Action)
	OnProcess func(task.Action)
	OnSettled func()
	// OnStart says how long a process takes to start with files, OnCome what comes of it:
	// Up, or something else. Begin needs both.
	OnStart func(id int, files []stock.File) time.Duration
	OnCome  func(id int)

	// What there is, for the owner to read.
	Queued   map[task.Ticket]*Job // they wait
	Placed   map[task.Ticket]*Job // they run, or are about to
	Workers  map[int]*Worker      // that are up
	Starting map[int]*Event       // when processes that start come up

	planned map[int][]stock.File // by worker, what its last process was started with
	last    task.Ticket
	wake    *Event
	changed bool // the scheduler was told of something since it decided
}

// Job is one request in a world.
type Job struct {
	task.Request
	Worker, Slot     int // -1 while it waits
	Arrived, Started task.Time
	Kind             task.Kind // how it was placed
	Missed           bool      // nobody had its files
	End              *Event    // when it ends, if its owner made that an event; it is cancelled with the job
}

// Worker is a worker that is up.
type Worker struct {
	Slots   int
	Applied task.Identity
	Jobs    []*Job
}

// New returns a world without workers. It calls fail, which may return, if the scheduler
// does what is not allowed; nothing happens in the world after that.
func New(s Scheduler, fail func(format string, args ...any)) *World {
	return &World{
		Clock: newClock(), scheduler: s, fail: fail,
		Queued: map[task.Ticket]*Job{}, Placed: map[task.Ticket]*Job{},
		Workers: map[int]*Worker{}, Starting: map[int]*Event{}, planned: map[int][]stock.File{},
	}
}

// Changed notes that the scheduler was told of something, past the world, after which it
// has to decide.
func (w *World) Changed() { w.changed = true }

// Step lets all happen that happens at the next moment, and decides if the scheduler was
// told of something. It reports false if nothing is to happen any more.
func (w *World) Step() bool {
	if w.broken || w.Next() == task.Never {
		return false
	}
	w.happen()
	if w.changed {
		w.Decide()
	}
	return !w.broken
}

// Pass lets so much time go by.
func (w *World) Pass(d time.Duration) {
	until := w.now + d
	for w.Next() <= until && w.Step() {
	}
	w.now = until
}

// Arrive queues a request under a ticket of its own; job is nil if it is refused. evicted,
// if it is not nil, had to make room.
func (w *World) Arrive(r task.Request) (job, evicted *Job) {
	w.changed = true
	w.last++
	r.Ticket, r.Since = w.last, w.now
	ticket, admitted := w.scheduler.Arrive(r, w.now)
	if ticket != 0 {
		if evicted = w.Queued[ticket]; evicted == nil {
			w.refuse("evicted %d, which does not wait", ticket)
		}
		delete(w.Queued, ticket)
	}
	if !admitted {
		return nil, evicted
	}
	job = &Job{Request: r, Arrived: w.now, Worker: -1, Slot: -1}
	w.Queued[r.Ticket] = job
	return job, evicted
}

// Leave has the client of a request that waits go away.
func (w *World) Leave(j *Job) {
	w.changed = true
	delete(w.Queued, j.Ticket)
	w.scheduler.Leave(j.Ticket, w.now)
}

// Finish ends a request that was placed.
func (w *World) Finish(j *Job, u task.Usage) {
	w.changed = true
	w.Cancel(j.End)
	delete(w.Placed, j.Ticket)
	if x := w.Workers[j.Worker]; x != nil {
		x.remove(j)
	}
	w.scheduler.Finish(j.Ticket, u, w.now)
}

// Up has a worker serve, with what its last process was started with. What ran on it before
// is lost.
func (w *World) Up(id, slots int, device string) {
	w.Down(id)
	w.Workers[id] = &Worker{Slots: slots, Applied: task.Base}
	w.scheduler.Up(id, slots, device, w.now)
}

// Down ends a worker and returns what ran on it.
func (w *World) Down(id int) (lost []*Job) {
	w.changed = true
	w.scheduler.Down(id, w.now)
	x := w.Workers[id]
	if x == nil {
		return nil
	}
	delete(w.Workers, id)
	for _, j := range x.Jobs {
		w.Cancel(j.End)
		delete(w.Placed, j.Ticket)
	}
	return x.Jobs
}

// Begin starts a member's process, if the scheduler says that it is to have one.
func (w *World) Begin(id int) {
	w.changed = true
	w.Abort(id)
	files, ok := w.Plan(id)
	if !ok {
		return
	}
	w.Starting[id] = w.At(w.now+w.OnStart(id, files), func() {
		delete(w.Starting, id)
		w.changed = true
		w.OnCome(id)
	})
}

// Plan asks what a member's next process loads, for one that is up at once.
func (w *World) Plan(id int) (files []stock.File, ok bool) {
	if files, ok = w.scheduler.Plan(id, w.now); ok {
		w.planned[id] = files
	}
	return files, ok
}

// Abort has a process that starts never come up, and reports whether there was one.
func (w *World) Abort(id int) bool {
	e, starting := w.Starting[id]
	w.Cancel(e)
	delete(w.Starting, id)
	return starting
}
