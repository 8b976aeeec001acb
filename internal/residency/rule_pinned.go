package residency

// claimPinned claims the pinned files, which every worker has, as far as there is room.
func (d *planning) claimPinned() {
	for _, it := range d.outlook.stock.Pins() {
		d.claimItem(it)
	}
}
