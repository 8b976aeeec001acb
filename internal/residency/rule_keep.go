package residency

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// keep finds what the victim had and is still in stock, and begins the plan with it. What
// was used again and again comes before what was used once, so that a scan over many files
// does not drive it out; then what was used last.
func (d *planning) keep() {
	if d.victim.had == nil {
		return
	}
	type kept struct {
		item *stock.Item
		once bool
		used uint64
	}
	list := make([]kept, 0, len(d.victim.had.list))
	for _, file := range d.victim.had.list {
		if it := d.known(file); it != nil && !it.Gone {
			list = append(list, kept{it, !it.UsedAgain(d.now), d.lastUse(it)})
		}
	}
	slices.SortFunc(list, func(a, b kept) int {
		if a.once != b.once {
			if b.once {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.used, a.used)
	})
	d.kept = make([]*stock.Item, len(list))
	for i, k := range list {
		d.kept[i] = k.item
	}
	d.startWith(d.kept)
}
