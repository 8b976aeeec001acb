package sched

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/lru"
)

// Stock is one file that workers may have loaded.
type Stock struct {
	File    File
	Bytes   int64 // that it takes in a worker's memory
	Pin     bool  // every worker has it loaded
	Preload bool  // one worker at least has it loaded, without anyone asking
}

// item is what is known of a file.
type item struct {
	Stock
	gone bool // from the stock; requests that came before may still need it
	bad  bool // it ends every process that loads it

	// A file is proven once a process came up with it. One that was in a set that
	// failed is tried in smaller ones, at most batch unproven files at once, until it
	// is alone.
	proven  bool
	batch   int
	strikes int // processes that failed with it as the only unproven file

	used Time // last; 0 is never
}

// conviction is how many strikes make a file bad, if the same worker comes up
// without it: one could have another reason.
const conviction = 2

// loader is the part of a Scheduler that knows what is loaded and decides what
// will be.
type loader struct {
	items  map[File]*item
	order  []File                   // the stock, as it was given
	recent *lru.Set[File, struct{}] // all items by last use: the second LRU

	planned map[int][]File // by member that is starting
	had     map[int][]File // what each member loaded last
	accused map[int]File   // by member that is starting without it, to tell whose fault it was
	careful map[int]bool   // members whose next start takes proven files only
	guilty  []File         // found since the last Convicted
	drained map[int]bool
	vacant  map[int]bool // members without a process
	forced  []int        // workers to restart because somebody said so

	phase       phase
	victim      int  // the worker whose place is taken
	next        int  // the member that takes it: the same, or a spare
	began       Time // when the process of next was asked for
	notBefore   Time // the next reload
	spareBroken Time // until when the spare is not tried: it could not start
	wanting     bool // some worker may lack what it should have without anyone asking
	settled     Time // when the stock has not changed for a moment
	futile      Time // until when no worker is looked for again: none would help
	all         bool // the whole stock fits into one worker

	pinned      int   // files that every worker has loaded
	pinnedBytes int64 // that they take
}

// maxFiles is more than a catalog can have.
const maxFiles = 1 << 20

func newLoader(opts Options) loader {
	l := loader{
		items: make(map[File]*item), recent: lru.New[File, struct{}](maxFiles),
		planned: make(map[int][]File), had: make(map[int][]File),
		accused: make(map[int]File), careful: make(map[int]bool),
		drained: make(map[int]bool), vacant: make(map[int]bool),
	}
	for i := range opts.Spares {
		l.vacant[opts.Workers+i] = true
	}
	return l
}

// coalesce is how long the stock must be left alone before workers are restarted
// for what nobody has asked for yet: files tend to come in groups.
const coalesce = 300 * time.Millisecond

// SetStock says which files there are; those that are not among them any more
// are kept for requests that need them.
func (s *Scheduler) SetStock(stock []Stock, now Time) {
	for _, it := range s.items {
		it.gone = true
	}
	s.order = s.order[:0]
	for _, st := range slices.Backward(stock) { // of new ones the first counts as used last
		it := s.item(st.File)
		it.Stock, it.gone = st, false
		s.order = append(s.order, st.File)
	}
	slices.Reverse(s.order)
	for file, it := range s.items {
		if it.gone && !s.Uses(file) {
			delete(s.items, file)
			s.recent.Remove(file)
		}
	}
	s.all = s.fits()
	s.countPinned()
	s.wanting, s.settled = true, now+coalesce
}

// fits reports whether one worker can have all of the stock loaded.
func (s *Scheduler) fits() bool {
	var bytes int64
	for _, file := range s.order {
		bytes += s.items[file].Bytes
	}
	o := s.opts
	return (o.MaxLoaded == 0 || len(s.order) <= o.MaxLoaded) && (o.Memory == 0 || bytes <= o.Memory)
}

func (s *Scheduler) countPinned() {
	s.pinned, s.pinnedBytes = 0, 0
	for _, file := range s.order {
		if it := s.items[file]; it.Pin {
			s.pinned, s.pinnedBytes = s.pinned+1, s.pinnedBytes+it.Bytes
		}
	}
}

