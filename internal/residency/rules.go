package residency

// plan puts together what a member should load next, in place of what the victim has.
// What a rule claims is not taken away by a later one.
func (o *outlook) plan(m, victim *member) *plan {
	d := o.begin(m, victim)
	d.plan = newPlan(o.stock, m.careful)
	d.keep()
	d.claimPinned()
	d.claimLongestWaiting()
	d.claimNewcomers()
	d.claimInUse()
	d.claimWanted()
	d.claimRest()
	return d.plan
}
