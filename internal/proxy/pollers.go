package proxy

import (
	"maps"
	"sync"
	"time"
)

const (
	// pollMemory is for how long somebody who asked /ready is taken to ask again.
	pollMemory = time.Minute
	// maxPollers bounds how many are known. Whoever comes beyond that is not waited for.
	maxPollers = 256
)

// pollers are those that have been told of /ready that requests can be served: balancers
// that send some until they are told otherwise. The zero value is ready for use.
type pollers struct {
	mu   sync.Mutex
	told map[string]time.Time // when each was told so last
}

// note takes in what somebody has been told.
func (p *pollers) note(who string, now time.Time, ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ready {
		delete(p.told, who)
		return
	}
	if p.told == nil {
		p.told = make(map[string]time.Time)
	}
	if _, known := p.told[who]; known || len(p.told) < maxPollers || p.forget(now) {
		p.told[who] = now
	}
}

// forget drops those who do not ask any more, and reports whether there is room. The
// caller holds the lock.
func (p *pollers) forget(now time.Time) bool {
	maps.DeleteFunc(p.told, func(_ string, at time.Time) bool { return now.Sub(at) > pollMemory })
	return len(p.told) < maxPollers
}

// waiting reports whether there is somebody who will ask again and does not know yet.
func (p *pollers) waiting(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	return len(p.told) > 0
}

// Awaited reports whether somebody who polls /ready was last told that it is, within a
// minute, and so goes on sending requests.
func (p *Proxy) Awaited() bool { return p.pollers.waiting(time.Now()) }
