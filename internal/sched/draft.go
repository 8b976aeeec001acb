package sched

import (
	"cmp"
	"slices"
)

// plan is a set of files that is being put together for one worker.
type plan struct {
	s        *Scheduler
	files    []File
	has      map[File]bool
	bytes    int64
	unproven int
	most     int  // files that may be in it beside what Options allow; 0 is no bound
	batch    int  // how many unproven files may be in it
	careful  bool // none may
}

// fresh returns those of the files that are not in yet, and their bytes. It
// reports false when one of them can never be.
func (p *plan) fresh(files []File) (fresh []*item, bytes int64, ok bool) {
	for _, file := range files {
		it := p.s.item(file)
		if p.has[file] || slices.Contains(fresh, it) {
			continue
		}
		if it.bad || p.careful && !it.proven {
			return nil, 0, false
		}
		fresh = append(fresh, it)
		bytes += it.Bytes
	}
	return fresh, bytes, true
}

// add takes all of the files in, if there is room for them, or none.
func (p *plan) add(files ...File) bool {
	fresh, bytes, ok := p.fresh(files)
	if !ok || !p.room(len(p.files)+len(fresh), p.bytes+bytes) {
		return false
	}
	unproven, batch := p.unproven, p.batch
	for _, it := range fresh {
		if !it.proven {
			unproven, batch = unproven+1, min(batch, it.batch)
		}
	}
	if unproven > batch {
		return false
	}
	for _, it := range fresh {
		p.files = append(p.files, it.File)
		p.has[it.File] = true
	}
	p.bytes, p.unproven, p.batch = p.bytes+bytes, unproven, batch
	return true
}

// bring adds the files. If there is room for them, but they must not be tried all
// at once, it adds one of those that are to be tried.
func (p *plan) bring(files []File) {
	fresh, bytes, ok := p.fresh(files)
	if !ok || !p.room(len(p.files)+len(fresh), p.bytes+bytes) || p.add(files...) {
		return
	}
	for _, it := range fresh {
		if !it.proven && p.add(it.File) {
			return
		}
	}
}

// room reports whether so much may be in it.
func (p *plan) room(files int, bytes int64) bool {
	return (p.most == 0 || files <= p.most) && p.s.opts.room(files, bytes)
}

// full reports whether nothing more fits.
func (p *plan) full() bool {
	return !p.room(len(p.files)+1, p.bytes+p.s.least)
}

// helps reports whether the flow, whose files nobody has, could run on a worker
// with that plan, or whether one of its files is tried.
func (p *plan) helps(f *flow) bool {
	return holdsAll(p.has, f.files) ||
		slices.ContainsFunc(f.files, func(file File) bool { return p.has[file] && !p.s.item(file).proven })
}

// want is something to be loaded: what a flow that waits needs, or a file that is
// preloaded.
type want struct {
	flow  *flow // nil for a preloaded file
	files []File
	since Time // it is its turn before others that came later
}

// outlook is what all drafts of one moment have in common. To make it costs a look
// at everything that waits.
type outlook struct {
	s        *Scheduler
	now      Time
	starting map[int]map[File]bool // what members are starting with
	coming   map[File]int          // how many of these have a file
	leaving  []*worker             // that are being given up
	wants    []want                // first the one whose turn it is
	recent   []File                // the stock, most recently used first, once it was needed
}

func (s *Scheduler) look(now Time) *outlook {
	o := &outlook{s: s, now: now, starting: make(map[int]map[File]bool), coming: make(map[File]int)}
	for id, files := range s.planned {
		if s.drained[id] {
			continue
		}
		o.starting[id] = fileSet(files)
		for _, file := range files {
			o.coming[file]++
		}
	}
	for _, w := range s.list {
		if w.reloading {
			o.leaving = append(o.leaving, w)
		}
	}
	o.listWants()
	return o
}

// byLastUse returns the stock, most recently used first.
func (o *outlook) byLastUse() []File {
	if o.recent == nil {
		o.recent = slices.DeleteFunc(o.s.recent.Idle(), func(file File) bool { return o.s.items[file].gone })
		slices.Reverse(o.recent)
	}
	return o.recent
}

// listWants puts what is wanted into the order in which it is to be loaded: by
// identity, not by request, so that a flood does not come before others for ever.
// Flows that a worker takes requests of come last.
func (o *outlook) listWants() {
	s := o.s
	for _, f := range s.longest.items {
		if len(f.files) == 0 || slices.ContainsFunc(f.files, s.Spoiled) {
			continue
		}
		since := Never
		if len(f.open) == 0 {
			since = f.place
		}
		o.wants = append(o.wants, want{flow: f, files: f.files, since: since})
	}
	for i, file := range s.preloads {
		if it := s.items[file]; !it.standing && !it.bad {
			o.wants = append(o.wants, want{files: s.preloads[i : i+1], since: it.wanted})
		}
	}
	slices.SortStableFunc(o.wants, func(a, b want) int {
		if a.since != b.since || a.flow == nil || b.flow == nil {
			return cmp.Compare(a.since, b.since)
		}
		return cmp.Compare(a.flow.head.Ticket, b.flow.head.Ticket)
	})
}

// drafting is one plan in the making: for member id, in place of what victim has.
type drafting struct {
	*outlook
	p          *plan
	id, victim int
	leaving    []*worker // those two, too
	had        map[File]bool
	kept       []File // of that, in the order in which it is to stay
}

