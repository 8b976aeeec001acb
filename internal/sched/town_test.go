package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/world"
)

// town is a world of adapters with everything that a pool lives through, at random
// moments of virtual time: requests that take their time, processes that start
// slowly or not at all, deaths, operators, and a stock that changes.
type town struct {
	*checked
	rng    *rand.Rand
	all    []Stock       // all files that there ever are
	out    map[File]bool // of stock
	breaks map[File]bool // files that end the processes which load them
	weak   map[int]bool  // members whose processes do not start, whatever they load

	pauses   map[int]*world.Event // when members are started again that failed
	arrival  *world.Event
	trouble  *world.Event // the next; nil in a peaceful town
	stop     Time         // no arrivals, and no trouble, after it
	members  int
	peaceful bool

	arrives  func()                     // lets something arrive
	longest  time.Duration              // of the longest generation
	plans    func(id int, files []File) // is told what members are to load
	reloaded Time                       // when the last reload ended
	forced   map[int]bool               // an operator wants these restarted
	waits    map[flowKey]*wait
	wasUp    bool // all workers were up once
	wasWeak  bool // starts failed for no fault of files
	turned   int  // requests that were turned away
}

const (
	longestStart = 900 * time.Millisecond
	townInterval = time.Second
)

func newTown(t testing.TB, rng *rand.Rand, peaceful bool) *town {
	o := bounded(1+rng.IntN(4), 1+rng.IntN(6))
	o.ReloadInterval, o.Spares, o.Quantum = townInterval, rng.IntN(2), time.Second
	if rng.IntN(3) == 0 {
		o.MaxLoaded, o.Memory = 0, int64(30+rng.IntN(70))
	}
	c := plainTown(t, rng, o)
	c.peaceful = peaceful
	for i := range 3 + rng.IntN(30) {
		c.all = append(c.all, Stock{
			File: File(fmt.Sprintf("f%02d", i)), Bytes: int64(5 + rng.IntN(20)), Pin: rng.IntN(15) == 0,
			Preload: rng.IntN(8) == 0,
		})
	}
	if !peaceful {
		c.trouble = c.At(c.soon(time.Second), c.disturb)
		for _, st := range c.all {
			c.breaks[st.File] = rng.IntN(12) == 0
		}
	}
	c.open()
	return c
}

// plainTown returns a town without stock, which is closed yet.
func plainTown(t testing.TB, rng *rand.Rand, o Options) *town {
	c := &town{
		checked: newWorld(t, o), rng: rng, out: map[File]bool{}, breaks: map[File]bool{}, weak: map[int]bool{},
		pauses: map[int]*world.Event{}, stop: time.Minute,
		members: o.Workers + o.Spares, peaceful: true, forced: map[int]bool{}, waits: map[flowKey]*wait{},
	}
	c.arrives, c.plans, c.longest = c.request, func(int, []File) {}, longest
	c.ended = func(j *job) { c.Finish(j, Usage{Prompt: 100, Completion: 20}) }
	c.length = func(*job) time.Duration { return swapTime + Time(c.rng.Float64()*float64(c.longest-swapTime)) }
	c.OnStart, c.OnCome, c.OnProcess, c.OnSettled = c.start, c.come, c.process, c.settled
	return c
}

func (c *town) open() {
	c.stockUp()
	for id := range c.s.opts.Workers {
		c.Begin(id)
	}
	c.arrival = c.At(0, c.arrives)
	c.At(c.stop+1, c.calm) // what arrives at that moment is the last
}

// soon is a moment after so much time, on average.
func (c *town) soon(mean time.Duration) Time {
	return c.Now() + 1 + Time(c.rng.ExpFloat64()*float64(mean))
}

// run lives until nothing is left to do.
func (c *town) run() {
	for c.Decide(); c.Next() <= time.Hour && c.Step(); {
	}
	if len(c.Queued) > 0 || len(c.Placed) > 0 {
		c.t.Fatalf("%d wait and %d run at the end: %s", len(c.Queued), len(c.Placed), c)
	}
}

// settled checks what was decided.
func (c *town) settled() {
	c.check()
	c.checkTown()
	if c.peaceful {
		c.follow(c.log)
	}
	c.log = c.log[:0]
}

// process checks that a process may be ended or started now.
func (c *town) process(a Action) {
	if a.Kind != Retire {
		c.checkPause(a)
	}
	if a.Kind == Start && c.s.status().Members[a.Worker].Starting {
		c.t.Fatalf("%+v starts what is there", a)
	}
	if a.Kind != Start {
		delete(c.forced, a.Worker)
	}
}

// checkPause checks that reloads keep their distance.
func (c *town) checkPause(a Action) {
	if c.forced[a.Worker] || c.reloaded == 0 {
		return
	}
	if c.Now() < c.reloaded+townInterval {
		c.t.Fatalf("%+v at %s, the last reload ended at %s", a, c.Now(), c.reloaded)
	}
}

