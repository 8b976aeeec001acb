package residency

// claimNewcomers claims what is wanted and nobody has, in order, until half of the room is
// taken that pinned files and the preloaded ones that stay leave: the other half is for
// what is in use, so that a scan over many files does not drive that out.
func (d *planning) claimNewcomers() {
	files, bytes := len(d.outlook.stock.Pins())+len(d.stay), int64(0)
	for _, it := range d.outlook.stock.Pins() {
		bytes += it.Bytes
	}
	for _, it := range d.stay {
		bytes += it.Bytes
	}
	limits := d.outlook.stock.Limits()
	took, tookBytes := d.set.PinnedLen()-files, d.set.PinnedWeight()-bytes
	for _, w := range d.wants {
		if d.full() {
			return
		}
		enough := limits.Entries > 0 && took >= max(1, (limits.Entries-files)/2) ||
			limits.Weight > 0 && took > 0 && tookBytes >= (limits.Weight-bytes)/2
		had := d.had(w.files...)
		if enough && !had || w.preload && w.since > d.now || d.held(w.files...) {
			continue
		}
		n, size := d.set.PinnedLen(), d.set.PinnedWeight()
		if d.bring(w.files); !had {
			took, tookBytes = took+d.set.PinnedLen()-n, tookBytes+d.set.PinnedWeight()-size
		}
	}
}