// draft puts together what member id should load next, in place of what victim
// has; they are the same unless id is a spare.
func (o *outlook) draft(id, victim int) *plan {
	s := o.s
	d := o.begin(id, victim)
	d.p = &plan{s: s, has: make(map[File]bool), most: s.opening(id), batch: maxFiles, careful: s.careful[id]}
	d.keep()
	for _, file := range s.pins {
		d.p.add(file)
	}
	d.newcomers(d.first())
	for _, file := range d.kept {
		if s.items[file].inUse(o.now) && !d.held(file) {
			d.p.add(file)
		}
	}
	for _, w := range o.wants {
		if d.p.full() {
			return d.p
		}
		if w.flow != nil || !d.held(w.files...) {
			d.p.bring(w.files)
		}
	}
	d.fill(false)
	d.fill(true)
	return d.p
}

// opening bounds what the very first process of all loads, which the others wait for; 0 is
// no bound. It has the rest when another can stand in for it.
func (s *Scheduler) opening(id int) int {
	if id != 0 || s.opts.First == 0 || len(s.had) > 0 || s.opts.Workers+s.opts.Spares < 2 {
		return 0
	}
	return max(s.opts.First, len(s.pins))
}

// begin returns a drafting without a plan.
func (o *outlook) begin(id, victim int) *drafting {
	d := &drafting{outlook: o, id: id, victim: victim, had: fileSet(o.s.had[victim])}
	d.leaving = slices.Clone(o.leaving)
	for _, w := range []*worker{o.s.workers[id], o.s.workers[victim]} {
		if w != nil && !slices.Contains(d.leaving, w) {
			d.leaving = append(d.leaving, w)
		}
	}
	return d
}

// held reports whether another member has all of the files, or will.
func (d *drafting) held(files ...File) bool {
	for _, sh := range d.s.homes[files[0]] {
		n := sh.workers
		for _, w := range d.leaving {
			if w.shelf == sh {
				n--
			}
		}
		if n > 0 && (len(files) == 1 || sh.holds(files)) {
			return true
		}
	}
	if d.coming[files[0]] == 0 {
		return false
	}
	for member, set := range d.starting {
		if member != d.id && member != d.victim && holdsAll(set, files) {
			return true
		}
	}
	return false
}

// keep finds what the victim had and is still in stock. What was used again and
// again comes before what was used once, so that a scan over many files does not
// drive it out; then what was used last.
func (d *drafting) keep() {
	items := d.s.items
	for _, file := range d.s.had[d.victim] {
		if it, known := items[file]; known && !it.gone {
			d.kept = append(d.kept, file)
		}
	}
	slices.SortFunc(d.kept, func(a, b File) int {
		x, y := items[a], items[b]
		if hot := x.hot(d.now); hot != y.hot(d.now) {
			if hot {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.uses, x.uses)
	})
}

// first adds what comes before everything but what is pinned: what waits longest
// of what nobody has, and the preloaded files that only the victim has. They make
// room for a flow if they must, though not for another preloaded file. It returns
// which of them stay.
func (d *drafting) first() (stay []File) {
	var oldest, unmet *want
	for i := range d.wants {
		w := &d.wants[i]
		switch {
		case d.held(w.files...):
		case w.flow != nil:
			if oldest == nil && w.flow.missingIndex != 0 {
				oldest = w
			}
		case d.had[w.files[0]]:
			stay = append(stay, w.files[0])
		case unmet == nil && w.since <= d.now:
			unmet = w
		}
	}
	if unmet != nil && (oldest == nil || unmet.since < oldest.since) && d.p.add(append(slices.Clip(stay), unmet.files...)...) {
		return stay
	}
	if oldest != nil {
		d.p.bring(oldest.files)
	}
	for _, file := range stay {
		d.p.add(file)
	}
	return slices.DeleteFunc(stay, func(file File) bool { return !d.p.has[file] })
}

// newcomers adds what is wanted and nobody has, in order, until half of the room
// is taken that pinned files and the others that stay leave: the other half is for
// what is in use.
func (d *drafting) newcomers(stay []File) {
	files, bytes := len(d.s.pins)+len(stay), int64(0)
	for _, list := range [][]File{d.s.pins, stay} {
		for _, file := range list {
			bytes += d.s.items[file].Bytes
		}
	}
	o := d.s.opts
	took, tookBytes := len(d.p.files)-files, d.p.bytes-bytes
	for _, w := range d.wants {
		if d.p.full() {
			return
		}
		enough := o.MaxLoaded > 0 && took >= max(1, (o.MaxLoaded-files)/2) ||
			o.Memory > 0 && took > 0 && tookBytes >= (o.Memory-bytes)/2
		had := holdsAll(d.had, w.files)
		if enough && !had || w.flow == nil && w.since > d.now || d.held(w.files...) {
			continue
		}
		n, size := len(d.p.files), d.p.bytes
		if d.p.bring(w.files); !had {
			took, tookBytes = took+len(d.p.files)-n, tookBytes+d.p.bytes-size
		}
	}
}

// fill adds what the victim had and then the rest of the stock, by last use; what
// others have, too, only if so told.
func (d *drafting) fill(held bool) {
	add := func(list []File) {
		for _, file := range list {
			if d.p.full() {
				return
			}
			if held || !d.held(file) {
				d.p.add(file)
			}
		}
	}
	if add(d.kept); !d.p.full() {
		add(d.byLastUse())
	}
}
