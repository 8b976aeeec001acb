package sched

import (
	"cmp"
	"slices"
	"time"
)

// phase is how far the one reload that may be under way is. Only one worker at a
// time is given up for other files.
type phase int

const (
	quiet      phase = iota
	draining         // the victim takes no more requests, and ends when it is idle
	restarting       // the process of next is coming up
	retiring         // it has, and the victim, whose place it takes, drains
)

// spareTimeout is how long the spare is left alone after it could not be started:
// most likely there is no memory for one process more.
const spareTimeout = 10 * time.Minute

// Plan returns what a member's process, which is about to be started, is to load;
// Up or Failed must follow. It reports false when the member is to have none.
func (s *Scheduler) Plan(id int, now Time) (files []File, ok bool) {
	if s.phase == retiring && s.victim == id {
		s.retire(now)
	}
	if s.vacant[id] {
		return nil, false
	}
	victim := id
	if s.phase == restarting && s.next == id {
		victim, s.began = s.victim, now
	}
	files = s.draft(id, victim, now).files
	s.planned[id] = files
	return files, true
}

// loaded ends a member's start and returns what it has loaded, all of which is
// proven now.
func (s *Scheduler) loaded(id int, now Time) []File {
	files := s.planned[id]
	delete(s.planned, id)
	delete(s.careful, id)
	s.had[id] = files
	for _, file := range files {
		it := s.item(file)
		it.proven, it.strikes = true, 0
	}
	if file, ok := s.accused[id]; ok {
		delete(s.accused, id)
		if it := s.item(file); !it.proven && it.strikes >= conviction {
			it.bad = true
			s.guilty = append(s.guilty, file)
		}
	}
	return files
}

// cameUp takes notice of a worker that came up.
func (s *Scheduler) cameUp(w *worker, now Time) {
	s.wanting = true
	switch {
	case s.phase == restarting && s.next == w.id:
		s.notBefore = now + max(s.opts.ReloadInterval, now-s.began)
		s.phase = quiet
		if s.victim != s.next {
			s.replaced(now)
		}
	case s.phase == retiring && s.victim == w.id:
		s.keep(w, now)
	}
}

// replaced lets the victim go whose place a spare has taken.
func (s *Scheduler) replaced(now Time) {
	v, up := s.workers[s.victim]
	_, starting := s.planned[s.victim]
	switch {
	case up:
		s.phase = retiring
		s.keep(v, now)
	case starting:
		s.phase = retiring
	default:
		s.retire(now)
	}
}

// retire makes the victim the spare.
func (s *Scheduler) retire(now Time) {
	s.phase = quiet
	s.vacant[s.victim] = true
	delete(s.had, s.victim)
	s.notBefore = max(s.notBefore, now+s.opts.ReloadInterval)
}

// keep keeps a worker that is to end from new requests.
func (s *Scheduler) keep(w *worker, now Time) {
	w.reloading = true
	s.reopen(w, now)
}

// wentDown takes notice of a worker that ended.
func (s *Scheduler) wentDown(id int, now Time) {
	s.wanting = true
	switch {
	case s.phase == draining && s.victim == id:
		s.phase = restarting // its owner starts it again anyway
	case s.phase == retiring && s.victim == id:
		s.retire(now)
	}
}

// Failed says that a member's process could not be started. It reports whether
// files that were never loaded before may be to blame: then the member should be
// started again at once, without them.
func (s *Scheduler) Failed(id int, now Time) (suspicion bool) {
	var fresh []*item
	for _, file := range s.planned[id] {
		if it := s.item(file); !it.proven {
			fresh = append(fresh, it)
		}
	}
	delete(s.planned, id)
	delete(s.accused, id)
	for _, it := range fresh {
		it.batch = max(1, len(fresh)/2)
	}
	if len(fresh) > 0 {
		s.careful[id], s.wanting = true, true
	}
	if len(fresh) == 1 {
		fresh[0].strikes++
		s.accused[id] = fresh[0].File
	}
	if len(fresh) == 0 && s.phase == restarting && s.next == id {
		s.phase = quiet
		if s.next != s.victim {
			s.vacant[id] = true
			s.spareBroken = now + spareTimeout
		}
	}
	return len(fresh) > 0
}

// Vacant reports whether a member is to have no process.
func (s *Scheduler) Vacant(id int) bool { return s.vacant[id] }

// Restart has a worker's process replaced when it is idle; it takes no more
// requests until then.
func (s *Scheduler) Restart(id int) {
	if !slices.Contains(s.forced, id) {
		s.forced = append(s.forced, id)
	}
}

// Drain keeps requests from a worker until it is told otherwise, through
// restarts.
func (s *Scheduler) Drain(id int, drained bool, now Time) {
	s.drained[id] = drained
	s.wanting = s.wanting || !drained // it may have been passed over
	if w, ok := s.workers[id]; ok {
		w.drained = drained
		s.reopen(w, now)
	}
}

// reload takes the next step of the reload that is under way, or begins one.
func (d *decision) reload() {
	s := d.s
	if s.phase == quiet {
		d.begin()
	}
	w, up := s.workers[s.victim]
	if !up || w.inFlight > 0 {
		return
	}
	switch s.phase {
	case draining:
		s.phase, s.next, s.began = restarting, s.victim, d.now
		s.counts.Reloads++
		d.actions = append(d.actions, Action{Kind: Reload, Worker: s.victim})
	case retiring:
		d.actions = append(d.actions, Action{Kind: Retire, Worker: s.victim})
	}
}

