// Package suspect finds the requests that end workers: how often one runs again, and which
// bodies are refused for what they did.
package suspect

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/rawjson"
)

// Digest stands for a body that llama-server gets.
type Digest [sha256.Size]byte

// DigestOf is of what is sent where, under which target.
func DigestOf(path, target string, body rawjson.Object) Digest {
	h := sha256.New()
	h.Write([]byte(path))
	h.Write([]byte{0})
	h.Write([]byte(target))
	h.Write([]byte{0})
	h.Write(body.Apply())
	return Digest(h.Sum(nil))
}

// Quarantine remembers bodies that ended workers, so that sending one again ends no
// further. It is safe for concurrent use, and free while it is empty.
type Quarantine struct {
	size atomic.Int64 // of until

	mu    sync.Mutex
	until map[Digest]time.Time
}

const (
	// Refused is how long a body is refused.
	Refused = 10 * time.Minute
	// most bounds how many bodies are remembered; the one that would be
	// forgotten first makes room.
	most = 4096
)

// Add takes a body in.
func (q *Quarantine) Add(body Digest, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil {
		q.until = make(map[Digest]time.Time)
	}
	oldest, first := Digest{}, time.Time{}
	for key, until := range q.until {
		switch {
		case !now.Before(until):
			delete(q.until, key)
		case first.IsZero() || until.Before(first):
			oldest, first = key, until
		}
	}
	if len(q.until) >= most {
		delete(q.until, oldest)
	}
	q.until[body] = now.Add(Refused)
	q.size.Store(int64(len(q.until)))
}

// Empty reports whether no body is refused: then none need be digested.
func (q *Quarantine) Empty() bool { return q.size.Load() == 0 }

// Left returns for how long the body is still refused; 0 is not at all.
func (q *Quarantine) Left(body Digest, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.until[body].Sub(now))
}
