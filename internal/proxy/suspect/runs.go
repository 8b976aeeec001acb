package suspect

import (
	"time"

	"github.com/loragate/loragate/internal/pool"
)

// Runs is what became of a request so far.
type Runs struct {
	count   int
	harm    int       // of them ended with a worker that nobody ended from outside
	first   time.Time // when the first of those did
	Suspect bool      // it may be why a worker ended
}

const (
	// mostRuns is how often a request runs at all.
	mostRuns = 4
	// mostHarm is how many workers may end under it.
	mostHarm = 2
)

// Verdict is what follows from a worker's failure under a request.
type Verdict int

const (
	RunAgain Verdict = iota
	GiveUp           // workers failed too often, for reasons of their own
	Convict          // the request is what ends them
)

// Failed takes notice of a run whose worker failed before the client had a byte of the
// answer, on the lease. begun says that llama-server had begun to answer: a request that
// ends workers does so before, when it is parsed, when its grammar is compiled, or when its
// prompt is read.
func (rs *Runs) Failed(cause error, l *pool.Lease, begun bool, now time.Time) Verdict {
	rs.count++
	end, ended := pool.EndOf(cause)
	alongWithFirst := l.SharedFate && !rs.first.IsZero() && l.Since.Before(rs.first)
	if ended && end != pool.EndOutside && !alongWithFirst {
		rs.harm++
		rs.Suspect = rs.Suspect || !begun
		if rs.first.IsZero() {
			rs.first = now
		}
	}
	switch {
	case rs.harm >= mostHarm:
		return Convict
	case rs.count >= mostRuns:
		return GiveUp
	default:
		return RunAgain
	}
}
