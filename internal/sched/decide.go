package sched

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Never is a wake-up time that does not come.
const Never Time = math.MaxInt64

// Decide places every waiting request that can be placed and clears workers for
// those that cannot. It returns what is to be done, in order, and when to ask
// again if nothing happens before.
//
//  1. A request joins a worker where its identity is applied and that has a free
//     slot, so that llama-server batches them.
//  2. An idle worker goes to the flow that has waited longest for one.
//  3. A worker whose flow has had its quantum takes no more requests while others
//     wait; it drains, and is then idle.
//  4. What idle workers are left help flows that have more requests than slots.
//  5. A worker is chosen to load what requests wait for and nobody has.
func (s *Scheduler) Decide(now Time) ([]Action, Time) {
	d := decision{s: s, now: now}
	for again := true; again; again = d.reload() {
		d.clear()
		d.fillDirty()
		d.assign()
		d.spread()
		d.clear()
		d.balance()
		d.reopenRest()
	}
	return d.actions, d.wake()
}

// decision is one call of Decide.
type decision struct {
	s       *Scheduler
	now     Time
	actions []Action
}

// fillDirty gives flows that may be servable the free slots of their workers.
func (d *decision) fillDirty() {
	for len(d.s.dirty) > 0 {
		last := len(d.s.dirty) - 1
		f := d.s.dirty[last]
		d.s.dirty = d.s.dirty[:last]
		f.touched = false
		d.fill(f)
	}
}

// fill serves a flow's requests in their order while an open worker has a free
// slot.
func (d *decision) fill(f *flow) {
	for f.waiting > 0 && !f.capped() {
		r := f.next()
		w, sl := d.choose(f, r)
		if w == nil {
			return
		}
		d.place(r, w, sl)
	}
}

// affinity is how many bytes of a conversation are worth a swap: reading so much
// again takes longer than the few milliseconds of a swap.
const affinity = 2 << 10

// choose returns the worker to serve a request on without waiting, and the slot
// that continues its conversation, if there is one.
func (d *decision) choose(f *flow, r *request) (*worker, *slot) {
	open := func(w *worker) bool { return w.isOpen && w.flow == f && w.free() > 0 }
	if sl, _ := f.continues(r.Chain, open); sl != nil {
		return sl.worker, sl
	}
	var best *worker
	for _, w := range f.open {
		if w.free() > 0 && (best == nil || fuller(w, best) < 0) {
			best = w
		}
	}
	if best == nil {
		return nil, nil
	}
	// One for which nobody waits and that has the conversation is better.
	elsewhere := func(w *worker) bool { return w.idle() && w.flow != f && !w.wanted() }
	if sl, warm := f.continues(r.Chain, elsewhere); sl != nil && warm >= affinity {
		return sl.worker, sl
	}
	return d.better(f, best), nil
}

// better returns the worker for a flow's next request on the device of the fullest of its
// open ones: that one, or, where the device has been measured to get more done, another
// open one, or an idle one that nobody waits for.
func (d *decision) better(f *flow, fullest *worker) *worker {
	dev := fullest.device
	if d.s.opts.Spread != Auto || !dev.costs.step.known() {
		return fullest
	}
	wanted, busy := d.share(f, dev), f.busyOn(dev)
	if busy > wanted {
		return fullest
	}
	var emptiest *worker
	for _, w := range f.open {
		fits := w.device == dev && w.free() > 0 && (w.inFlight > 0 || busy < wanted)
		if fits && (emptiest == nil || w.inFlight < emptiest.inFlight) {
			emptiest = w
		}
	}
	if busy < wanted && emptiest.inFlight > 0 {
		if w, _ := d.idleFor(f); w != nil && w.device == dev && !w.wanted() && d.sooner(f, w, emptiest) {
			return w
		}
	}
	return emptiest
}

// busyOn returns how many workers of a device run something of the flow.
func (f *flow) busyOn(dev *device) (n int) {
	for _, w := range dev.workers {
		if w.flow == f && w.inFlight > 0 {
			n++
		}
	}
	return n
}

// sooner reports whether a flow's next request would end sooner on an idle worker, after
// a change of adapter, than on one where it can run at once.
func (d *decision) sooner(f *flow, idle, open *worker) bool {
	c := &idle.device.costs
	there := c.swap().Seconds() + f.usualCost*c.stepOf(1, idle.device.busy+1)
	return there < f.usualCost*c.stepOf(float64(open.inFlight+1), idle.device.busy)
}

