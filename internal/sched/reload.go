package sched

import (
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

const (
	// trouble is how long the spare is left alone after it could not be started,
	// for which most likely there is no memory, and all other workers after one
	// could not be started again with files that are proven.
	trouble = 10 * time.Minute
	// patience is how long the others stay because a worker has no process.
	patience = time.Minute
	// futility is how long no worker is looked for after none was found, which
	// takes longer than other decisions.
	futility = 100 * time.Millisecond
)

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
		victim = s.victim
	}
	delete(s.planned, id)
	o := s.look(now)
	p := o.draft(id, victim)
	for _, file := range o.yields(id, victim, p) {
		s.items[file].wanted = now + inUse
	}
	s.planned[id] = p.files
	return p.files, true
}

// loaded ends a member's start and returns what it has loaded, all of which is
// proven now.
func (s *Scheduler) loaded(id int) []File {
	files := s.planned[id]
	delete(s.planned, id)
	delete(s.careful, id)
	s.had[id] = files
	s.fitted[id] = max(s.fitted[id], s.bytes(files))
	for _, file := range files {
		it := s.item(file)
		it.proven, it.strikes = true, 0
	}
	if file, ok := s.accused[id]; ok {
		delete(s.accused, id)
		if it := s.item(file); !it.proven && !it.bad && it.strikes >= conviction {
			s.condemn(it)
			s.guilty = append(s.guilty, file)
		}
	}
	return files
}

// cameUp takes notice of a worker that came up.
func (s *Scheduler) cameUp(w *worker, now Time) {
	delete(s.absent, w.id)
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
	s.vacate(s.victim)
	delete(s.had, s.victim)
	s.notBefore = max(s.notBefore, now+s.opts.ReloadInterval)
}

// vacate leaves a member without a process.
func (s *Scheduler) vacate(id int) {
	s.vacant[id] = true
	delete(s.absent, id)
	delete(s.careful, id)
}

// keep keeps a worker that is to end from new requests, and unkeep takes that
// back.
func (s *Scheduler) keep(w *worker, now Time)   { s.setReloading(w, true, now) }
func (s *Scheduler) unkeep(w *worker, now Time) { s.setReloading(w, false, now) }

func (s *Scheduler) setReloading(w *worker, reloading bool, now Time) {
	w.reloading = reloading
	s.reopen(w, now)
}

