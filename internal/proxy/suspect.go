package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/pool"
)

// quarantine remembers bodies that ended workers, so that sending one again ends no
// further. It is safe for concurrent use, and free while it is empty.
type quarantine struct {
	size atomic.Int64 // of until

	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time
}

const (
	// quarantineTime is how long a body is refused.
	quarantineTime = 10 * time.Minute
	// quarantineSize bounds how many bodies are remembered; the one that would be
	// forgotten first makes room.
	quarantineSize = 4096
)

// digest is of what llama-server would get and where.
func (r *request) digest() [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(r.endpoint.at()))
	h.Write([]byte{0})
	h.Write([]byte(r.model.Target))
	h.Write([]byte{0})
	h.Write(r.body.Apply())
	return [sha256.Size]byte(h.Sum(nil))
}

// add takes a body in.
func (q *quarantine) add(r *request, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil {
		q.until = make(map[[sha256.Size]byte]time.Time)
	}
	oldest, first := [sha256.Size]byte{}, time.Time{}
	for key, until := range q.until {
		switch {
		case !now.Before(until):
			delete(q.until, key)
		case first.IsZero() || until.Before(first):
			oldest, first = key, until
		}
	}
	if len(q.until) >= quarantineSize {
		delete(q.until, oldest)
	}
	q.until[r.digest()] = now.Add(quarantineTime)
	q.size.Store(int64(len(q.until)))
}

// left returns for how long the body is still refused; 0 is not at all.
func (q *quarantine) left(r *request, now time.Time) time.Duration {
	if q.size.Load() == 0 {
		return 0
	}
	key := r.digest()
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.until[key].Sub(now))
}

// runs is what became of a request so far.
type runs struct {
	count   int
	harm    int       // of them ended with a worker that nobody ended from outside
	first   time.Time // when the first of those did
	suspect bool      // it may be why a worker ended
}

const (
	// mostRuns is how often a request runs at all.
	mostRuns = 4
	// mostHarm is how many workers may end under it.
	mostHarm = 2
)

// verdict is what follows from a worker's failure under a request.
type verdict int

const (
	runAgain verdict = iota
	giveUp           // workers failed too often, for reasons of their own
	convict          // the request is what ends them
)

// failed takes notice of a run whose worker failed before the client had a byte of the
// answer, on the lease. begun says that llama-server had begun to answer: a request that ends workers
// does so before, when it is parsed, when its grammar is compiled, or when its prompt is
// read.
func (rs *runs) failed(cause error, l *pool.Lease, begun bool, now time.Time) verdict {
	rs.count++
	end, ended := pool.EndOf(cause)
	alongWithFirst := l.SharedFate && !rs.first.IsZero() && l.Since.Before(rs.first)
	if ended && end != pool.EndOutside && !alongWithFirst {
		rs.harm++
		rs.suspect = rs.suspect || !begun
		if rs.first.IsZero() {
			rs.first = now
		}
	}
	switch {
	case rs.harm >= mostHarm:
		return convict
	case rs.count >= mostRuns:
		return giveUp
	default:
		return runAgain
	}
}

// convicted refuses a body for a while, and says so with its tenant.
func (p *Proxy) convicted(rec *record, r *request, cause error) error {
	p.quarantine.add(r, time.Now())
	digest := r.digest()
	p.opts.Log.Error("a request ended two workers: its body is refused for a while", "request_id", rec.id,
		"tenant", rec.tenant, "key", rec.key, "path", rec.Request().URL.Path, "model", r.asked,
		"body_digest", hex.EncodeToString(digest[:8]), "refused_for", quarantineTime, "error", cause)
	return workerDied(cause)
}