// share returns how many workers of a device a flow's requests should be on: as few as
// get nearly the most done, by what was measured, of those that run its requests and
// those that are idle and nobody waits for.
func (d *decision) share(f *flow, dev *device) int {
	mine, idle, slots, requests, others := 0, 0, 0, f.waiting, 0
	for _, w := range dev.workers {
		switch {
		case w.flow == f && w.inFlight > 0:
			mine, requests = mine+1, requests+w.inFlight
		case w.inFlight > 0:
			others += w.inFlight
		case w.idle() && w.holds(f) && !w.wanted():
			idle++
		}
		slots = len(w.slots)
	}
	busy := dev.busy - mine
	total := func(k int) float64 {
		n := min(float64(requests)/float64(k), float64(slots))
		sum := float64(k) * dev.costs.rate(n, busy+k)
		if busy > 0 {
			sum += float64(busy) * dev.costs.rate(float64(others)/float64(busy), busy+k)
		}
		return sum
	}
	most := 0.0
	for k := 1; k <= mine+idle; k++ {
		most = max(most, total(k))
	}
	for k := 1; k < mine+idle; k++ {
		if total(k) >= nearly*most {
			return k
		}
	}
	return max(1, mine+idle)
}

// fuller orders a flow's workers by where one more request costs least: on the
// device with the least to do, and there on the worker with the most, so that
// batches are large and other workers become idle.
func fuller(a, b *worker) int {
	return cmp.Or(
		cmp.Compare(a.device.inFlight, b.device.inFlight),
		cmp.Compare(b.inFlight, a.inFlight),
		cmp.Compare(a.id, b.id),
	)
}

// assign gives idle workers to the flows that wait for one, longest first.
func (d *decision) assign() {
	for {
		f := d.nextInLine()
		if f == nil {
			return
		}
		w, sl := d.idleFor(f)
		d.give(w, sl, f)
	}
}

// nextInLine returns the flow that has waited longest of those for which a worker
// is idle, or nil.
func (d *decision) nextInLine() *flow {
	var next *flow
	for _, id := range d.s.applied.Idle() {
		w := d.s.workers[id]
		if p, waits := w.line.spots.first(); waits && w.idle() && (next == nil || p.flow.before(next)) {
			next = p.flow
		}
	}
	return next
}

// give runs a flow's first request on an idle worker, and its next ones beside
// it.
func (d *decision) give(w *worker, sl *slot, f *flow) {
	d.place(f.next(), w, sl)
	d.fill(f)
}

// idleFor returns the idle worker on which a flow's first request costs least,
// or nil. It is the least recently used one, unless another keeps more warm KV.
func (d *decision) idleFor(f *flow) (*worker, *slot) {
	r := f.next()
	target := d.target(f)
	fits := func(w *worker) bool { return w.idle() && w.holds(f) }
	if sl, _ := target.continues(r.Chain, fits); sl != nil && !r.Whole {
		return sl.worker, sl
	}
	var best *worker
	bestLoss := 0
	for _, id := range d.s.applied.Idle() {
		w := d.s.workers[id]
		if !fits(w) {
			continue
		}
		loss := w.loss(r)
		if best == nil || cheaper(w, best, target, loss, bestLoss) {
			best, bestLoss = w, loss
		}
	}
	return best, nil
}

// cheaper reports whether to take a rather than b, which was used before it.
func cheaper(a, b *worker, f *flow, lossA, lossB int) bool {
	applied := func(w *worker) int {
		if w.flow == f {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.device.inFlight, b.device.inFlight),
		cmp.Compare(applied(a), applied(b)),
		cmp.Compare(lossA, lossB),
	) < 0
}

// loss is how many tokens of others' KV the request would overwrite on an idle
// worker.
func (w *worker) loss(r *request) int {
	if r.Whole {
		lost := 0
		for i := range w.slots {
			lost += w.slots[i].tokens
		}
		return lost
	}
	return w.pick().tokens
}

// pick returns the slot for a request that continues nothing. The caller saw a free
// one.
func (w *worker) pick() *slot {
	if w.adjacent && w.inFlight > 0 { // where nothing runs, every slot begins a row
		return w.pickAdjacent()
	}
	return w.pickUnused()
}