// Room reports whether a worker has room for all of the files at once, beside
// what is pinned. Requests for files that it has none for would wait for ever.
func (s *Scheduler) Room(files []File) bool {
	o := s.opts
	if o.MaxLoaded == 0 && o.Memory == 0 {
		return true
	}
	count, bytes := s.pinned, s.pinnedBytes
	for _, file := range files {
		it, known := s.items[file]
		if known && it.Pin && !it.gone {
			continue
		}
		count++
		if known {
			bytes += it.Bytes
		}
	}
	return (o.MaxLoaded == 0 || count <= o.MaxLoaded) && (o.Memory == 0 || bytes <= o.Memory)
}

// Spoiled reports whether a file will not be loaded any more; see Spoil and
// Convicted.
func (s *Scheduler) Spoiled(file File) bool {
	it, known := s.items[file]
	return known && it.bad
}

// item returns what is known of a file, which may be nothing yet.
func (s *Scheduler) item(file File) *item {
	it, ok := s.items[file]
	if !ok {
		it = &item{Stock: Stock{File: file}, gone: true, batch: maxFiles}
		s.items[file] = it
		_, _ = s.recent.Put(file, struct{}{}) // there is room for all
	}
	return it
}

// use marks files as just used.
func (s *Scheduler) use(files []File, now Time) {
	for _, file := range files {
		s.item(file).used = now
		s.recent.Get(file)
	}
}

// Loaded reports whether a worker that is up has the file loaded.
func (s *Scheduler) Loaded(file File) bool {
	return slices.ContainsFunc(s.shelves, func(sh *shelf) bool { return sh.files[file] })
}

// Uses reports whether a process has the file loaded or will, or a request that
// waits or runs needs it. It looks at every flow.
func (s *Scheduler) Uses(file File) bool {
	if s.Loaded(file) {
		return true
	}
	for _, files := range s.planned {
		if slices.Contains(files, file) {
			return true
		}
	}
	for _, f := range s.flows {
		if !f.idle() && slices.Contains(f.files, file) {
			return true
		}
	}
	return false
}

// Spoil says that a file cannot be loaded any more, for example because it is not
// there; it is never planned again. Requests that need it wait in vain: the
// owner turns them away.
func (s *Scheduler) Spoil(file File) {
	s.item(file).bad = true
	for id, files := range s.planned {
		s.planned[id] = slices.DeleteFunc(slices.Clone(files), func(x File) bool { return x == file })
	}
}

// FileView is what is known of a file at one moment.
type FileView struct {
	File      File
	LoadedOn  []int // workers
	AppliedOn []int // workers where the identity in force needs it
	Used      Time  // last; 0 is never
	Wanted    bool  // it will be loaded without anyone asking
}

// Files returns a view of every file that is in stock or loaded.
func (s *Scheduler) Files() []FileView {
	var views []FileView
	for file, it := range s.items {
		v := FileView{File: file, Used: it.used, Wanted: !it.gone && !it.bad && (s.all || it.Pin || it.Preload)}
		for _, w := range s.list {
			if w.shelf.files[file] {
				v.LoadedOn = append(v.LoadedOn, w.id)
			}
			if slices.Contains(w.flow.files, file) {
				v.AppliedOn = append(v.AppliedOn, w.id)
			}
		}
		if !it.gone || len(v.LoadedOn) > 0 {
			views = append(views, v)
		}
	}
	return views
}

// Convicted returns the files that were found to end every process that loads
// them, since the last call.
func (s *Scheduler) Convicted() []File {
	list := s.guilty
	s.guilty = nil
	return list
}

// plan is a set of files that is being put together for one worker.
type plan struct {
	s        *Scheduler
	files    []File
	has      map[File]bool
	bytes    int64
	unproven int
	batch    int  // how many unproven files may be in it
	careful  bool // none may
}

// add takes all of the files in, if there is room for them, or none.
func (p *plan) add(files ...File) bool {
	var fresh []File
	bytes, unproven, batch := p.bytes, p.unproven, p.batch
	for _, file := range files {
		it := p.s.item(file)
		if p.has[file] || slices.Contains(fresh, file) {
			continue
		}
		if it.bad || p.careful && !it.proven {
			return false
		}
		if !it.proven {
			unproven, batch = unproven+1, min(batch, it.batch)
		}
		fresh = append(fresh, file)
		bytes += it.Bytes
	}
	o := p.s.opts
	if unproven > batch || o.MaxLoaded > 0 && len(p.files)+len(fresh) > o.MaxLoaded || o.Memory > 0 && bytes > o.Memory {
		return false
	}
	p.files = append(p.files, fresh...)
	p.bytes, p.unproven, p.batch = bytes, unproven, batch
	for _, file := range fresh {
		p.has[file] = true
	}
	return true
}

