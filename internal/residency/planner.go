// Package residency decides which files each worker has loaded: which stay, which go, and
// which worker is given up to load others. It is pure, and knows of requests only what a
// Demand tells. Its owner tells it what happens to processes, asks Step what to do, and
// Plan what a process that starts is to load.
//
// docs/scheduling.md says what it promises and why.
package residency

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency/stock"
)

// Options set a Planner's knobs.
type Options struct {
	// Limits are those of what a worker has loaded, the weight in bytes.
	Limits lru.Limits
	// Interval is the least time between the end of one reload and the beginning of the
	// next; it is never less than the last one took.
	Interval time.Duration
	// Turn is the longest that an identity of weight 1 keeps a worker.
	Turn time.Duration
	// First is how many files member 0 loads at most when it starts first of all, so that
	// something can be served soon, if there are others that load all; 0 is no bound.
	First int
	// Workers is how many should have a process, Spares how many members more there are.
	Workers, Spares int
}

// Planner knows what is loaded and decides what will be. It is not safe for concurrent
// use: one owner has it.
type Planner struct {
	opts    Options
	demand  Demand
	stock   *stock.Stock
	sets    *sets
	members *members
	starts  starts
	agenda  agenda
	reload  reload
}

// New returns a planner for members of which none is up yet.
func New(opts Options, demand Demand) *Planner {
	p := &Planner{
		opts: opts, demand: demand, stock: stock.New(opts.Limits), members: newMembers(),
		sets: &sets{homes: make(map[stock.File][]*Set)}, agenda: agenda{again: stock.Never},
	}
	p.starts = starts{stock: p.stock, members: p.members}
	p.reload = reload{members: p.members, agenda: &p.agenda, interval: opts.Interval}
	p.members.enroll(0, opts.Workers, opts.Spares, 0)
	return p
}

// Grow adds members, until there are as many workers and spares. There must be no
// spare before.
func (p *Planner) Grow(workers, spares int, now stock.Time) {
	p.members.enroll(p.opts.Workers, workers, spares, now)
	p.opts.Workers, p.opts.Spares = workers, spares
}

// SetStock says which files there are; those that are not among them any more
// are kept for requests that need them. One that was not among them is taken for
// good, whatever it did before.
func (p *Planner) SetStock(list []stock.Entry, now stock.Time) {
	if p.stock.Set(list, now, p.used) {
		p.agenda.stockChanged(now)
	}
}

// Use marks files as just used.
func (p *Planner) Use(files []stock.File, now stock.Time) { p.stock.Use(files, now) }

// Plan returns what a member's process, which is about to be started, is to load;
// Up or Failed must follow. It reports false when the member is to have none.
func (p *Planner) Plan(id int, now stock.Time) (files []stock.File, ok bool) {
	m := p.members.get(id)
	if p.reload.retires(m) {
		p.reload.retire(now)
	}
	if m.vacant {
		return nil, false
	}
	victim := m
	if p.reload.replacing(m) {
		victim = p.reload.victim
	}
	p.members.stop(m)
	o := p.look(now)
	plan := o.planWithin(p.opening(m), m, victim)
	for _, it := range o.yields(m, victim, plan) {
		it.WantedSince = now + stock.InUse
	}
	files = plan.files()
	p.members.start(m, files)
	return files, true
}

// opening returns the limits of what a member's process is to load. The very first of all
// loads little, because the others wait for it; it has the rest when another can stand in
// for it.
func (p *Planner) opening(m *member) lru.Limits {
	limits := p.stock.Limits()
	if m.id != 0 || p.opts.First == 0 || p.opts.Workers+p.opts.Spares < 2 || p.members.anyHad() {
		return limits
	}
	first := max(p.opts.First, len(p.stock.Pins()))
	if limits.Entries == 0 || first < limits.Entries {
		limits.Entries = first
	}
	return limits
}

func (p *Planner) look(now stock.Time) *outlook {
	return look(now, p.stock, p.sets, p.members, p.demand)
}

// Up takes in a worker that has loaded what Plan said. It returns what it has.
func (p *Planner) Up(id int, now stock.Time) *Set {
	m := p.members.get(id)
	files := m.planned
	p.starts.cameUp(m)
	m.set = p.settle(m, files)
	p.reload.cameUp(m, now)
	return m.set
}

// settle returns a worker's set, which is one of its own, for which nobody waits, if it is
// drained.
func (p *Planner) settle(m *member, files []stock.File) *Set {
	if m.drained {
		return newSet(files)
	}
	return p.sets.join(files)
}

// Down forgets what a worker had loaded.
func (p *Planner) Down(id int, now stock.Time) {
	m := p.members.get(id)
	if !m.drained {
		p.sets.leave(m.set)
	}
	m.set, m.leaving = nil, false
	p.reload.wentDown(m, now)
}

// Failed says that a member's process could not be started. It reports whether
// files that were never loaded before may be to blame: then the member should be
// started again at once, without them.
func (p *Planner) Failed(id int, now stock.Time) (suspicion bool) {
	m := p.members.get(id)
	if p.starts.failed(m) {
		p.agenda.lacking = true
		return true
	}
	if p.reload.replacing(m) {
		p.reload.giveIn(now)
	}
	return false
}

// TooMuch is Failed for a process that ran out of memory, or could not even be told what
// to load. If that was too much, less is loaded from now on, by all members: it returns how many bytes at most.
// Otherwise files may be to blame.
func (p *Planner) TooMuch(id int) (bound int64, learned bool) {
	bound, learned = p.starts.tooMuch(p.members.get(id))
	p.agenda.lacking = p.agenda.lacking || learned
	return bound, learned
}

// Restart has a worker's process replaced when it is idle; it takes no more
// requests until then.
func (p *Planner) Restart(id int) {
	if !slices.Contains(p.reload.forced, id) {
		p.reload.forced = append(p.reload.forced, id)
	}
}

// Drain keeps what a worker has from counting until it is told otherwise, through
// restarts. It returns what a worker that is up has, and whether that changes.
func (p *Planner) Drain(id int, drained bool) (set *Set, changed bool) {
	m := p.members.get(id)
	if m.drained == drained {
		return m.set, false
	}
	m.drained = drained
	if !m.up() {
		return nil, false
	}
	p.agenda.lacking = true
	if drained {
		p.sets.leave(m.set)
	}
	m.set = p.settle(m, m.set.list)
	return m.set, true
}

// Noticed says that something happened after which workers may lack what they should have.
func (p *Planner) Noticed() { p.agenda.lacking = true }
