package residency

// claimWanted claims what else waits, also where others have it, and then the preloaded
// files that nobody has.
func (d *planning) claimWanted() {
	for _, w := range d.wants {
		if d.full() {
			return
		}
		if !w.preload || !d.held(w.files...) {
			d.bring(w.files)
		}
	}
}
