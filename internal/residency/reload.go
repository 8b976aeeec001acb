package residency

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
)

// Phase is how far the one reload that may be under way is. Only one worker at a
// time is given up for other files.
type Phase int

const (
	None       Phase = iota
	Draining         // the victim takes no more requests, and ends when it is idle
	Restarting       // the process of next is coming up
	Retiring         // it has, and the victim, whose place it takes, drains
)

// trouble is how long the spare is left alone after it could not be started, for which
// most likely there is no memory, and all other workers after one could not be started
// again with files that are proven.
const trouble = 10 * time.Minute

// Kind names what is to be done with a member.
type Kind int

const (
	// Hold keeps new requests from a worker, which ends when it is idle, and Release
	// takes that back.
	Hold Kind = iota
	Release
	// Reload ends a worker's process, on which nothing runs, and starts it again.
	Reload
	// Start starts a member that has no process.
	Start
	// Retire ends a worker's process, on which nothing runs: another has taken its place.
	Retire
)

// Order says what is to be done with a member.
type Order struct {
	Kind      Kind
	Worker    int
	InPlaceOf int // for Start: the worker whose place it takes
}

// reload is the one that may be under way.
type reload struct {
	members  *members
	agenda   *agenda
	interval time.Duration // the least from one's end to the next one's beginning

	phase       Phase
	victim      *member    // the worker whose place is taken
	next        *member    // the member that takes it: the same, or a spare
	meant       bool       // no other would do as well
	began       stock.Time // when the process of next was asked for
	notBefore   stock.Time // the next one
	spareBroken stock.Time // until when the spare is not tried: it could not start
	forced      []int      // workers to restart because somebody said so
	shrinking   bool       // see Planner.Shrink
	orders      []Order    // that were given since the last taken
}

func (r *reload) order(o Order) { r.orders = append(r.orders, o) }

// taken returns the orders that were given, and forgets them.
func (r *reload) taken() []Order {
	orders := r.orders
	r.orders = nil
	return orders
}

func (r *reload) replacing(m *member) bool { return r.phase == Restarting && r.next == m }
func (r *reload) retires(m *member) bool   { return r.phase == Retiring && r.victim == m }

// hold keeps requests from a worker that is to end.
func (r *reload) hold(m *member) {
	m.leaving = true
	r.order(Order{Kind: Hold, Worker: m.id})
}

// cameUp takes notice of a member that is up.
func (r *reload) cameUp(m *member, now stock.Time) {
	delete(r.members.absent, m.id)
	r.agenda.lacking = true
	switch {
	case r.replacing(m):
		r.notBefore = now + max(r.interval, now-r.began)
		r.phase = None
		if r.victim != r.next {
			r.replaced(now)
		}
	case r.retires(m):
		r.hold(m)
	}
}

// replaced lets the victim go whose place a spare has taken.
func (r *reload) replaced(now stock.Time) {
	switch {
	case r.victim.up():
		r.phase = Retiring
		r.hold(r.victim)
	case r.victim.starting():
		r.phase = Retiring
	default:
		r.retire(now)
	}
}

// retire makes the victim the spare.
func (r *reload) retire(now stock.Time) {
	r.phase = None
	r.members.vacate(r.victim)
	r.victim.had = nil
	r.notBefore = max(r.notBefore, now+r.interval)
}

// wentDown takes notice of a worker that ended.
func (r *reload) wentDown(m *member, now stock.Time) {
	r.agenda.lacking = true
	r.members.miss(m.id, now)
	r.forced = slices.DeleteFunc(r.forced, func(x int) bool { return x == m.id })
	switch {
	case r.phase == Draining && r.victim == m:
		r.phase, r.began = Restarting, now // its owner starts it again anyway
	case r.retires(m):
		r.retire(now)
	}
}

// giveIn ends a reload whose process does not come up.
func (r *reload) giveIn(now stock.Time) {
	r.phase = None
	if r.next == r.victim { // the same would happen to others
		r.members.absent[r.next.id] = now + trouble
		return
	}
	r.members.vacate(r.next)
	r.spareBroken = now + trouble
}

// successor returns who takes a worker's place: a spare if there is one that can
// be started, else the same member.
func (r *reload) successor(m *member, now stock.Time) *member {
	if now < r.spareBroken || r.shrinking {
		return m
	}
	for _, spare := range r.members.sorted() {
		if spare.vacant && !spare.drained {
			return spare
		}
	}
	return m
}

// giveUp begins the reload of a worker, whose place next takes. It reports whether the
// worker takes no more requests from now on.
func (r *reload) giveUp(m, next *member, meant bool, now stock.Time) (held bool) {
	r.victim, r.next, r.meant, r.began = m, next, meant, now
	if next == m {
		r.phase = Draining
		r.agenda.tryLater(now)
		r.hold(m)
		return true
	}
	r.phase = Restarting
	next.vacant = false
	r.order(Order{Kind: Start, Worker: next.id, InPlaceOf: m.id})
	return false
}

// proceed ends the process of a victim that is idle.
func (r *reload) proceed(now stock.Time) {
	switch r.phase {
	case Draining:
		r.phase, r.began = Restarting, now
		r.order(Order{Kind: Reload, Worker: r.victim.id})
	case Retiring:
		r.order(Order{Kind: Retire, Worker: r.victim.id})
	}
}

// mayBegin is when the next worker may be given up, if nothing happens before.
func (r *reload) mayBegin() stock.Time {
	return max(r.notBefore, r.agenda.futile, r.members.allPresent())
}

// nextForced returns the next worker to restart because somebody said so, or nil.
func (r *reload) nextForced() *member {
	for len(r.forced) > 0 && r.members.starting == 0 {
		m := r.members.get(r.forced[0])
		r.forced = r.forced[1:]
		if m.up() {
			return m
		}
	}
	return nil
}

// stuck reports whether the victim goes on draining though another would do as well.
func (r *reload) stuck(p Pressure, now stock.Time) bool {
	return r.phase == Draining && !r.meant && r.reconsiderable(p) && now >= r.agenda.futile
}

// reconsiderable reports whether another worker than the one that drains may be given up.
func (*reload) reconsiderable(p Pressure) bool { return p.Missing > 0 && p.Idle > 0 }

// release lets the victim take requests again.
func (r *reload) release() {
	r.victim.leaving = false
	r.order(Order{Kind: Release, Worker: r.victim.id})
}