// start says how long a process takes to start.
func (c *town) start(id int, files []File) time.Duration {
	c.plans(id, files)
	return longestStart/9 + Time(c.rng.Float64()*float64(longestStart*8/9))
}

// pause has a member started again after a while.
func (c *town) pause(id int, mean time.Duration) {
	c.Cancel(c.pauses[id])
	c.pauses[id] = c.At(c.soon(mean), func() { c.Begin(id) })
}

// come ends a member's start, for good or bad.
func (c *town) come(id int) {
	reload := c.s.status().Phase == residency.Restarting && c.s.status().Next == id
	bad := slices.ContainsFunc(c.s.status().Members[id].Planned, func(f File) bool { return c.breaks[f] })
	if bad || c.weak[id] {
		if c.s.Failed(id, c.Now()) {
			c.Begin(id)
		} else if !c.s.Vacant(id) {
			c.pause(id, 2*time.Second)
		}
		return
	}
	c.Up(id, 1+c.rng.IntN(3), fmt.Sprint(id%2))
	if reload {
		c.reloaded = c.Now()
	}
	c.refuse()
}

// refuse turns away what will never be served, as the pool does.
func (c *town) refuse() {
	for _, f := range c.s.NewlyQuarantined() {
		if !c.s.Quarantined(f) || !c.breaks[f] && !c.wasWeak {
			c.t.Fatalf("%s is innocent", f)
		}
	}
	for _, j := range c.Queued {
		if slices.ContainsFunc(j.Files, c.s.Quarantined) || !c.s.Room(j.Files) {
			c.Leave(j)
			c.turned++
		}
	}
}

// request queues one, unless it would be turned away.
func (c *town) request() {
	c.arrival = c.At(c.soon(150*time.Millisecond), c.arrives)
	var files []File
	switch n := c.rng.IntN(10); {
	case n == 0: // the base
	case n < 3:
		files = slices.Compact(slices.Sorted(slices.Values([]File{c.pick(), c.pick()})))
	default:
		files = []File{c.pick()}
	}
	if slices.ContainsFunc(files, c.s.Quarantined) || !c.s.Room(files) {
		return
	}
	c.arrive(Request{Identity: Identity(fmt.Sprint(files)), Files: files, Exclusive: c.rng.IntN(20) == 0})
}

// pick returns a file in stock, the first ones more often.
func (c *town) pick() File {
	for {
		n := int(float64(len(c.all)) * c.rng.Float64() * c.rng.Float64())
		if f := c.all[n].File; !c.out[f] {
			return f
		}
	}
}

// disturb does one bad thing by chance.
func (c *town) disturb() {
	c.trouble = c.At(c.soon(time.Second), c.disturb)
	c.Changed()
	id := c.rng.IntN(c.members)
	switch c.rng.IntN(9) {
	case 0:
		c.kill(id)
	case 1:
		c.s.Drain(id, true, c.Now())
	case 2, 3:
		c.s.Drain(id, false, c.Now())
	case 4:
		if c.Workers[id] != nil {
			c.forced[id] = true
			c.s.Restart(id)
		}
	case 5, 6:
		c.change()
	case 7:
		c.s.Quarantine(c.pick())
		c.refuse()
	case 8:
		c.wasWeak = true
		if c.weak[id] = !c.weak[id]; !c.weak[id] && c.rng.IntN(2) == 0 {
			c.weak[c.rng.IntN(c.members)] = true
		}
	}
}

// kill ends a process; what ran on it runs again elsewhere.
func (c *town) kill(id int) {
	if c.Workers[id] == nil {
		return
	}
	lost := c.Down(id)
	c.pause(id, 500*time.Millisecond)
	for _, j := range lost {
		again := j.Request
		again.Again = true
		c.arrive(again)
	}
	c.refuse()
}

// change changes the stock in one place.
func (c *town) change() {
	st := &c.all[c.rng.IntN(len(c.all))]
	switch c.rng.IntN(4) {
	case 0:
		st.Pin = !st.Pin
	case 1:
		st.Preload = !st.Preload
	default:
		if c.out[st.File] || len(c.out) < len(c.all)/2 {
			if c.out[st.File] = !c.out[st.File]; !c.out[st.File] {
				delete(c.out, st.File)
			}
		}
	}
	c.stockUp()
	c.refuse()
}

func (c *town) stockUp() {
	c.s.SetStock(slices.DeleteFunc(slices.Clone(c.all), func(st Stock) bool { return c.out[st.File] }), c.Now())
}

// calm ends all trouble.
func (c *town) calm() {
	c.Cancel(c.arrival)
	c.Cancel(c.trouble)
	c.Changed()
	clear(c.weak)
	for id := range c.members {
		c.s.Drain(id, false, c.Now())
	}
}

