package residency

import (
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// planning is one plan in the making: for a member, in place of what the victim has; they are
// the same unless the member is a spare.
type planning struct {
	*outlook
	*plan
	member, victim *member
	leaving        []*member     // those two, too
	kept           []*stock.Item // of what the victim had, in the order in which it is to stay
	stay           []*stock.Item // preloaded files of that which nobody else has
}

// begin returns a planning without a plan.
func (o *outlook) begin(m, victim *member) *planning {
	d := &planning{outlook: o, member: m, victim: victim, leaving: slices.Clone(o.leaving)}
	for _, x := range []*member{m, victim} {
		if x.up() && !slices.Contains(d.leaving, x) {
			d.leaving = append(d.leaving, x)
		}
	}
	return d
}

// had reports whether the victim had all of the files.
func (d *planning) had(files ...stock.File) bool {
	return d.victim.had != nil && d.victim.had.Holds(files)
}

// held reports whether another member has all of the files, or will.
func (d *planning) held(files ...stock.File) bool {
	for _, set := range d.sets.homes[files[0]] {
		n := set.workers
		for _, m := range d.leaving {
			if m.set == set {
				n--
			}
		}
		if n > 0 && (len(files) == 1 || set.Holds(files)) {
			return true
		}
	}
	if d.coming[files[0]] == 0 {
		return false
	}
	return slices.ContainsFunc(d.starting, func(m *member) bool {
		return m != d.member && m != d.victim && m.coming.Holds(files)
	})
}

// yields returns the preloaded files that nobody has if the victim's place is taken by a
// process with that plan.
func (o *outlook) yields(m, victim *member, p *plan) (list []*stock.Item) {
	if victim.had == nil {
		return nil
	}
	d := o.begin(m, victim)
	for _, file := range victim.had.list {
		it := o.stock.Known(file)
		if it != nil && it.Preload && !it.Gone && !it.Quarantined && !p.has(file) && !d.held(file) {
			list = append(list, it)
		}
	}
	return list
}

func (d *planning) known(file stock.File) *stock.Item { return d.outlook.stock.Known(file) }
func (d *planning) lastUse(it *stock.Item) uint64     { return d.outlook.stock.LastUse(it) }