// draft puts together what member id should load next, in place of what victim
// has; they are the same unless id is a spare. First come pinned files, then those
// that the request needs which waits longest and that nobody else has, preloaded
// ones, then what further requests wait for and nobody else has, then what nobody
// else would keep.
func (s *Scheduler) draft(id, victim int, now Time) *plan {
	p := &plan{s: s, has: make(map[File]bool), batch: maxFiles, careful: s.careful[id]}
	elsewhere := s.elsewhere(id, victim)
	held := func(files ...File) bool {
		return slices.ContainsFunc(elsewhere, func(set map[File]bool) bool {
			return !slices.ContainsFunc(files, func(file File) bool { return !set[file] })
		})
	}
	for _, file := range s.order {
		if s.items[file].Pin {
			p.add(file)
		}
	}
	queue := s.queue()
	if i := slices.IndexFunc(queue, func(f *flow) bool { return !held(f.files...) }); i >= 0 {
		// Also if what is preloaded would leave no room, and one by one if they must be
		// proven before they are loaded together.
		if files := queue[i].files; !p.add(files...) {
			for _, file := range files {
				p.add(file)
			}
		}
	}
	for _, file := range s.order {
		if s.items[file].Preload && !held(file) {
			p.add(file)
		}
	}
	had := newShelf(s.had[victim])
	kept, rest := s.byLastUse(had.files), s.byLastUse(nil)
	full := p.half()
	for _, f := range queue {
		if !held(f.files...) && (had.holds(f.files) || !full()) {
			p.add(f.files...)
		}
	}
	for _, file := range kept {
		if it := s.items[file]; it.used > 0 && now-it.used < inUse && !held(file) {
			p.add(file)
		}
	}
	for _, f := range queue {
		p.add(f.files...)
	}
	for _, list := range [][]File{kept, rest} {
		for _, file := range list {
			if !held(file) {
				p.add(file)
			}
		}
	}
	for _, file := range append(kept, rest...) {
		p.add(file)
	}
	return p
}

// inUse is how long after its last use a file counts as in use: newcomers take
// half of the room from such files at once, so that a scan over many does not
// drive them out.
const inUse = time.Minute

// half returns a function that reports when half of the room that is left now has
// been taken.
func (p *plan) half() (full func() bool) {
	o := p.s.opts
	files, bytes := len(p.files), p.bytes
	return func() bool {
		return o.MaxLoaded > 0 && len(p.files)-files >= max(1, (o.MaxLoaded-files)/2) ||
			o.Memory > 0 && p.bytes-bytes >= (o.Memory-bytes)/2
	}
}

// elsewhere returns what the other members have loaded or will have.
func (s *Scheduler) elsewhere(id, victim int) []map[File]bool {
	var sets []map[File]bool
	for _, w := range s.list {
		if w.id != id && w.id != victim && !w.reloading {
			sets = append(sets, w.shelf.files)
		}
	}
	for other, files := range s.planned {
		if other != id {
			sets = append(sets, newShelf(files).files)
		}
	}
	return sets
}

// queue returns the flows that wait, longest first.
func (s *Scheduler) queue() []*flow {
	flows := slices.Clone(s.longest.items)
	slices.SortFunc(flows, func(f, g *flow) int {
		if d := f.head.Since - g.head.Since; d != 0 {
			return int(d)
		}
		return int(f.head.Ticket) - int(g.head.Ticket)
	})
	return flows
}

// byLastUse returns the files that are in stock, and in the set unless that is
// nil, most recently used first.
func (s *Scheduler) byLastUse(set map[File]bool) []File {
	list := slices.DeleteFunc(s.recent.Idle(), func(file File) bool {
		return set != nil && !set[file] || s.items[file].gone
	})
	slices.Reverse(list)
	return list
}
