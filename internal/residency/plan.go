package residency

import (
	"slices"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency/stock"
)

// plan is what a worker is to have loaded, in the making. It begins with what the worker
// had, as an lru.Set whose limits are what fits, what is rather to go first. What a rule
// claims is pinned in it, and evicts what it needs the room of.
type plan struct {
	stock    *stock.Stock
	set      *lru.Set[*stock.Item, struct{}]
	claimed  []*stock.Item // in this order
	unproven int           // of them
	batch    int           // how many unproven files may be claimed
	careful  bool          // none may
}

func newPlan(s *stock.Stock, limits lru.Limits, careful bool) *plan {
	weigh := func(it *stock.Item, _ struct{}) int64 { return it.Bytes }
	return &plan{stock: s, set: lru.NewWeighted(limits, weigh), batch: stock.Most, careful: careful}
}

// startWith puts what the worker had into the plan, first what is rather to stay.
func (p *plan) startWith(had []*stock.Item) {
	for _, it := range slices.Backward(had) {
		_, _ = p.set.Put(it, struct{}{}) // what is too large by now goes at once
	}
}

// has reports whether a file has been claimed.
func (p *plan) has(file stock.File) bool {
	it := p.stock.Known(file)
	return it != nil && p.set.Pinned(it)
}

func (p *plan) hasAll(files []stock.File) bool {
	for _, file := range files {
		if !p.has(file) {
			return false
		}
	}
	return true
}

// fresh returns those of the files that are not claimed yet, and their bytes. It
// reports false when one of them can never be.
func (p *plan) fresh(files []stock.File) (fresh []*stock.Item, bytes int64, ok bool) {
	for _, file := range files {
		it := p.stock.Item(file)
		if p.set.Pinned(it) || slices.Contains(fresh, it) {
			continue
		}
		if !p.allowed(it) {
			return nil, 0, false
		}
		fresh = append(fresh, it)
		bytes += it.Bytes
	}
	return fresh, bytes, true
}

func (p *plan) allowed(it *stock.Item) bool { return !it.Quarantined && (!p.careful || it.Proven) }

// claim takes all of the files in, if there is room for them, or none.
func (p *plan) claim(files ...stock.File) bool {
	fresh, bytes, ok := p.fresh(files)
	return ok && p.take(fresh, bytes)
}

// claimItem claims one file.
func (p *plan) claimItem(it *stock.Item) {
	if !p.set.Pinned(it) && p.allowed(it) {
		p.take([]*stock.Item{it}, it.Bytes)
	}
}

func (p *plan) take(fresh []*stock.Item, bytes int64) bool {
	if !p.set.Room(len(fresh), bytes) {
		return false
	}
	unproven, batch := p.unproven, p.batch
	for _, it := range fresh {
		if !it.Proven {
			unproven, batch = unproven+1, min(batch, it.Batch)
		}
	}
	if unproven > batch {
		return false
	}
	for _, it := range fresh {
		_, _ = p.set.PutPinned(it, struct{}{}) // there is room beside what is pinned
	}
	p.claimed, p.unproven, p.batch = append(p.claimed, fresh...), unproven, batch
	return true
}

// bring claims the files. If there is room for them, but they must not be tried all
// at once, it claims one of those that are to be tried.
func (p *plan) bring(files []stock.File) {
	fresh, bytes, ok := p.fresh(files)
	if !ok || !p.set.Room(len(fresh), bytes) || p.take(fresh, bytes) {
		return
	}
	for _, it := range fresh {
		if !it.Proven && p.take([]*stock.Item{it}, it.Bytes) {
			return
		}
	}
}

// full reports whether nothing more can be claimed.
func (p *plan) full() bool { return !p.set.Room(1, p.stock.Smallest()) }

// files returns what is claimed, in order.
func (p *plan) files() []stock.File {
	list := make([]stock.File, len(p.claimed))
	for i, it := range p.claimed {
		list[i] = it.File
	}
	return list
}

// helps reports whether requests for files that nobody has could run on a worker with
// that plan, or whether one of the files is tried.
func (p *plan) helps(files []stock.File) bool {
	return p.hasAll(files) || slices.ContainsFunc(files, func(file stock.File) bool {
		return p.has(file) && !p.stock.Item(file).Proven
	})
}
