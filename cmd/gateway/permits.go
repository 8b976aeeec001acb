package main

import (
	"context"
	"slices"
	"sync"
)

// permits say which workers may start while those of the gateway before end: the next one
// for each that has ended, on the device that it was on, in the workers' order, because the
// first one is tested before the others are used.
type permits struct {
	// mu guards what follows. It is held for moments only.
	mu      sync.Mutex
	all     bool          // the gateway before is gone
	freed   []string      // devices with room that nobody has yet
	places  []string      // devices of workers that may not start yet
	granted []string      // devices of those that may, by worker
	changed chan struct{} // closed at the next change
}

func newPermits() *permits { return &permits{changed: make(chan struct{})} }

// plan says what devices the workers are to be on. Before that nobody may start.
func (p *permits) plan(places []string) { p.change(func() { p.places = slices.Clone(places) }) }

// free says that there is room for one on a device.
func (p *permits) free(device string) { p.change(func() { p.freed = append(p.freed, device) }) }

// freeAll says that there is room for all.
func (p *permits) freeAll() { p.change(func() { p.all = true }) }

func (p *permits) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.grant()
	close(p.changed)
	p.changed = make(chan struct{})
}

// grant gives out what can be given. Room on a device where nobody is to be goes to nobody.
func (p *permits) grant() {
	if p.all {
		p.granted, p.places = append(p.granted, p.places...), nil
		return
	}
	p.freed = slices.DeleteFunc(p.freed, func(device string) bool {
		i := slices.Index(p.places, device)
		if i < 0 {
			return false
		}
		p.places = slices.Delete(p.places, i, i+1)
		p.granted = append(p.granted, device)
		return true
	})
}

// await blocks until a worker may start, and returns the device that it is to be on, or
// until ctx ends, and returns why.
func (p *permits) await(ctx context.Context, worker int) (device string, err error) {
	for {
		p.mu.Lock()
		if worker < len(p.granted) {
			defer p.mu.Unlock()
			return p.granted[worker], nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
