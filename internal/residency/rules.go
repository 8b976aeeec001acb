package residency

import "github.com/loragate/loragate/internal/lru"

// plan puts together what a member should load next, in place of what the victim has.
// What a rule claims is not taken away by a later one.
func (o *outlook) plan(m, victim *member) *plan { return o.planWithin(o.stock.Limits(), m, victim) }

// planWithin is plan within other limits than the stock's.
func (o *outlook) planWithin(limits lru.Limits, m, victim *member) *plan {
	d := o.begin(m, victim)
	d.plan = newPlan(o.stock, limits, m.careful)
	d.keep()
	d.claimPinned()
	d.claimLongestWaiting()
	d.claimNewcomers()
	d.claimInUse()
	d.claimWanted()
	d.claimRest()
	return d.plan
}
