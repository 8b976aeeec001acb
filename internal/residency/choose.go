package residency

import (
	"cmp"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
)

// choice looks for the worker to give up.
type choice struct {
	*outlook
	agenda *agenda
	wait   time.Duration // after which what waits for a busy worker is loaded elsewhere, too
	list   []candidate
}

// candidate is a worker that may be given up.
type candidate struct {
	Candidate
	*member
	cost int // see dependents
}

func (o *outlook) choose(a *agenda, wait time.Duration) *choice {
	return &choice{outlook: o, agenda: a, wait: wait, list: o.candidates()}
}

// victim returns the worker to give up, or nil if no request and no wish of the
// stock is helped by that, and whether any other would not do as well. What has
// waited longer comes first: the stock, or an identity.
func (c *choice) victim(p Pressure) (m *member, meant bool) {
	missing, due := p.Missing > 0, c.agenda.stockDue(c.now)
	if due && (!missing || c.agenda.settled <= p.Longest) {
		if m := c.lacking(); m != nil {
			return m, true
		}
		due = false
	}
	if missing {
		if m := c.helper(); m != nil {
			return m, false
		}
	}
	if due {
		if m := c.lacking(); m != nil {
			return m, true
		}
	}
	return c.relief(p), true
}

// candidates returns the workers that may be given up, first that whose end costs
// least: one on which the least depends, then the one with the least to do, then
// the one whose turn began first.
func (o *outlook) candidates() []candidate {
	cost := o.dependents()
	var list []candidate
	for _, c := range o.demand.Candidates() {
		m := o.members.get(c.Worker)
		list = append(list, candidate{c, m, cost[m.set]})
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(a.cost, b.cost),
			cmp.Compare(a.InFlight, b.InFlight),
			cmp.Compare(a.TurnBegan, b.TurnBegan),
		)
	})
	return list
}

// dependents counts, by set that a single worker has, the requests that wait for
// it and for nothing else, and one for each file that is used again and again: so
// it is rather the worker with what was used once that is restarted again.
func (o *outlook) dependents() map[*Set]int {
	cost := make(map[*Set]int)
	for i := range o.waiters {
		if w := &o.waiters[i]; w.Only != nil && w.Only.workers == 1 {
			cost[w.Only] += w.Requests
		}
	}
	for _, set := range o.sets.all {
		if set.workers != 1 {
			continue
		}
		for _, file := range set.list {
			if len(o.sets.homes[file]) == 1 && o.stock.Known(file).UsedAgain(o.now) {
				cost[set]++
			}
		}
	}
	return cost
}

// mostTries bounds how many workers are looked at for a better one.
const mostTries = 8

// helper returns the worker to load what an identity needs and nobody has, rather one that
// need not let go of a preloaded file for that.
func (c *choice) helper() *member {
	var second *member
	if len(c.missed()) == 0 {
		return nil
	}
	for i, x := range c.list {
		if i >= mostTries && second != nil {
			break
		}
		p := c.plan(x.member, x.member)
		if !c.helped(p) {
			continue
		}
		if len(c.yields(x.member, x.member, p)) == 0 {
			return x.member
		}
		if second == nil {
			second = x.member
		}
	}
	return second
}

// helped reports whether that plan helps one of the identities whose files nobody has.
func (o *outlook) helped(p *plan) bool {
	return slices.ContainsFunc(o.missed(), func(w Waiter) bool { return p.helps(w.Files) })
}

// lacking returns the worker to load something that nobody asked for.
func (c *choice) lacking() *member {
	unmet := c.unmet()
	wished := c.stock.Pins()
	if c.stock.AllFit() {
		wished = c.stock.All()
	}
	for _, x := range c.list {
		lacks := func(it *stock.Item) bool { return !x.set.Has(it.File) && !it.Quarantined }
		if len(unmet) == 0 && !slices.ContainsFunc(wished, lacks) {
			continue
		}
		p := c.plan(x.member, x.member)
		if slices.ContainsFunc(p.claimed, func(it *stock.Item) bool { return lacks(it) && c.wished(it) }) {
			return x.member
		}
	}
	again := stock.Never
	for _, it := range unmet {
		if it.WantedSince > c.now {
			again = min(again, it.WantedSince)
		}
	}
	c.agenda.met(again)
	return nil
}

// wished reports whether a worker that lacks the file should have it without anyone asking.
func (c *choice) wished(it *stock.Item) bool {
	return !it.Gone && (c.stock.AllFit() || it.Standing ||
		it.Preload && it.WantedSince <= c.now && !c.sets.loaded(it.File))
}

// relief returns an idle worker that should load what requests on other workers
// wait for, because they have waited for longer than that takes.
func (c *choice) relief(p Pressure) *member {
	if !c.sets.relievable(p) || c.now < c.agenda.relieve {
		return nil
	}
	late, tries := c.late(), 0
	for _, x := range c.list {
		if len(late) == 0 || tries == mostTries {
			break
		}
		if x.InFlight > 0 || x.Wanted {
			continue
		}
		tries++
		p := c.plan(x.member, x.member)
		if slices.ContainsFunc(late, func(files []stock.File) bool { return !x.set.Holds(files) && p.hasAll(files) }) {
			return x.member
		}
	}
	return nil
}

// mostLate bounds how many identities are helped at once that wait for a busy worker.
const mostLate = 64

// relieveAgain is how long those that have waited for long enough wait for another look.
const relieveAgain = time.Second

// late returns the files of identities that have waited for long enough to be loaded
// elsewhere, too, and notes when there will be others.
func (c *choice) late() (list [][]stock.File) {
	c.agenda.relieve = c.now + c.wait // of one that comes now
	for i := range c.waiters {
		w := &c.waiters[i]
		at := w.Oldest + c.wait
		switch {
		case w.Capped || !w.Loaded || len(w.Files) == 0:
		case at > c.now:
			c.agenda.relieve = min(c.agenda.relieve, at)
		case len(list) < mostLate:
			list = append(list, w.Files)
		}
	}
	if len(list) > 0 {
		c.agenda.relieve = min(c.agenda.relieve, c.now+relieveAgain)
	}
	return list
}

// relievable reports whether there are idle workers that lack what others have.
func (ss *sets) relievable(p Pressure) bool {
	return p.Idle > 0 && len(ss.all) > 1 && p.Waiting > 0
}
