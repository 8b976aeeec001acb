package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched/heap"
	"github.com/loragate/loragate/internal/sched/task"
)

// Requests of one flow come from several namespaces, whose order is made here: by
// priority, and within one priority by what each namespace has been given, so that one
// with many requests does not delay the others. It is the virtual token counter of
// Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, with the
// cost of a request booked when it begins, as what is usual, and put right at its
// end.

// laneKey tells lanes of a flow apart.
type laneKey struct {
	namespace string
	priority  int
}

// lane is the queue of one namespace and priority within a flow, in order of arrival.
type lane struct {
	laneKey
	band   *band
	weight float64
	queue  []*request
	given  float64 // cost over its weight, that of running requests by what is usual
	inBand int     // in the band's heap, one-based; 0 is not there
}

func (l *lane) share() float64 { return float64(len(l.queue)) / l.weight }

// band is the lanes of one priority in a flow.
type band struct {
	priority int
	since    task.Time        // when it began to wait, or was last given something
	given    float64          // by the lane that came last: what a newcomer begins with
	lanes    heap.Heap[*lane] // that have requests, first the one that has been given least
}

func newBand(priority int) *band {
	return &band{priority: priority, lanes: heap.New(
		func(a, b *lane) bool {
			return cmp.Or(cmp.Compare(a.given, b.given), cmp.Compare(a.queue[0].Ticket, b.queue[0].Ticket)) < 0
		},
		func(l *lane) *int { return &l.inBand },
	)}
}

// lanes orders the requests of a flow. Its zero value is empty.
type lanes struct {
	byKey map[laneKey]*lane
	bands []*band // the highest priority first
}

// add takes a request in, behind those of its lane that came before it.
func (ls *lanes) add(r *request, now task.Time) {
	key := laneKey{r.Namespace, r.Priority}
	l := ls.byKey[key]
	if l == nil {
		if ls.byKey == nil {
			ls.byKey = map[laneKey]*lane{}
		}
		l = &lane{laneKey: key, band: ls.band(r.Priority, now)}
		ls.byKey[key] = l
	}
	c := l.band
	if c.lanes.Len() == 0 {
		c.since = now
	}
	if len(l.queue) == 0 {
		l.given = max(l.given, c.given) // not having come gives no claim
	}
	l.weight = orOne(r.NamespaceWeight)
	r.lane = l
	at := len(l.queue)
	for at > 0 && l.queue[at-1].Since > r.Since {
		at--
	}
	l.queue = slices.Insert(l.queue, at, r)
	c.lanes.Fix(l)
}

func (ls *lanes) band(priority int, now task.Time) *band {
	at, found := slices.BinarySearchFunc(ls.bands, priority, func(b *band, p int) int {
		return cmp.Compare(p, b.priority)
	})
	if !found {
		c := newBand(priority)
		c.since = now
		ls.bands = slices.Insert(ls.bands, at, c)
	}
	return ls.bands[at]
}

// remove takes a request out. When the last one goes, what has been given is
// forgotten: who has no competitors owes them nothing.
func (ls *lanes) remove(r *request) {
	l := r.lane
	if l.queue[0] == r {
		l.queue[0], l.queue = nil, l.queue[1:]
	} else {
		at := slices.Index(l.queue, r)
		l.queue = slices.Delete(l.queue, at, at+1)
	}
	if len(l.queue) > 0 {
		l.band.lanes.Fix(l)
		return
	}
	l.band.lanes.Remove(l)
	switch {
	case slices.ContainsFunc(ls.bands, func(c *band) bool { return c.lanes.Len() > 0 }):
	case len(ls.byKey) == 1: // the next one is most likely of the same namespace
		// A new lane: what its running requests turn out to cost is forgotten, too.
		ls.byKey[l.laneKey] = &lane{laneKey: l.laneKey, band: l.band, weight: l.weight}
		l.band.given = 0
	default:
		*ls = lanes{}
	}
}

// begin books that a request, which is still in its lane, is placed and will cost
// what is usual.
func (l *lane) begin(usual float64, now task.Time) {
	l.band.since, l.band.given = now, l.given
	l.charge(usual)
}

// charge books a cost, or takes some of it back.
func (l *lane) charge(cost float64) {
	l.given += cost / l.weight
	if l.inBand > 0 {
		l.band.lanes.Fix(l)
	}
}

// position is when a band began to wait less its aging: every step of priority
// counts as so much time that it has waited longer than it has. So a lower
// priority waits longer, but not for ever.
func (c *band) position(since task.Time, aging time.Duration) task.Time {
	return max(since, c.since) - task.Time(c.priority)*aging
}

// top returns the highest priority that waits.
func (ls *lanes) top() (priority int, any bool) {
	for _, c := range ls.bands {
		if c.lanes.Len() > 0 {
			return c.priority, true
		}
	}
	return 0, false
}

// heaviest returns the weight of the heaviest namespace that waits, 1 if none does.
func (ls *lanes) heaviest() float64 {
	weight := 0.0
	for _, l := range ls.byKey {
		if len(l.queue) > 0 {
			weight = max(weight, l.weight)
		}
	}
	return orOne(weight)
}

// first returns the band whose turn it is among those that wait.
func (ls *lanes) first(aging time.Duration) *band {
	var first *band
	for _, c := range ls.bands {
		if c.lanes.Len() > 0 && (first == nil || c.position(0, aging) < first.position(0, aging)) {
			first = c
		}
	}
	return first
}

// next returns the flow's request whose turn it is.
func (f *flow) next() *request {
	l, _ := f.lanes.first(f.aging).lanes.First()
	return l.queue[0]
}

// longestLane returns the lane that loses a request first: of the lowest priority
// the one with most for its weight.
func (ls *lanes) longestLane() *lane {
	var longest *lane
	for _, l := range ls.byKey {
		if len(l.queue) == 0 {
			continue
		}
		if longest == nil || cmp.Or(
			cmp.Compare(longest.priority, l.priority),
			cmp.Compare(l.share(), longest.share()),
			cmp.Compare(l.newest(), longest.newest()),
		) > 0 {
			longest = l
		}
	}
	return longest
}

func (l *lane) newest() task.Ticket { return l.queue[len(l.queue)-1].Ticket }

func orOne(weight float64) float64 {
	if weight <= 0 {
		return 1
	}
	return weight
}