// checkTown checks what must hold at every moment.
func (c *town) checkTown() {
	leaving, serving := 0, 0
	for _, w := range c.s.fleet.list {
		if w.reloading {
			leaving++
		} else {
			serving++
		}
		var bytes int64
		for _, f := range w.line.set.Files() {
			bytes += c.s.known(f).Bytes
		}
		if !c.s.fit(len(w.line.set.Files()), bytes) {
			c.t.Fatalf("worker %d has %d files of %d bytes", w.id, len(w.line.set.Files()), bytes)
		}
	}
	if leaving > 1 {
		c.t.Fatalf("%d workers are being given up", leaving)
	}
	for _, f := range c.s.queue.missing.Items() {
		for _, w := range c.s.fleet.list {
			if !w.drained && w.line.set.Holds(f.files) {
				c.t.Fatalf("%q is missing, and worker %d has it", f.key.identity, w.id)
			}
		}
	}
	c.wasUp = c.wasUp || serving == c.s.opts.Workers
	if least := c.s.opts.Workers - 1 + c.s.opts.Spares; c.peaceful && c.wasUp && serving < least {
		c.t.Fatalf("%d workers serve, of %d with %d spares", serving, c.s.opts.Workers, c.s.opts.Spares)
	}
}

// follow checks how long identities wait that nothing runs of: for each of the
// others that is served meanwhile, once, a reload and a turn at most.
func (c *town) follow(served []Action) {
	given := map[flowKey]bool{}
	for _, a := range served {
		key := flowKey{c.Placed[a.Ticket].Identity, c.Placed[a.Ticket].Exclusive}
		given[key] = true
		for other, w := range c.waits {
			if other != key {
				w.ahead[key] = true
			}
		}
	}
	for key, w := range c.waits {
		f := c.s.queue.flows[key]
		if given[key] || f == nil || f.waiting == 0 || f.running > 0 {
			limit := time.Duration(2+len(w.ahead)) * (c.s.opts.Quantum + 2*longest + longestStart + townInterval)
			if took := c.Now() - w.since; took > limit {
				c.t.Fatalf("%q waited %s behind %d others, the bound is %s", key.identity, took, len(w.ahead), limit)
			}
			delete(c.waits, key)
		}
	}
	for key, f := range c.s.queue.flows {
		if f.waiting > 0 && f.running == 0 && c.waits[key] == nil {
			c.waits[key] = &wait{since: c.Now(), ahead: map[flowKey]bool{}}
		}
	}
}

// String is the whole state, for failures.
func (c *town) String() string {
	return (&shop{checked: c.checked}).String()
}

// checkEnd checks where files are in the end.
func (c *town) checkEnd() {
	if up := len(c.s.fleet.list); up != c.s.opts.Workers {
		c.t.Fatalf("%d workers are up: %s", up, c)
	}
	for _, file := range c.s.pinned() {
		for _, w := range c.s.fleet.list {
			if !w.line.set.Has(file) {
				c.t.Errorf("%s is pinned, and worker %d lacks it: %s", file, w.id, c)
			}
		}
	}
	room := 0
	for _, file := range c.s.preloaded() {
		if c.s.Quarantined(file) || c.s.Loaded(file) {
			continue
		}
		// Nobody has it: then nobody has room for it beside pinned and preloaded ones.
		for _, w := range c.s.fleet.list {
			count, bytes := 1, c.s.known(file).Bytes
			for _, f := range w.line.set.Files() {
				if it := c.s.known(f); it.Standing || it.Preload && !it.Gone {
					count, bytes = count+1, bytes+it.Bytes
				}
			}
			if c.s.fit(count, bytes) {
				room++
			}
		}
	}
	if room > 0 {
		c.t.Errorf("something that is preloaded is nowhere, though there is room: %s", c)
	}
	s, st := c.s, c.s.status()
	left := s.queue.missing.Len() + s.queue.longest.Len() + len(s.running) + len(st.Forced) + s.starting()
	if left > 0 || st.Phase != residency.None || s.queue.anyWaits() {
		c.t.Errorf("something is left: %s", c)
	}
}

// TestTown lets requests meet more files than fit, in peace and in trouble: all
// are served or turned away, nobody waits for longer than his turn, and reloads
// keep to their rules.
func TestTown(t *testing.T) {
	t.Parallel()
	for _, peaceful := range []bool{true, false} {
		var counts Counts
		turned := 0
		for i, rng := range seeds(60) {
			t.Run(fmt.Sprint(peaceful, i), func(t *testing.T) {
				c := newTown(t, rng, peaceful)
				c.run()
				c.checkEnd()
				n := c.s.Counts()
				counts.Reloads, counts.Misses, counts.Hits = counts.Reloads+n.Reloads, counts.Misses+n.Misses, counts.Hits+n.Hits
				turned += c.turned
			})
		}
		t.Logf("peaceful %v: %+v, %d turned away", peaceful, counts, turned)
	}
}
