package world

import (
	"github.com/loragate/loragate/internal/sched/heap"
	"github.com/loragate/loragate/internal/sched/task"
)

// Clock is virtual time, and what is going to happen in it.
type Clock struct {
	now    task.Time
	events heap.Heap[*Event]
	made   uint64
}

// Event is something that happens at a moment.
type Event struct {
	at    task.Time
	made  uint64 // events of one moment happen in the order in which they were made
	place int    // in the clock's heap; 0 if it has happened, was cancelled, or never happens
	what  func()
}

func newClock() Clock {
	before := func(a, b *Event) bool { return a.at < b.at || a.at == b.at && a.made < b.made }
	return Clock{events: heap.New(before, func(e *Event) *int { return &e.place })}
}

// Now returns the time.
func (c *Clock) Now() task.Time { return c.now }

// At has something happen at a moment, or now if that is over. What is at task.Never does
// not happen.
func (c *Clock) At(at task.Time, what func()) *Event {
	c.made++
	e := &Event{at: max(at, c.now), made: c.made, what: what}
	if at != task.Never {
		c.events.Fix(e)
	}
	return e
}

// Cancel has an event not happen. One that has happened, and nil, are ignored.
func (c *Clock) Cancel(e *Event) {
	if e != nil {
		c.events.Remove(e)
	}
}

// Next returns when something happens next, or task.Never.
func (c *Clock) Next() task.Time {
	if e, ok := c.events.First(); ok {
		return e.at
	}
	return task.Never
}

// happen goes to the next moment and lets all of it happen.
func (c *Clock) happen() {
	c.now = c.Next()
	for c.Next() == c.now {
		e, _ := c.events.First()
		c.events.Remove(e)
		e.what()
	}
}
