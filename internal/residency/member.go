package residency

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
)

// patience is how long the others stay because a member has no process.
const patience = time.Minute

// member is one of the processes that there may be: a worker, or a spare.
type member struct {
	id      int
	set     *Set // what its process has loaded; nil while it is not up
	leaving bool // its process ends once it is idle
	drained bool // an operator keeps requests from it: what it has does not count
	vacant  bool // it is to have no process

	coming  *Set         // what its process that starts is to load; nil if none starts
	planned []stock.File // the same, in order
	had     *Set         // what it loaded last; nil if that was never
	most    int64        // the most that it ever had loaded, in bytes

	accused stock.File // the file without which it starts, to tell whose fault a failed start was
	careful bool       // its next start takes proven files only
}

func (m *member) up() bool       { return m.set != nil }
func (m *member) starting() bool { return m.coming != nil }

// start notes what the member's process is to load, and stop that it does not start any
// more.
func (ms *members) start(m *member, files []stock.File) {
	ms.stop(m)
	m.coming, m.planned = newSet(files), files
	ms.starting++
}

func (ms *members) stop(m *member) {
	if m.starting() {
		m.coming, m.planned = nil, nil
		ms.starting--
	}
}

// members are all that there are.
type members struct {
	byID     map[int]*member
	starting int // how many of them start
	// absent are members that should have a process and have none: until when all others
	// stay because of that.
	absent map[int]stock.Time
}

func newMembers() *members {
	return &members{byID: make(map[int]*member), absent: make(map[int]stock.Time)}
}

func (ms *members) get(id int) *member {
	m, ok := ms.byID[id]
	if !ok {
		m = &member{id: id}
		ms.byID[id] = m
	}
	return m
}

// anyHad reports whether any member ever had something loaded.
func (ms *members) anyHad() bool {
	for _, m := range ms.byID {
		if m.had != nil {
			return true
		}
	}
	return false
}

// sorted returns the members by number.
func (ms *members) sorted() []*member {
	return slices.SortedFunc(maps.Values(ms.byID), func(a, b *member) int { return cmp.Compare(a.id, b.id) })
}

// enroll takes in the members from number had on: workers, of which each should have a
// process soon, and behind them spares, which have none.
func (ms *members) enroll(had, workers, spares int, now stock.Time) {
	for id := had; id < workers; id++ {
		ms.miss(id, now)
	}
	for i := range spares {
		ms.get(workers + i).vacant = true
	}
}

// miss notes that a member should have a process and has none.
func (ms *members) miss(id int, now stock.Time) { ms.absent[id] = now + patience }

// vacate leaves a member without a process.
func (ms *members) vacate(m *member) {
	m.vacant, m.careful = true, false
	delete(ms.absent, m.id)
}

// allPresent is from when on no worker stays because of one that is absent.
func (ms *members) allPresent() (at stock.Time) {
	for _, until := range ms.absent {
		at = max(at, until)
	}
	return at
}
