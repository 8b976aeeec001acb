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
	gone     bool   // from the stock; requests that came before may still need it
	bad      bool   // it ends every process that loads it
	standing bool   // it is pinned, and there is room for it
	edition  uint64 // of the stock, the last that had it

	// A file is proven once a process came up with it. One that was in a set that
	// failed is tried in smaller ones, at most batch unproven files at once, until it
	// is alone.
	proven  bool
	batch   int
	strikes int // processes that failed with it as the only unproven file

	used   Time   // last; 0 is never
	burst  Time   // when the uses began that count as one with the last
	before Time   // the last use before those; 0 is never
	uses   uint64 // the number of its last use among those of all files
	wanted Time   // since when, or from when on, it is to be loaded though nobody asks
}

// oneBurst is how close uses are that count as one: many requests that come at
// once say no more of the future than one.
const oneBurst = 200 * time.Millisecond

// use marks a file as just used, the n-th use of all.
func (it *item) use(n uint64, now Time) {
	it.uses = n
	if it.used == 0 || now-it.burst >= oneBurst {
		it.before, it.burst = it.used, now
	}
	it.used = now
}

// inUse is how long after its last use a file counts as in use.
const inUse = time.Minute

// inUse reports whether the file was used of late, and hot whether that was so
// when it was used last.
func (it *item) inUse(now Time) bool { return it.used > 0 && now-it.used < inUse }
func (it *item) hot(now Time) bool   { return it.before > 0 && now-it.before < inUse }

// conviction is how many strikes make a file bad, if the same worker comes up
// without it: one could have another reason.
const conviction = 2

// loader is the part of a Scheduler that knows what is loaded and decides what
// will be.
type loader struct {
	items    map[File]*item
	order    []File                   // the stock, as it was given
	pins     []File                   // those of it that are standing
	preloads []File                   // those of it that are preloaded
	recent   *lru.Set[File, struct{}] // all items by last use: the second LRU
	uses     uint64                   // counts uses, and files that are new
	edition  uint64                   // counts SetStock
	all      bool                     // the whole stock fits into one worker
	least    int64                    // the bytes of the smallest file in stock

	planned map[int][]File // by member that is starting
	had     map[int][]File // what each member loaded last
	fitted  map[int]int64  // the most that each member has loaded, in bytes
	accused map[int]File   // by member that is starting without it, to tell whose fault it was
	careful map[int]bool   // members whose next start takes proven files only
	guilty  []File         // found since the last Convicted
	drained map[int]bool
	vacant  map[int]bool // members that are to have no process
	absent  map[int]Time // members that should have one and have none: until when all others stay because of that
	forced  []int        // workers to restart because somebody said so

	phase       phase
	victim      int  // the worker whose place is taken
	next        int  // the member that takes it: the same, or a spare
	meant       bool // no other would do as well
	began       Time // when the process of next was asked for
	notBefore   Time // the next reload
	spareBroken Time // until when the spare is not tried: it could not start
	wanting     bool // some worker may lack what it should have without anyone asking
	wantAgain   Time // when that is so again
	changed     Time // when the first of the changes of the stock came that are looked at together
	settled     Time // when they are
	futile      Time // until when no worker is looked for again: none would help
	relieve     Time // when workers are looked for again that could help others
	shrinking   bool // see Shrink
}

// maxFiles is more than a catalog can have.
const maxFiles = 1 << 20

func newLoader(opts Options) loader {
	l := loader{
		items: make(map[File]*item), recent: lru.New[File, struct{}](maxFiles),
		planned: make(map[int][]File), had: make(map[int][]File), fitted: make(map[int]int64),
		accused: make(map[int]File), careful: make(map[int]bool),
		drained: make(map[int]bool), vacant: make(map[int]bool), absent: make(map[int]Time),
		wantAgain: Never,
	}
	l.enroll(0, opts.Workers, opts.Spares, 0)
	return l
}

