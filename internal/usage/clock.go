package usage

import (
	"database/sql"
	"errors"
	"time"
)

// believe is how long the gateway must have run with a clock that is ahead of what it
// knows before it goes by it: a clock that jumps for a while must not delete the
// account.
const believe = 24 * time.Hour

// clock is the time by which old records are deleted: it goes forward as fast as time
// passes, and follows the system's clock forward only once that has stayed ahead for
// long. The recorder's goroutine owns it.
type clock struct {
	known time.Time // the latest time that is believed
	ahead time.Duration
	last  time.Time // when it was asked last, with its monotonic reading
}

// drift is how far the system's clock may be ahead without being doubted.
const drift = time.Hour

// tell takes in what the system's clock says, and returns the time that is believed.
func (c *clock) tell(now time.Time) time.Time {
	passed := max(0, now.Sub(c.last)) // monotonic, where both have it
	c.last = now
	c.known = c.known.Add(passed)
	switch {
	case !now.After(c.known.Add(drift)):
		c.known, c.ahead = now.Round(0), 0
	case c.ahead+passed >= believe:
		c.known, c.ahead = now.Round(0), 0
	default:
		c.ahead += passed
	}
	return c.known
}

// loadClock returns the clock as it was kept, or, if none was, set by the newest record
// that is there: without any, nothing can be deleted that should not be.
func loadClock(db *sql.DB, now time.Time) (*clock, error) {
	var at int64
	err := db.QueryRow("SELECT at FROM clock").Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		err = db.QueryRow("SELECT COALESCE(MAX(at), ?) FROM usage", now.UnixMilli()).Scan(&at)
	}
	return &clock{known: time.UnixMilli(at), last: now}, err
}

// keep stores the time that is believed.
func (c *clock) keep(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO clock (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
		c.known.UnixMilli())
	return err
}
