package residency

import "github.com/loragate/loragate/internal/residency/stock"

// claimRest claims what the victim had and then the rest of the stock, by last use: first
// what nobody else has.
func (d *planning) claimRest() {
	for _, alsoHeld := range []bool{false, true} {
		d.claimAll(d.kept, alsoHeld)
		if !d.full() {
			d.claimAll(d.byLastUse(), alsoHeld)
		}
	}
}

func (d *planning) claimAll(list []*stock.Item, alsoHeld bool) {
	for _, it := range list {
		if d.full() {
			return
		}
		if alsoHeld || !d.held(it.File) {
			d.claimItem(it)
		}
	}
}
