package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/loragate/loragate/internal/residency"
)

// chaos is a shop in which everything changes at any moment.
type chaos struct {
	*shop
	rng     *rand.Rand
	list    []Stock // all files that there ever are
	members int
	gone    map[File]bool // out of stock at present
}

// TestReloadsSurviveChaos lets stock, pins, operators, deaths and bad files meet.
// In the end every request was served or turned away, and what is pinned or
// preloaded is where it should be.
func TestReloadsSurviveChaos(t *testing.T) {
	t.Parallel()
	for i, rng := range seeds(150) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o := bounded(1+rng.IntN(3), 3+rng.IntN(4))
			o.Spares = rng.IntN(2)
			if rng.IntN(2) == 0 {
				o.MaxLoaded, o.Memory = 0, int64(40+rng.IntN(40))
			}
			list := stockOf(5 + rng.IntN(20))
			list[0].Pin, list[1].Preload, list[2].Preload = rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
			c := &chaos{shop: newShop(t, o, list...), rng: rng, list: list, members: o.Workers + o.Spares, gone: map[File]bool{}}
			if rng.IntN(2) == 0 {
				c.breaks[list[3+rng.IntN(len(list)-3)].File] = true
			}
			if rng.IntN(3) == 0 {
				c.memory = int64(30 + rng.IntN(60))
			}
			for range 80 {
				c.disturb()
				c.request()
				c.move()
			}
			c.calm()
		})
	}
}

// request queues one, for files in stock that a worker has room for.
func (c *chaos) request() {
	files := []File{c.pick()}
	if c.rng.IntN(5) == 0 {
		files = append(files, c.pick())
		slices.Sort(files)
		files = slices.Compact(files)
	}
	spoiled := slices.ContainsFunc(files, c.s.Quarantined)
	if !spoiled && c.s.Room(files) {
		c.wants(files...)
	}
}

func (c *chaos) pick() File {
	for {
		if f := c.list[c.rng.IntN(len(c.list))].File; !c.gone[f] {
			return f
		}
	}
}

// disturb does one thing by chance, or nothing.
func (c *chaos) disturb() {
	id := c.rng.IntN(c.members)
	switch c.rng.IntN(16) {
	case 0: // a process dies; what ran on it runs again
		if c.Workers[id] != nil {
			lost := c.Down(id)
			c.Begin(id)
			c.again(lost)
		}
	case 1:
		c.s.Drain(id, true, c.Now())
	case 2:
		c.s.Drain(id, false, c.Now())
	case 3:
		c.s.Restart(id)
	case 4: // a file comes or goes
		f := c.list[3+c.rng.IntN(len(c.list)-3)].File
		if len(c.gone) < len(c.list)/2 || c.gone[f] {
			if c.gone[f] = !c.gone[f]; !c.gone[f] {
				delete(c.gone, f)
			}
			c.setStock()
		}
	case 5:
		f := c.pick()
		c.s.Quarantine(f)
		c.turnAway(f)
	case 6, 7, 8, 9:
		c.finishAll()
	}
}

func (c *chaos) setStock() {
	var now []Stock
	for _, s := range c.list {
		if !c.gone[s.File] {
			now = append(now, s)
		}
	}
	c.s.SetStock(now, c.Now())
}

// turnAway does what the pool does with requests for a file that is not loaded
// any more.
func (c *chaos) turnAway(f File) {
	for _, j := range c.Queued {
		if slices.Contains(j.Files, f) {
			c.Leave(j)
		}
	}
}

// move lets what is due happen, and a little more.
func (c *chaos) move() {
	c.Decide()
	for _, f := range c.s.NewlyQuarantined() {
		if !c.breaks[f] {
			c.t.Fatalf("%s is convicted, and is innocent", f)
		}
		c.turnAway(f)
	}
	c.checkOne()
	if len(c.Starting) > 0 && c.rng.IntN(2) == 0 {
		c.step()
	}
}

// checkOne checks that at most one worker is being given up, and that bounds
// hold.
func (c *chaos) checkOne() {
	given := 0
	for _, w := range c.s.fleet.list {
		if w.reloading {
			given++
		}
		var bytes int64
		for _, f := range w.line.set.Files() {
			bytes += c.s.known(f).Bytes
		}
		// Where memory ends the bound is learned, perhaps while a worker with more comes up.
		if o := c.s.opts; c.memory == 0 && o.Memory > 0 && bytes > o.Memory || c.memory > 0 && bytes > c.memory ||
			o.MaxLoaded > 0 && len(w.line.set.Files()) > o.MaxLoaded {
			c.t.Fatalf("worker %d has %d files of %d bytes", w.id, len(w.line.set.Files()), bytes)
		}
	}
	if given > 1 {
		c.t.Fatalf("%d workers are being given up at once", given)
	}
}

// calm lets every worker serve and all requests end.
func (c *chaos) calm() {
	for id := range c.members {
		c.s.Drain(id, false, c.Now())
	}
	settled := func() bool {
		c.finishAll()
		for _, f := range c.s.NewlyQuarantined() {
			c.turnAway(f)
		}
		c.checkOne()
		return len(c.Queued)+len(c.Placed)+len(c.Starting) == 0 && c.s.status().Phase == residency.None &&
			len(c.s.status().Forced) == 0 && !c.s.status().Lacking && c.s.status().Again == Never
	}
	c.run(settled)
	if up := len(c.s.fleet.list); up != c.s.opts.Workers {
		c.t.Fatalf("%d workers are up, want %d", up, c.s.opts.Workers)
	}
	for _, st := range c.list {
		if c.s.Quarantined(st.File) {
			continue
		}
		if st.Preload && !c.s.Loaded(st.File) {
			c.t.Errorf("%s is preloaded, and nobody has it", st.File)
		}
		for _, w := range c.s.fleet.list {
			if st.Pin && !w.line.set.Has(st.File) {
				c.t.Errorf("%s is pinned, and worker %d does not have it: %s", st.File, w.id, c.shop)
			}
		}
	}
	if c.s.queue.missing.Len() > 0 || c.s.queue.anyWaits() || len(c.s.running) > 0 {
		c.t.Error("something is left")
	}
}
