package stock

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/lru"
)

// Stock is all files that workers may have loaded, and those that requests still need.
type Stock struct {
	limits   lru.Limits // of what one worker has loaded, the weight in bytes
	items    map[File]*Item
	order    []*Item                   // as they were given
	pins     []*Item                   // those of them that are standing
	preloads []*Item                   // those of them that are preloaded
	recent   *lru.Set[*Item, struct{}] // all items by last use
	edition  uint64                    // counts the calls of Set
	allFit   bool                      // one worker can have all of them loaded
	smallest int64                     // bytes of the smallest of them
}

// Most is more files than a catalog can have.
const Most = 1 << 20

// New returns an empty stock for workers with these limits.
func New(limits lru.Limits) *Stock {
	return &Stock{limits: limits, items: make(map[File]*Item), recent: lru.New[*Item, struct{}](Most)}
}

// Set says which files there are, and reports whether that changes what is to be loaded
// without anyone asking. Those that are not among them any more are kept as long as they
// are needed, which costs something to find out. One that was not among them is taken for
// good, whatever it did before.
func (s *Stock) Set(list []Entry, now Time, needed func() map[File]bool) (changed bool) {
	s.edition++
	s.order = s.order[:0]
	for _, e := range slices.Backward(list) { // of new ones the first counts as used last
		it := s.Item(e.File)
		if it.Gone {
			it.Quarantined, it.Strikes, it.Batch = false, 0, Most
		}
		if e.Preload && (it.Gone || !it.Preload) {
			it.WantedSince = now
		}
		changed = changed || it.Gone || it.Pin != e.Pin || it.Preload != e.Preload
		it.Entry, it.Gone, it.edition = e, false, s.edition
		s.order = append(s.order, it)
	}
	slices.Reverse(s.order)
	s.preloads = slices.DeleteFunc(slices.Clone(s.order), func(it *Item) bool { return !it.Preload })
	s.drop(needed)
	before := s.allFit
	s.reckon()
	return changed || s.allFit != before
}

// drop forgets files that are not in stock and not needed.
func (s *Stock) drop(needed func() map[File]bool) {
	var still map[File]bool
	for file, it := range s.items {
		if it.edition == s.edition {
			continue
		}
		it.Gone = true
		if still == nil {
			still = needed()
		}
		if !still[file] {
			delete(s.items, file)
			s.recent.Remove(it)
		}
	}
}

// reckon finds out whether all files fit, and which pinned ones do.
func (s *Stock) reckon() {
	var bytes int64
	s.smallest = 0
	for i, it := range s.order {
		bytes += it.Bytes
		if i == 0 || it.Bytes < s.smallest {
			s.smallest = it.Bytes
		}
	}
	s.allFit = s.limits.Fit(len(s.order), bytes)
	s.settlePins()
}

// settlePins finds the pinned files that there is room for, in the stock's order.
func (s *Stock) settlePins() {
	s.pins = s.pins[:0]
	var bytes int64
	for _, it := range s.order {
		it.Standing = it.Pin && !it.Quarantined && s.limits.Fit(len(s.pins)+1, bytes+it.Bytes)
		if it.Standing {
			s.pins, bytes = append(s.pins, it), bytes+it.Bytes
		}
	}
}

// LimitBytes lets workers load that many bytes at most from now on.
func (s *Stock) LimitBytes(bytes int64) {
	s.limits.Weight = bytes
	s.reckon()
}

// Quarantine says that a file is not to be loaded any more, as long as it stays in stock.
func (s *Stock) Quarantine(it *Item) {
	it.Quarantined = true
	s.settlePins()
}

// Item returns what is known of a file, which may be nothing yet.
func (s *Stock) Item(file File) *Item {
	it, ok := s.items[file]
	if !ok {
		it = &Item{Entry: Entry{File: file}, Gone: true, Batch: Most}
		s.items[file] = it
		_, _ = s.recent.Put(it, struct{}{}) // there is room for all
	}
	return it
}

// Known returns what is known of a file, and nil if that is nothing.
func (s *Stock) Known(file File) *Item { return s.items[file] }

// Quarantined reports whether a file is not to be loaded any more.
func (s *Stock) Quarantined(file File) bool {
	it := s.items[file]
	return it != nil && it.Quarantined
}

// Use marks files as just used.
func (s *Stock) Use(files []File, now Time) {
	for _, file := range files {
		it := s.Item(file)
		it.use(now)
		s.recent.Get(it)
	}
}

// Limits are those of what one worker has loaded.
func (s *Stock) Limits() lru.Limits { return s.limits }

// AllFit reports whether one worker can have the whole stock loaded.
func (s *Stock) AllFit() bool { return s.allFit }

// Smallest is how many bytes the smallest file in stock takes.
func (s *Stock) Smallest() int64 { return s.smallest }

// All returns the stock in the order in which it was given.
func (s *Stock) All() []*Item { return s.order }

// Pins returns the pinned files that there is room for.
func (s *Stock) Pins() []*Item { return s.pins }

// Preloads returns the files that one worker at least is to have.
func (s *Stock) Preloads() []*Item { return s.preloads }

// LastUse returns the number of a file's last use among those of all files.
func (s *Stock) LastUse(it *Item) uint64 { return s.recent.LastUse(it) }

// ByLastUse returns what is in stock, most recently used first.
func (s *Stock) ByLastUse() []*Item {
	list := slices.DeleteFunc(s.recent.Idle(), func(it *Item) bool { return it.Gone })
	slices.Reverse(list)
	return list
}

// Bytes is how much memory files take.
func (s *Stock) Bytes(files []File) (sum int64) {
	for _, file := range files {
		sum += s.Item(file).Bytes
	}
	return sum
}

// RoomBesidePins reports whether a worker has room for all of the files beside what is
// pinned.
func (s *Stock) RoomBesidePins(files []File) bool {
	count, bytes := len(s.pins), int64(0)
	for _, it := range s.pins {
		bytes += it.Bytes
	}
	for i, file := range files {
		it := s.items[file]
		if it != nil && it.Standing && !it.Gone || slices.Contains(files[:i], file) {
			continue
		}
		count++
		if it != nil {
			bytes += it.Bytes
		}
	}
	return s.limits.Fit(count, bytes)
}

// Items returns copies of all that is known, by file.
func (s *Stock) Items() []Item {
	list := make([]Item, 0, len(s.items))
	for _, it := range s.items {
		list = append(list, *it)
	}
	slices.SortFunc(list, func(a, b Item) int { return cmp.Compare(a.File, b.File) })
	return list
}