// enroll takes in the members from number had on: workers, of which each should have a
// process soon, and behind them spares, which have none.
func (l *loader) enroll(had, workers, spares int, now Time) {
	for id := had; id < workers; id++ {
		l.absent[id] = now + patience
	}
	for i := range spares {
		l.vacant[workers+i] = true
	}
}

// Grow adds members, until there are as many workers and spares. There must be no
// spare before.
func (s *Scheduler) Grow(workers, spares int, now Time) {
	s.enroll(s.opts.Workers, workers, spares, now)
	s.opts.Workers, s.opts.Spares = workers, spares
}

// coalesce is how long the stock must be left alone before workers are restarted
// for what nobody has asked for yet, and coalesceMax how long that may take:
// files tend to come in groups.
const (
	coalesce    = 300 * time.Millisecond
	coalesceMax = 3 * time.Second
)

// SetStock says which files there are; those that are not among them any more
// are kept for requests that need them. One that was not among them is taken for
// good, whatever it did before.
func (s *Scheduler) SetStock(stock []Stock, now Time) {
	s.edition++
	changed := false
	s.order = s.order[:0]
	for _, st := range slices.Backward(stock) { // of new ones the first counts as used last
		it := s.item(st.File)
		if it.gone {
			it.bad, it.strikes, it.batch = false, 0, maxFiles
		}
		if st.Preload && (it.gone || !it.Preload) {
			it.wanted = now
		}
		changed = changed || it.gone || it.Pin != st.Pin || it.Preload != st.Preload
		it.Stock, it.gone, it.edition = st, false, s.edition
		s.order = append(s.order, st.File)
	}
	slices.Reverse(s.order)
	s.preloads = slices.DeleteFunc(slices.Clone(s.order), func(file File) bool { return !s.items[file].Preload })
	s.dropItems()
	all := s.all
	s.all = s.fits()
	s.settlePins()
	if changed || s.all != all {
		if now >= s.settled {
			s.changed = now
		}
		s.wanting, s.settled = true, min(now+coalesce, s.changed+coalesceMax)
	}
}

// dropItems forgets files that are not in stock and not in use.
func (s *Scheduler) dropItems() {
	var used map[File]bool
	for file, it := range s.items {
		if it.edition == s.edition {
			continue
		}
		it.gone = true
		if used == nil {
			used = s.usedFiles()
		}
		if !used[file] {
			delete(s.items, file)
			s.recent.Remove(file)
		}
	}
}

// fits reports whether one worker can have all of the stock loaded.
func (s *Scheduler) fits() bool {
	var bytes int64
	s.least = 0
	for i, file := range s.order {
		size := s.items[file].Bytes
		bytes += size
		if i == 0 || size < s.least {
			s.least = size
		}
	}
	return s.opts.room(len(s.order), bytes)
}

// room reports whether a worker may have so much loaded.
func (o *Options) room(files int, bytes int64) bool {
	return (o.MaxLoaded == 0 || files <= o.MaxLoaded) && (o.Memory == 0 || bytes <= o.Memory)
}

// settlePins finds the pinned files that there is room for, in the stock's order.
func (s *Scheduler) settlePins() {
	s.pins = s.pins[:0]
	var bytes int64
	for _, file := range s.order {
		it := s.items[file]
		it.standing = it.Pin && !it.bad && s.opts.room(len(s.pins)+1, bytes+it.Bytes)
		if it.standing {
			s.pins, bytes = append(s.pins, file), bytes+it.Bytes
		}
	}
}