// wentDown takes notice of a worker that ended.
func (s *Scheduler) wentDown(id int, now Time) {
	s.wanting = true
	s.absent[id] = now + patience
	s.forced = slices.DeleteFunc(s.forced, func(x int) bool { return x == id })
	switch {
	case s.phase == draining && s.victim == id:
		s.phase, s.began = restarting, now // its owner starts it again anyway
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
	if len(fresh) == 0 {
		if s.phase == restarting && s.next == id {
			s.giveIn(now)
		}
		return false
	}
	for _, it := range fresh {
		it.batch = max(1, len(fresh)/2)
	}
	s.careful[id], s.wanting = true, true
	if len(fresh) == 1 {
		fresh[0].strikes++
		s.accused[id] = fresh[0].File
	}
	return true
}

// TooMuch is Failed for a process that ran out of memory, or could not even be told
// what to load. If it was to load more
// than the member ever had, or any other if it had nothing, less is loaded from now
// on, by all members: it returns how many bytes at most. The bound is halfway to the
// most that any member has had, so the right one is found after a few starts.
// Otherwise files may be to blame.
func (s *Scheduler) TooMuch(id int) (bound int64, learned bool) {
	wanted, most := s.bytes(s.planned[id]), s.fitted[id]
	for _, fits := range s.fitted {
		if s.fitted[id] == 0 {
			most = max(most, fits)
		}
		if fits < wanted {
			bound = max(bound, fits)
		}
	}
	if most == 0 || wanted <= most {
		return 0, false
	}
	delete(s.planned, id)
	delete(s.accused, id)
	bound += (wanted - bound) / 2
	s.opts.Memory = bound // it was more, or none
	s.all, s.wanting = s.fits(), true
	s.settlePins()
	return bound, true
}

// bytes is how much memory files take.
func (s *Scheduler) bytes(files []File) (sum int64) {
	for _, file := range files {
		sum += s.item(file).Bytes
	}
	return sum
}

// giveIn ends a reload whose process does not come up.
func (s *Scheduler) giveIn(now Time) {
	s.phase = quiet
	if s.next == s.victim { // the same would happen to others
		s.absent[s.next] = now + trouble
		return
	}
	s.vacate(s.next)
	s.spareBroken = now + trouble
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
// restarts. What it has loaded does not count meanwhile.
func (s *Scheduler) Drain(id int, drained bool, now Time) {
	s.drained[id] = drained
	w, up := s.workers[id]
	if !up || w.drained == drained {
		return
	}
	s.wanting = true
	w.drained = drained
	if drained {
		s.reopen(w, now)
		s.unshelve(w)
		s.shelve(w, w.shelf.list)
		return
	}
	s.shelve(w, w.shelf.list)
	s.reopen(w, now)
}

// reload takes the next step of the reload that is under way, or begins one. It
// reports whether a busy worker takes no more requests from now on, or does so
// again: that may change what others are to do.
func (d *decision) reload() (changed bool) {
	s := d.s
	switch s.phase {
	case quiet:
		changed = d.begin()
	case draining:
		changed = d.reconsider()
	}
	w, up := s.workers[s.victim]
	if !up || w.inFlight > 0 {
		return changed
	}
	switch s.phase {
	case draining:
		s.phase, s.began = restarting, d.now
		s.counts.Reloads++
		d.actions = append(d.actions, Action{Kind: Reload, Worker: s.victim})
	case retiring:
		d.actions = append(d.actions, Action{Kind: Retire, Worker: s.victim})
	}
	return changed
}

// begin gives a worker up, if there is a reason to. It reports whether that is
// busy and takes no more requests.
func (d *decision) begin() (busy bool) {
	s := d.s
	for len(s.forced) > 0 && len(s.planned) == 0 {
		id := s.forced[0]
		s.forced = s.forced[1:]
		if w, up := s.workers[id]; up {
			s.meant = true
			return d.giveUp(w, id)
		}
	}
	if d.now >= s.wantAgain {
		s.wanting, s.wantAgain = true, Never
	}
	if len(s.planned) > 0 || d.now < s.mayBegin() || !s.reason(d.now) {
		return false // one at a time
	}
	w, meant := d.victim()
	if w == nil {
		if s.missing.len() > 0 {
			s.futile = d.now + futility
		}
		return false
	}
	s.meant = meant
	return d.giveUp(w, d.successor(w))
}

// mayBegin is when the next worker may be given up, if nothing happens before.
func (s *Scheduler) mayBegin() Time {
	at := max(s.notBefore, s.futile)
	for _, until := range s.absent {
		at = max(at, until)
	}
	return at
}

// reason reports whether it may be good for something to give a worker up.
func (s *Scheduler) reason(now Time) bool {
	if s.shrinking {
		return s.missing.len() > 0
	}
	return s.missing.len() > 0 || s.wanting && now >= s.settled || s.relievable() && now >= s.relieve
}

// successor returns who takes a worker's place: a spare if there is one that can
// be started, else the same member.
func (d *decision) successor(w *worker) int {
	s := d.s
	if d.now < s.spareBroken || s.shrinking {
		return w.id
	}
	for id := range s.opts.Workers + s.opts.Spares {
		if s.vacant[id] && !s.drained[id] {
			return id
		}
	}
	return w.id
}

// giveUp begins the reload of a worker, whose place next takes. It reports whether
// the worker is busy and takes no more requests.
func (d *decision) giveUp(w *worker, next int) (busy bool) {
	s := d.s
	s.victim, s.next, s.began = w.id, next, d.now
	if next == w.id {
		s.phase, s.futile = draining, d.now+futility
		s.keep(w, d.now)
		return w.inFlight > 0
	}
	s.phase = restarting
	s.vacant[next] = false
	s.counts.Reloads++
	d.actions = append(d.actions, Action{Kind: Start, Worker: next, InPlaceOf: w.id})
	return false
}

// reconsider gives a worker up that is idle now, instead of one that goes on
// draining, if that helps those who wait as well and costs no more. What goes on
// for longer than a quantum costs those who wait, too. It reports whether it did.
func (d *decision) reconsider() bool {
	s := d.s
	v, up := s.workers[s.victim]
	if !up || v.inFlight == 0 || s.meant || !s.mayReconsider() || d.now < s.futile {
		return false
	}
	o, limit := s.look(d.now), s.dependents(d.now)[v.shelf]
	if d.now >= s.began+s.longestQuantum() {
		for _, f := range s.missing.items {
			limit += f.waiting
		}
	}
	for _, c := range d.candidates() {
		if c.cost > limit {
			break
		}
		if c.inFlight > 0 {
			continue
		}
		if p := o.draft(c.id, c.id); s.helped(p) && len(o.yields(c.id, c.id, p)) == 0 {
			s.unkeep(v, d.now)
			d.giveUp(c.worker, c.id)
			return true
		}
	}
	s.futile = d.now + futility
	return false
}

// mayReconsider reports whether another worker than the one that drains may be
// given up.
func (s *Scheduler) mayReconsider() bool {
	return s.missing.len() > 0 && s.applied.IdleLen() > 0
}

// wakeReload names the moments at which time alone changes something of reloads.
func (d *decision) wakeReload(at func(Time)) {
	s := d.s
	if s.phase == draining && s.mayReconsider() {
		at(s.futile)
	}
	if s.phase != quiet {
		return
	}
	earliest := s.mayBegin()
	if s.missing.len() > 0 {
		at(earliest)
	}
	if s.shrinking {
		return
	}
	if s.wanting {
		at(max(earliest, s.settled))
	} else if s.wantAgain != Never {
		at(max(earliest, s.wantAgain))
	}
	if s.relievable() {
		at(max(earliest, s.relieve))
	}
}
