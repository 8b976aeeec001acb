package residency

import "github.com/loragate/loragate/internal/residency/stock"

// Step takes the next step of the reload that is under way, or begins one. It
// reports whether a busy worker takes no more requests from now on, or does so
// again: that may change what others are to do.
func (p *Planner) Step(now stock.Time) (orders []Order, changed bool) {
	switch p.reload.phase {
	case None:
		changed = p.begin(now)
	case Draining:
		changed = p.reconsider(now)
	}
	if p.reload.victim != nil && p.reload.phase != None {
		if running, up := p.demand.Running(p.reload.victim.id); up && running == 0 {
			p.reload.proceed(now)
		}
	}
	return p.reload.taken(), changed
}

// Orders returns what Up gave rise to.
func (p *Planner) Orders() []Order { return p.reload.taken() }

// begin gives a worker up, if there is a reason to. It reports whether that is
// busy and takes no more requests.
func (p *Planner) begin(now stock.Time) (busy bool) {
	if m := p.reload.nextForced(); m != nil {
		return p.giveUp(m, m, true, now)
	}
	p.agenda.remember(now)
	pressure := p.demand.Pressure()
	if p.members.starting > 0 || now < p.reload.mayBegin() || !p.reason(pressure, now) {
		return false // one at a time
	}
	m, meant := p.victim(pressure, now)
	if m == nil {
		if pressure.Missing > 0 {
			p.agenda.tryLater(now)
		}
		return false
	}
	return p.giveUp(m, p.reload.successor(m, now), meant, now)
}

// victim returns the worker to give up, or nil, and whether any other would not do as well.
func (p *Planner) victim(pressure Pressure, now stock.Time) (m *member, meant bool) {
	return p.look(now).choose(&p.agenda, p.wait()).victim(pressure)
}

// Victim returns the worker that would be given up now, if that helps anybody.
func (p *Planner) Victim(now stock.Time) (worker int, any bool) {
	m, _ := p.victim(p.demand.Pressure(), now)
	if m == nil {
		return 0, false
	}
	return m.id, true
}

// wait is how long requests wait for a busy worker before another loads their files, too.
func (p *Planner) wait() stock.Time { return 2*p.opts.Turn + p.opts.Interval }

// reason reports whether it may be good for something to give a worker up.
func (p *Planner) reason(pressure Pressure, now stock.Time) bool {
	if p.reload.shrinking {
		return pressure.Missing > 0
	}
	return pressure.Missing > 0 || p.agenda.stockDue(now) || p.sets.relievable(pressure) && now >= p.agenda.relieve
}

// giveUp begins a reload. It reports whether a busy worker takes no more requests.
func (p *Planner) giveUp(m, next *member, meant bool, now stock.Time) (busy bool) {
	if !p.reload.giveUp(m, next, meant, now) {
		return false
	}
	running, _ := p.demand.Running(m.id)
	return running > 0
}

// reconsider gives a worker up that is idle now, instead of one that goes on
// draining, if that helps those who wait as well and costs no more. What goes on
// for longer than a turn costs those who wait, too. It reports whether it did.
func (p *Planner) reconsider(now stock.Time) bool {
	r := &p.reload
	running, up := p.demand.Running(r.victim.id)
	if !up || running == 0 || !r.stuck(p.demand.Pressure(), now) {
		return false
	}
	o := p.look(now)
	limit := o.dependents()[r.victim.set]
	if now >= r.began+p.opts.Turn {
		for _, w := range p.demand.Missing(0) {
			limit += w.Requests
		}
	}
	for _, c := range o.candidates() {
		if c.cost > limit {
			break
		}
		if c.InFlight > 0 {
			continue
		}
		if plan := o.plan(c.member, c.member); o.helped(plan) && len(o.yields(c.member, c.member, plan)) == 0 {
			r.release()
			r.giveUp(c.member, c.member, false, now)
			return true
		}
	}
	p.agenda.tryLater(now)
	return false
}

// Wake names the moments at which time alone changes something.
func (p *Planner) Wake(at func(stock.Time)) {
	pressure := p.demand.Pressure()
	if p.reload.phase == Draining && p.reload.reconsiderable(pressure) {
		at(p.agenda.futile)
	}
	if p.reload.phase != None {
		return
	}
	earliest := p.reload.mayBegin()
	if pressure.Missing > 0 {
		at(earliest)
	}
	if p.reload.shrinking {
		return
	}
	p.agenda.wake(earliest, at)
	if p.sets.relievable(pressure) {
		at(max(earliest, p.agenda.relieve))
	}
}
