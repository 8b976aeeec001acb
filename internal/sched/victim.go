package sched

import (
	"cmp"
	"slices"
	"time"
)

// candidate is a worker that may be given up.
type candidate struct {
	*worker
	cost int // see dependents
}

// victim returns the worker to give up, or nil if no request and no wish of the
// stock is helped by that, and whether any other would not do as well. What has
// waited longer comes first: the stock, or a flow.
func (d *decision) victim() (w *worker, meant bool) {
	s := d.s
	oldest, missing := s.missing.first()
	stock := s.wanting && d.now >= s.settled
	o, list := s.look(d.now), d.candidates()
	if stock && (!missing || s.settled <= oldest.place) {
		if w := d.lacking(o, list); w != nil {
			return w, true
		}
		stock = false
	}
	if missing {
		if w := d.helper(o, list); w != nil {
			return w, false
		}
	}
	if stock {
		if w := d.lacking(o, list); w != nil {
			return w, true
		}
	}
	return d.relief(o, list), true
}

// candidates returns the workers that may be given up, first that whose end costs
// least: one on which the least depends, then the one with the least to do, then
// the one that was used least recently.
func (d *decision) candidates() []candidate {
	s := d.s
	cost := s.dependents(d.now)
	var list []candidate
	for _, w := range s.list {
		if !w.kept() {
			list = append(list, candidate{w, cost[w.shelf]})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.inFlight, b.inFlight), cmp.Compare(a.turnStart, b.turnStart))
	})
	return list
}

// dependents counts, by shelf that a single worker has, the requests that wait for
// it and for nothing else, and one for each file that is used again and again: so
// it is rather the worker with what was used once that is restarted again.
func (s *Scheduler) dependents(now Time) map[*shelf]int {
	cost := make(map[*shelf]int)
	for _, f := range s.longest.items {
		if len(f.spots) == 1 && f.spots[0].shelf.workers == 1 {
			cost[f.spots[0].shelf] += f.waiting
		}
	}
	for _, sh := range s.shelves {
		for _, file := range sh.list {
			if sh.workers == 1 && len(s.homes[file]) == 1 && s.items[file].hot(now) {
				cost[sh]++
			}
		}
	}
	return cost
}

// maxTries bounds how many workers are looked at for a better one.
const maxTries = 8

// helper returns the worker to load what a missing flow needs, rather one that
// need not let go of a preloaded file for that.
func (d *decision) helper(o *outlook, list []candidate) *worker {
	var second *worker
	for i, c := range list {
		if i >= maxTries && second != nil {
			break
		}
		p := o.draft(c.id, c.id)
		if !d.s.helped(p) {
			continue
		}
		if len(o.yields(c.id, c.id, p)) == 0 {
			return c.worker
		}
		if second == nil {
			second = c.worker
		}
	}
	return second
}

// few bounds how many flows are looked at of those that wait.
const few = 64

// helped reports whether that plan helps one of the missing flows.
func (s *Scheduler) helped(p *plan) bool {
	list := s.missing.items // a heap: the one whose turn it is comes first
	return slices.ContainsFunc(list[:min(len(list), few)], p.helps)
}

// yields returns the preloaded files that nobody has if the victim's place is
// taken by a process with that plan.
func (o *outlook) yields(id, victim int, p *plan) (list []File) {
	d := o.begin(id, victim)
	for _, file := range o.s.had[victim] {
		it, known := o.s.items[file]
		if known && it.Preload && !it.gone && !it.bad && !p.has[file] && !d.held(file) {
			list = append(list, file)
		}
	}
	return list
}

// lacking returns the worker to load something that nobody asked for.
func (d *decision) lacking(o *outlook, list []candidate) *worker {
	s := d.s
	unmet := s.unmet()
	for _, c := range list {
		wished := s.pins
		if s.all {
			wished = s.order
		}
		lacks := func(file File) bool { return !c.shelf.files[file] && !s.items[file].bad }
		if len(unmet) == 0 && !slices.ContainsFunc(wished, lacks) {
			continue
		}
		p := o.draft(c.id, c.id)
		if slices.ContainsFunc(p.files, func(file File) bool {
			it := s.item(file)
			return lacks(file) && !it.gone && (s.all || it.standing || it.Preload && it.wanted <= d.now && !s.Loaded(file))
		}) {
			return c.worker
		}
	}
	s.wanting, s.wantAgain = false, Never
	for _, it := range unmet {
		if it.wanted > d.now {
			s.wantAgain = min(s.wantAgain, it.wanted)
		}
	}
	return nil
}

// unmet returns the preloaded files that nobody has.
func (s *Scheduler) unmet() (list []*item) {
	for _, file := range s.preloads {
		if it := s.items[file]; !it.bad && !s.Loaded(file) {
			list = append(list, it)
		}
	}
	return list
}

// relief returns an idle worker that should load what requests on other workers
// wait for, because they have waited for longer than that takes.
func (d *decision) relief(o *outlook, list []candidate) *worker {
	s := d.s
	if !s.relievable() || d.now < s.relieve {
		return nil
	}
	late, tries := d.late(), 0
	for _, c := range list {
		if len(late) == 0 || tries == maxTries {
			break
		}
		if c.inFlight > 0 || c.wanted() {
			continue
		}
		tries++
		p := o.draft(c.id, c.id)
		if slices.ContainsFunc(late, func(f *flow) bool { return !c.holds(f) && holdsAll(p.has, f.files) }) {
			return c.worker
		}
	}
	return nil
}

// late returns flows that have waited for long enough to be loaded elsewhere, too,
// and notes when there will be others.
func (d *decision) late() (list []*flow) {
	s := d.s
	s.relieve = d.now + 2*s.longestQuantum() + s.opts.ReloadInterval // of one that comes now
	for _, f := range s.longest.items {
		at := f.head.Since + 2*s.longestQuantum() + s.opts.ReloadInterval
		switch {
		case f.capped() || len(f.spots) == 0 || len(f.files) == 0:
		case at > d.now:
			s.relieve = min(s.relieve, at)
		case len(list) < few:
			list = append(list, f)
		}
	}
	if len(list) > 0 {
		s.relieve = min(s.relieve, d.now+time.Second)
	}
	return list
}

// relievable reports whether there are idle workers that lack what others have.
func (s *Scheduler) relievable() bool {
	return s.applied.IdleLen() > 0 && len(s.shelves) > 1 && s.longest.len() > 0
}