// pickUnused returns a slot without use, else the one that was used least recently.
func (w *worker) pickUnused() *slot {
	tainted := (*slot)(nil)
	for i := range w.slots {
		sl := &w.slots[i]
		switch {
		case sl.busy || !sl.blank():
		case !sl.tainted:
			return sl
		case tainted == nil:
			tainted = sl
		}
	}
	if tainted != nil {
		return tainted
	}
	n, _, _ := w.unused.Oldest()
	return &w.slots[n]
}

// pickAdjacent returns the slot that leaves the busy ones in the fewest rows: each row
// is a pass over the model in every step, which costs more than to read a prompt again
// that somebody may not even come back for. Of several it is one without use, else the
// one that was used least recently.
func (w *worker) pickAdjacent() *slot {
	busy := func(i int) bool { return i >= 0 && i < len(w.slots) && w.slots[i].busy }
	worth := func(sl *slot) (n int) { // what speaks against it, the rows first
		for _, neighbour := range []int{sl.number - 1, sl.number + 1} {
			if !busy(neighbour) {
				n += 4
			}
		}
		switch {
		case !sl.blank():
			n += 2
		case sl.tainted:
			n++
		}
		return n
	}
	var best *slot
	for _, i := range w.unused.Idle() { // the least recently used one comes first
		if sl := &w.slots[i]; best == nil || worth(sl) < worth(best) {
			best = sl
		}
	}
	return best
}

// target is the flow whose identity a worker applies to run f's requests.
func (d *decision) target(f *flow) *flow {
	if !f.key.whole {
		return f
	}
	return d.s.flow(flowKey{identity: f.key.identity}, f.files, d.now)
}

// place runs a request on a worker: in sl, or where it costs least.
func (d *decision) place(r *request, w *worker, sl *slot) {
	s, f := d.s, r.flow
	target := d.target(f)
	a := Action{Kind: Serve, Ticket: r.Ticket, Worker: w.id, Slot: NoSlot, Missed: r.missed}
	fresh := w.flow != target || w.inFlight == 0
	if w.flow != target {
		a.Kind = Swap
		s.counts.Swaps++
		w.changed = d.now
	}
	// A worker that has just finished its flow's last request goes on with its turn
	// if others wait: one that ran idle for moments would never have had it.
	if w.flow != target || w.inFlight == 0 && !w.wanted() {
		s.apply(w, target, d.now)
	}
	if r.Whole || r.Alone {
		w.whole = true
		s.reopen(w, d.now)
	}
	if r.Whole {
		a.Slots = w.allSlots()
	} else {
		if sl == nil {
			sl = w.pick()
		}
		a.Slots, a.Slot = []int{sl.number}, sl.number
		a.Warm = s.countWarm(sl, r)
	}
	a.Erase = s.occupy(w, r, a.Slots, d.now)
	s.residency.Use(f.files, d.now)
	r.lane.begin(f.usualCost, d.now)
	s.running[r.Ticket] = &run{
		flow: f, lane: r.lane, worker: w, slots: a.Slots, started: d.now, expected: f.usualCost,
		swap: w.swapOf(d.now), beside: w.inFlight - 1, warm: a.Warm > 0, alone: r.Alone && !r.Whole, load: w.load.sum, deviceLoad: w.device.load.sum,
	}
	f.running++
	if f.key.whole { // its next one waits anew
		f.waitFrom(d.now)
	}
	s.dequeue(r)
	if fresh {
		s.turn(r, d.now)
	}
	d.actions = append(d.actions, a)
}

func (w *worker) allSlots() []int {
	all := make([]int, len(w.slots))
	for i := range all {
		all[i] = i
	}
	return all
}

// countWarm returns how many bytes of the request's prompt the slot holds.
func (s *Scheduler) countWarm(sl *slot, r *request) int {
	if len(r.Chain) == 0 {
		return 0
	}
	warm := 0
	if sl.owner == r.flow {
		for i := 0; i < min(len(sl.chain), len(r.Chain)) && sl.chain[i].Hash == r.Chain[i].Hash; i++ {
			warm = r.Chain[i].Bytes
		}
	}
	if warm > 0 {
		s.counts.WarmHits++
	} else {
		s.counts.WarmMisses++
	}
	return warm
}

