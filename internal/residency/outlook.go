package residency

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// want is something to be loaded: what an identity that waits needs, or a file that is
// preloaded.
type want struct {
	files   []stock.File
	since   stock.Time // it is its turn before others that came later
	preload bool
	missing bool   // an identity waits for it, and no worker has it
	order   uint64 // among those of one moment
}

// outlook is what all plans of one moment have in common. To make it costs a look
// at everything that waits.
type outlook struct {
	now     stock.Time
	stock   *stock.Stock
	sets    *sets
	members *members
	demand  Demand

	starting []*member          // those that count
	coming   map[stock.File]int // how many of them will have a file
	leaving  []*member          // that are being given up
	waiters  []Waiter           // in the order in which Demand told
	wants    []want             // first the one whose turn it is
	missing  []Waiter           // see missed
	recent   []*stock.Item      // see byLastUse
}

func look(now stock.Time, s *stock.Stock, sets *sets, members *members, demand Demand) *outlook {
	o := &outlook{now: now, stock: s, sets: sets, members: members, demand: demand, coming: make(map[stock.File]int)}
	for _, m := range members.byID {
		if m.starting() && !m.drained {
			o.starting = append(o.starting, m)
			for _, file := range m.planned {
				o.coming[file]++
			}
		}
		if m.up() && m.leaving {
			o.leaving = append(o.leaving, m)
		}
	}
	o.waiters = demand.Waiting()
	o.listWants()
	return o
}

// listWants puts what is wanted into the order in which it is to be loaded: by
// identity, not by request, so that a flood does not come before others for ever.
// Identities that a worker takes requests of come last.
func (o *outlook) listWants() {
	preloads := o.stock.Preloads()
	o.wants = make([]want, 0, len(o.waiters)+len(preloads))
	for i := range o.waiters {
		w := &o.waiters[i]
		if len(w.Files) > 0 && !slices.ContainsFunc(w.Files, o.stock.Quarantined) {
			o.wants = append(o.wants, want{files: w.Files, since: w.Since, missing: w.Missing, order: w.Ticket})
		}
	}
	for i, it := range preloads {
		if !it.Standing && !it.Quarantined {
			files := []stock.File{it.File}
			o.wants = append(o.wants, want{files: files, since: it.WantedSince, preload: true, order: uint64(i)})
		}
	}
	slices.SortFunc(o.wants, func(a, b want) int {
		switch {
		case a.since != b.since:
			return cmp.Compare(a.since, b.since)
		case a.preload != b.preload:
			return cmp.Compare(o.rank(a), o.rank(b))
		}
		return cmp.Compare(a.order, b.order)
	})
}

// rank puts what waits before what is preloaded since the same moment.
func (*outlook) rank(w want) int {
	if w.preload {
		return 1
	}
	return 0
}

// mostMissing bounds how many are looked at of the identities that wait for files which
// no worker has.
const mostMissing = 64

// missed returns some of the identities that wait for files which no worker has, first
// the one whose turn it is, without those that no plan can help.
func (o *outlook) missed() []Waiter {
	if o.missing == nil {
		o.missing = slices.DeleteFunc(o.demand.Missing(mostMissing), func(w Waiter) bool { return o.hopeless(w.Files) })
	}
	return o.missing
}

// hopeless reports whether a plan cannot have all of the files, and tries none of them.
func (o *outlook) hopeless(files []stock.File) bool {
	return slices.ContainsFunc(files, o.stock.Quarantined) && !slices.ContainsFunc(files, func(file stock.File) bool {
		it := o.stock.Known(file)
		return it == nil || !it.Quarantined && !it.Proven
	})
}

// byLastUse returns the stock, most recently used first.
func (o *outlook) byLastUse() []*stock.Item {
	if o.recent == nil {
		o.recent = o.stock.ByLastUse()
	}
	return o.recent
}

// unmet returns the preloaded files that nobody has.
func (o *outlook) unmet() (list []*stock.Item) {
	for _, it := range o.stock.Preloads() {
		if !it.Quarantined && !o.sets.loaded(it.File) {
			list = append(list, it)
		}
	}
	return list
}
