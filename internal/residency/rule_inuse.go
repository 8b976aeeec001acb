package residency

// claimInUse claims what the victim had, nobody else has, and requests used of late.
func (d *planning) claimInUse() {
	for _, it := range d.kept {
		if it.InUse(d.now) && !d.held(it.File) {
			d.claimItem(it)
		}
	}
}