// spread takes idle workers for flows that have more requests than slots, when
// nobody waits for a first one. On another device that is a gain at once; on the
// same one it splits the batch, which pays only if requests would wait long.
func (d *decision) spread() {
	s := d.s
	if s.applied.IdleLen() == 0 {
		return
	}
	for _, f := range s.crowded() {
		for f.waiting > 0 && !f.capped() {
			w, sl := d.idleFor(f)
			if w == nil || w.wanted() || w.isOpen && w.flow == f {
				break
			}
			if f.sharesDevice(w) && d.now < f.head.Since+s.spreadWait() && !d.paysOff(f, w) {
				break
			}
			d.give(w, sl, f)
		}
	}
}

// spreadWait is how long requests wait before their flow gets a second worker of a
// device whatever that gains.
func (s *Scheduler) spreadWait() time.Duration {
	if s.opts.Spread == Auto {
		return autoSpread
	}
	return s.opts.Spread
}

// paysOff reports whether an idle worker is worth taking at once for the requests of a
// crowded flow: the device has been measured to get more done with it, and a slot will
// not be free sooner than its adapter is changed.
func (d *decision) paysOff(f *flow, w *worker) bool {
	c := &w.device.costs
	if d.s.opts.Spread != Auto || !c.step.known() || d.share(f, w.device) <= f.busyOn(w.device) {
		return false
	}
	open := f.open[0]
	nextFree := f.usualCost * c.stepOf(float64(open.inFlight), w.device.busy) / float64(max(1, f.running))
	return w.flow == f || nextFree > c.swap().Seconds()
}

// crowded returns the flows that have workers and yet requests that wait, those
// with the fewest workers for their weight first. There are no more of them than
// workers.
func (s *Scheduler) crowded() []*flow {
	var list []*flow
	for _, w := range s.list {
		f := w.flow
		if w.isOpen && f.open[0] == w && f.waiting > 0 && !f.capped() {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(f, g *flow) int {
		return cmp.Or(
			cmp.Compare(float64(len(f.open)+1)/f.weight, float64(len(g.open)+1)/g.weight),
			cmp.Compare(f.head.Since, g.head.Since),
			cmp.Compare(f.head.Ticket, g.head.Ticket))
	})
	return list
}

func (f *flow) sharesDevice(w *worker) bool {
	return slices.ContainsFunc(f.open, func(x *worker) bool { return x.device == w.device })
}

// clear closes workers whose flows have had their turn, for flows that are due
// and will not have an idle one.
func (d *decision) clear() {
	if d.expired(d.turnOver) == nil {
		return
	}
	unmet, _ := d.match()
	for _, f := range unmet {
		if w := d.expired(func(w *worker) bool { return d.turnOver(w) && w.holds(f) && d.overdue(f, w) <= d.now }); w != nil {
			w.closing = true
			d.s.reopen(w, d.now)
		}
	}
}

// overdue is when a flow that waits stands before the one that has a worker, if that
// came back to the line: to close the worker before would be in vain, because the
// other would get it back. One that has nothing waiting does not come back.
func (d *decision) overdue(f *flow, w *worker) Time {
	priority, any := w.flow.lanes.top()
	if !any {
		priority = f.leads
	}
	return f.place + Time(priority)*d.s.opts.HeadStart
}

// match pairs the flows that are due with workers that are idle or will be. It
// returns the flows that are left, longest wait first, and the workers that are.
func (d *decision) match() (unmet []*flow, unused []*worker) {
	unused = d.coming()
	for _, f := range d.due() {
		i := slices.IndexFunc(unused, func(w *worker) bool { return w.holds(f) })
		if i < 0 {
			unmet = append(unmet, f)
			continue
		}
		unused = slices.Delete(unused, i, i+1)
	}
	return unmet, unused
}

// due returns flows that should have a worker by now, or could if its flow has a
// lower priority, longest wait first: no more of a line than there are workers.
func (d *decision) due() []*flow {
	latest := d.now - Time(d.s.leastPriority())*d.s.opts.HeadStart
	var list []*flow
	for _, l := range d.s.lines {
		for _, p := range l.spots.least(l.set.Workers(), func(p *spot) bool { return p.flow.place <= latest }) {
			if len(p.flow.spots) == 1 || !slices.Contains(list, p.flow) {
				list = append(list, p.flow)
			}
		}
	}
	if len(d.s.lines) > 1 {
		slices.SortFunc(list, func(f, g *flow) int { return cmp.Compare(f.place, g.place) })
	}
	return list
}

// coming returns the workers that are idle, then those that drain for somebody or
// run one request that will leave them idle, those with least to do first.
func (d *decision) coming() []*worker {
	var list []*worker
	for _, w := range d.s.list {
		if w.idle() || !w.kept() && (w.closing || w.whole) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b *worker) int { return cmp.Compare(a.inFlight, b.inFlight) })
	return list
}