// begin gives a worker up, if there is a reason to.
func (d *decision) begin() {
	s := d.s
	for len(s.forced) > 0 {
		id := s.forced[0]
		s.forced = s.forced[1:]
		if w, up := s.workers[id]; up {
			d.giveUp(w, id)
			return
		}
	}
	if len(s.planned) > 0 || d.now < s.notBefore || d.now < s.futile {
		return // one at a time
	}
	w := d.victim()
	if w == nil {
		s.futile = d.now + futility
		return
	}
	d.giveUp(w, d.successor(w))
}

// futility is how long no worker is looked for after none was found, which takes
// longer than other decisions.
const futility = 100 * time.Millisecond

// successor returns who takes a worker's place: a spare if there is one that can
// be started, else the same member.
func (d *decision) successor(w *worker) int {
	for spare, vacant := range d.s.vacant {
		if vacant && d.now >= d.s.spareBroken {
			return spare
		}
	}
	return w.id
}

// giveUp begins the reload of a worker, whose place next takes.
func (d *decision) giveUp(w *worker, next int) {
	s := d.s
	s.victim, s.next, s.began = w.id, next, d.now
	if next == w.id {
		s.phase = draining
		s.keep(w, d.now)
		return
	}
	s.phase = restarting
	s.vacant[next] = false
	s.counts.Reloads++
	d.actions = append(d.actions, Action{Kind: Start, Worker: next, InPlaceOf: w.id})
}

// victim returns the worker to give up, or nil if no request and no wish of the
// stock is helped by that.
func (d *decision) victim() *worker {
	s := d.s
	if s.missing.len() > 0 {
		if w := d.cheapest(func(_ *worker, p *plan) bool { return d.helps(p) }); w != nil {
			return w
		}
	}
	if s.wanting && d.now >= s.settled {
		if w := d.cheapest(func(w *worker, p *plan) bool { return s.lacks(w, p) }); w != nil {
			return w
		}
		s.wanting = false
	}
	return d.relief()
}

// helps reports whether a missing flow could run on a worker with that plan, or
// something that it needs would be proven there.
func (d *decision) helps(p *plan) bool {
	proves := func(file File) bool { return p.has[file] && !d.s.item(file).proven }
	return slices.ContainsFunc(d.s.missing.items, func(f *flow) bool {
		return p.holds(f.files) || slices.ContainsFunc(f.files, proves)
	})
}

func (p *plan) holds(files []File) bool {
	return !slices.ContainsFunc(files, func(file File) bool { return !p.has[file] })
}

// lacks reports whether the plan has something that the worker has not and that
// is to be loaded without anyone asking: what is pinned, what is preloaded and
// nowhere, and all there is if that fits.
func (s *Scheduler) lacks(w *worker, p *plan) bool {
	return slices.ContainsFunc(p.files, func(file File) bool {
		it := s.item(file)
		return !w.shelf.files[file] && !it.gone && (s.all || it.Pin || it.Preload && !s.Loaded(file))
	})
}

// cheapest returns the worker that fits and whose end costs least: first one
// without which the fewest requests would wait, then the one with the least to
// do, then the one that was used least recently.
func (d *decision) cheapest(fits func(*worker, *plan) bool) *worker {
	s := d.s
	cost := make(map[*worker]int)
	for _, f := range s.longest.items {
		if only := s.onlyHolder(f); only != nil {
			cost[only] += f.waiting
		}
	}
	var best *worker
	for _, w := range s.byTurn() {
		if w.kept() || best != nil && cmp.Or(cmp.Compare(cost[w], cost[best]), cmp.Compare(w.inFlight, best.inFlight)) >= 0 {
			continue
		}
		if fits(w, s.draft(w.id, w.id, d.now)) {
			best = w
		}
	}
	return best
}

// onlyHolder returns the worker that alone has loaded what the flow needs, or nil.
func (s *Scheduler) onlyHolder(f *flow) *worker {
	var only *worker
	for _, w := range s.list {
		if w.holds(f) {
			if only != nil {
				return nil
			}
			only = w
		}
	}
	return only
}

// byTurn returns the workers, that whose turn began first first.
func (s *Scheduler) byTurn() []*worker {
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *worker) int { return cmp.Compare(a.turnStart, b.turnStart) })
	return list
}

// relief returns an idle worker that should load what requests on other workers
// wait for, because they have waited for longer than that takes.
func (d *decision) relief() *worker {
	s := d.s
	if !s.relievable() {
		return nil
	}
	for _, f := range s.longest.items {
		if f.capped() || len(f.spots) == 0 || d.now < s.reliefAt(f) {
			continue
		}
		for _, id := range s.applied.Idle() {
			w := s.workers[id]
			if w.idle() && !w.wanted() && !w.holds(f) && s.draft(id, id, d.now).holds(f.files) {
				return w
			}
		}
	}
	return nil
}

// relievable reports whether there are idle workers that lack what others have.
func (s *Scheduler) relievable() bool { return s.applied.IdleLen() > 0 && len(s.shelves) > 1 }

// reliefAt is when a flow has waited for long enough to load it elsewhere, too.
func (s *Scheduler) reliefAt(f *flow) Time {
	return f.head.Since + 2*s.opts.Quantum + s.opts.ReloadInterval
}

// wakeReload names the moments at which time alone begins a reload.
func (d *decision) wakeReload(at func(Time)) {
	s := d.s
	if s.phase != quiet {
		return
	}
	earliest := max(s.notBefore, s.futile)
	if s.missing.len() > 0 {
		at(earliest)
	}
	if s.wanting {
		at(max(earliest, s.settled))
	}
	if s.relievable() {
		for _, f := range s.longest.items {
			at(max(earliest, s.reliefAt(f)))
		}
	}
}
