package residency

import (
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// claimLongestWaiting claims what has waited longest of what nobody has, and the preloaded
// files that only the victim has. They make room for an identity if they must, though not
// for another preloaded file.
func (d *planning) claimLongestWaiting() {
	oldest, unmet := d.foremost()
	first := unmet != nil && (oldest == nil || unmet.since < oldest.since)
	if first && d.claim(append(d.stayFiles(), unmet.files...)...) {
		return
	}
	if oldest != nil {
		d.bring(oldest.files)
	}
	for _, it := range d.stay {
		d.claimItem(it)
	}
	d.stay = slices.DeleteFunc(d.stay, func(it *stock.Item) bool { return !d.set.Pinned(it) })
}

// foremost returns the first identity and the first preloaded file that nobody has, and
// notes the preloaded files that only the victim has.
func (d *planning) foremost() (oldest, unmet *want) {
	for i := range d.wants {
		w := &d.wants[i]
		switch {
		case d.held(w.files...):
		case !w.preload:
			if oldest == nil && w.missing {
				oldest = w
			}
		case d.had(w.files[0]):
			d.stay = append(d.stay, d.outlook.stock.Item(w.files[0]))
		case unmet == nil && w.since <= d.now:
			unmet = w
		}
	}
	return oldest, unmet
}

func (d *planning) stayFiles() []stock.File {
	list := make([]stock.File, len(d.stay))
	for i, it := range d.stay {
		list[i] = it.File
	}
	return list
}