// turnOver reports whether a busy worker may be closed for a flow that has none: its
// flow has had its turn, or, if it took a further worker because that was measured to
// gain something, has another one.
func (d *decision) turnOver(w *worker) bool {
	return d.s.expiry(w) <= d.now || d.s.opts.Spread == Auto && len(w.flow.open) > 1
}

// expired returns the open worker to close next, or nil: of those that fit one of the
// flow that has the most, and of these the one whose turn is, or will be, over first.
func (d *decision) expired(fits func(*worker) bool) *worker {
	var best *worker
	for _, w := range d.s.list {
		if !w.isOpen || w.inFlight == 0 || !fits(w) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(len(best.flow.open), len(w.flow.open)),
			cmp.Compare(d.s.expiry(w), d.s.expiry(best)),
			cmp.Compare(w.id, best.id),
		) < 0 {
			best = w
		}
	}
	return best
}

// reopenRest opens workers again that were closed for flows that no longer wait:
// nothing would come of draining them.
func (d *decision) reopenRest() {
	for d.closed() {
		w := d.lastClosed()
		if w == nil {
			return
		}
		w.closing, w.handover = false, false
		d.s.reopen(w, d.now)
		d.fillDirty()
	}
}

// closed reports whether any worker drains for others, or did.
func (d *decision) closed() bool {
	return slices.ContainsFunc(d.s.list, func(w *worker) bool { return w.closing })
}

// balance closes a worker of a flow that spread over several, once its turn is
// over, for a flow that has requests waiting and fewer workers for its weight,
// if that leaves them closer.
func (d *decision) balance() {
	crowded := d.s.crowded()
	if len(crowded) == 0 || d.s.anyWaits() {
		return
	}
	poor := crowded[0]
	w := d.expired(func(w *worker) bool { return d.s.expiry(w) <= d.now && w.holds(poor) && len(w.flow.open) > 1 })
	if w == nil || w.flow == poor || slices.ContainsFunc(d.s.list, func(x *worker) bool { return x.handover }) {
		return
	}
	if float64(len(poor.open)+1)/poor.weight < float64(len(w.flow.open))/w.flow.weight {
		w.closing, w.handover = true, true
		d.s.reopen(w, d.now)
	}
}

// lastClosed returns the closing worker that would take longest to drain, of
// those that nobody needs.
func (d *decision) lastClosed() *worker {
	var best *worker
	_, unused := d.match()
	for _, w := range unused {
		if !w.closing || w.handover && w.inFlight > 0 {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(w.inFlight, best.inFlight), cmp.Compare(best.id, w.id)) > 0 {
			best = w
		}
	}
	return best
}

// foremost are the flows of a line whose turn could be next: the first, or with
// several priorities as many as there are workers.
func (d *decision) foremost(l *line) []*spot {
	if len(d.s.priorities) > 1 {
		return l.spots.least(l.set.Workers(), func(*spot) bool { return true })
	}
	return l.spots.items[:min(1, len(l.spots.items))]
}

// wake is the next moment at which time alone changes a decision.
func (d *decision) wake() Time {
	s := d.s
	next := Never
	at := func(t Time) {
		if t > d.now {
			next = min(next, t)
		}
	}
	waits := false
	for _, l := range s.lines {
		for _, p := range d.foremost(l) {
			waits = true
			for _, w := range s.list {
				if w.isOpen && w.inFlight > 0 {
					at(d.overdue(p.flow, w))
					if len(s.priorities) == 1 {
						break // it is the same for all
					}
				}
			}
		}
	}
	for _, w := range s.list {
		if waits && w.isOpen && w.inFlight > 0 {
			at(s.expiry(w))
		}
	}
	s.residency.Wake(at)
	if waits && len(s.lines) == 1 {
		return next
	}
	for _, f := range s.crowded() {
		at(f.head.Since + s.spreadWait())
		for _, w := range s.list { // one of them may be handed over
			if w.isOpen && len(w.flow.open) > 1 {
				at(s.expiry(w))
			}
		}
	}
	return next
}