// Room reports whether a worker has all of the files loaded, or has room for them
// beside what is pinned. Requests for others would wait for ever.
func (s *Scheduler) Room(files []File) bool {
	if len(files) == 0 || s.opts.MaxLoaded == 0 && s.opts.Memory == 0 {
		return true
	}
	count, bytes := len(s.pins), int64(0)
	for _, file := range s.pins {
		bytes += s.items[file].Bytes
	}
	for i, file := range files {
		it, known := s.items[file]
		if known && it.standing && !it.gone || slices.Contains(files[:i], file) {
			continue
		}
		count++
		if known {
			bytes += it.Bytes
		}
	}
	if s.opts.room(count, bytes) {
		return true
	}
	return slices.ContainsFunc(s.homes[files[0]], func(sh *shelf) bool { return sh.holds(files) })
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
		s.uses++
		it = &item{Stock: Stock{File: file}, gone: true, batch: maxFiles, uses: s.uses}
		s.items[file] = it
		_, _ = s.recent.Put(file, struct{}{}) // there is room for all
	}
	return it
}

// use marks files as just used.
func (s *Scheduler) use(files []File, now Time) {
	for _, file := range files {
		s.uses++
		s.item(file).use(s.uses, now)
		s.recent.Get(file)
	}
}

// Loaded reports whether a worker that is up, and was not drained by an operator,
// has the file loaded.
func (s *Scheduler) Loaded(file File) bool { return len(s.homes[file]) > 0 }

// Opens reports whether a process may yet open the file: because it is in stock, one that
// starts is to load it, or a request that waits or runs needs it, wherever that will be. To
// have it loaded is no reason: a process reads its files once, and no later one is given
// what is not in stock. It looks at every flow.
func (s *Scheduler) Opens(file File) bool {
	if it, known := s.items[file]; known && !it.gone {
		return true
	}
	return s.comingFiles()[file]
}

// usedFiles are those that a process has loaded, and those that one will.
func (s *Scheduler) usedFiles() map[File]bool {
	used := s.comingFiles()
	for _, sh := range s.shelves {
		for file := range sh.files {
			used[file] = true
		}
	}
	for _, w := range s.list {
		if w.drained {
			for _, file := range w.shelf.list {
				used[file] = true
			}
		}
	}
	return used
}

// comingFiles are those that a process which starts is to load, and those of requests that
// wait or run.
func (s *Scheduler) comingFiles() map[File]bool {
	used := make(map[File]bool)
	add := func(files []File) {
		for _, file := range files {
			used[file] = true
		}
	}
	for _, files := range s.planned {
		add(files)
	}
	for _, f := range s.flows {
		if !f.idle() {
			add(f.files)
		}
	}
	return used
}

// Spoil says that a file cannot be loaded any more, for example because it is not
// there; it is not planned again as long as it stays in stock. Requests that need
// it wait in vain: the owner turns them away.
func (s *Scheduler) Spoil(file File) {
	s.condemn(s.item(file))
	for id, files := range s.planned {
		s.planned[id] = slices.DeleteFunc(slices.Clone(files), func(x File) bool { return x == file })
	}
}

func (s *Scheduler) condemn(it *item) {
	it.bad = true
	s.settlePins()
}

// Convicted returns the files that were found to end every process that loads
// them, since the last call.
func (s *Scheduler) Convicted() []File {
	list := s.guilty
	s.guilty = nil
	return list
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
	views := make(map[File]*FileView, len(s.items))
	view := func(file File) *FileView {
		v, ok := views[file]
		if !ok {
			v = &FileView{File: file}
			views[file] = v
		}
		return v
	}
	for _, file := range s.order {
		it := s.items[file]
		view(file).Wanted = !it.bad && (s.all || it.Pin || it.Preload)
	}
	for _, w := range s.list {
		for _, file := range w.shelf.list {
			v := view(file)
			v.LoadedOn = append(v.LoadedOn, w.id)
		}
		for _, file := range w.flow.files {
			v := view(file)
			v.AppliedOn = append(v.AppliedOn, w.id)
		}
	}
	list := make([]FileView, 0, len(views))
	for file, v := range views {
		if it, known := s.items[file]; known {
			v.Used = it.used
		}
		list = append(list, *v)
	}
	return list
}
