package proxy

import (
	"maps"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
)

// probes tells whether the gateway is alive, and whether it can serve.
type probes struct {
	gate     *gate
	answers  *answers
	stats    func() pool.Stats
	degraded func() string // see Options
	pollers  pollers
}

// health tells that the gateway is alive.
func (s *probes) health(c echo.Context) error {
	return s.answers.writeJSON(c, map[string]string{"status": "ok"})
}

// ready tells whether requests can be served.
func (s *probes) ready(c echo.Context) error {
	err := s.readiness()
	s.pollers.note(c.RealIP()+" "+httpkit.Shorten(c.Request().UserAgent()), time.Now(), err == nil)
	if err != nil {
		return err
	}
	stats := s.stats()
	answer := map[string]any{"status": "ready", "workers": len(stats.Workers), "workers_up": up(stats)}
	if s.degraded != nil {
		if why := s.degraded(); why != "" {
			answer["status"], answer["reason"] = "degraded", why
		}
	}
	return s.answers.writeJSON(c, answer)
}

// readiness returns why requests cannot be served, or nil.
func (s *probes) readiness() error {
	if err := s.gate.open(); err != nil {
		return err
	}
	if up(s.stats()) > 0 {
		return nil
	}
	return notReady("No worker is ready.")
}

// up is how many workers are up.
func up(stats pool.Stats) (n int) {
	for _, w := range stats.Workers {
		if w.Up() {
			n++
		}
	}
	return n
}

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
