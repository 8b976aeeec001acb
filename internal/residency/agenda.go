package residency

import (
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
)

const (
	// quiet is how long the stock must be left alone before workers are restarted for
	// what nobody has asked for yet, and quietAtMost how long that may take: files tend
	// to come in groups.
	quiet       = 300 * time.Millisecond
	quietAtMost = 3 * time.Second
	// futility is how long no worker is looked for after none was found, which takes
	// longer than other decisions.
	futility = 100 * time.Millisecond
)

// agenda is when it may be good for something to look for a worker to give up.
type agenda struct {
	lacking bool       // some worker may lack what it should have without anyone asking
	again   stock.Time // when that is so again
	changed stock.Time // when the first of the changes of the stock came that are looked at together
	settled stock.Time // when they are
	futile  stock.Time // until when no worker is looked for again: none would help
	relieve stock.Time // when workers are looked for again that could help others
}

// stockChanged waits for more changes to come.
func (a *agenda) stockChanged(now stock.Time) {
	if now >= a.settled {
		a.changed = now
	}
	a.lacking, a.settled = true, min(now+quiet, a.changed+quietAtMost)
}

// stockDue reports whether workers are to be looked at for what nobody asked for.
func (a *agenda) stockDue(now stock.Time) bool { return a.lacking && now >= a.settled }

// remember looks at workers again if it is time to.
func (a *agenda) remember(now stock.Time) {
	if now >= a.again {
		a.lacking, a.again = true, stock.Never
	}
}

// met notes that no worker lacks anything until some moment.
func (a *agenda) met(until stock.Time) { a.lacking, a.again = false, until }

// tryLater notes that no worker was found.
func (a *agenda) tryLater(now stock.Time) { a.futile = now + futility }

// wake names the moments, after earliest, at which time alone changes something.
func (a *agenda) wake(earliest stock.Time, at func(stock.Time)) {
	if a.lacking {
		at(max(earliest, a.settled))
	} else if a.again != stock.Never {
		at(max(earliest, a.again))
	}
}
