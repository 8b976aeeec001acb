// Package usage keeps account of what every request took, in the state's
// database, off the requests' own path.
package usage

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/state"
)

// Record is one request that has ended, or several that are alike. It is for JSON, in
// which gateways pass records on.
type Record struct {
	At         time.Time     `json:"at"`
	Tenant     string        `json:"tenant,omitempty"`  // "" is nobody
	Key        string        `json:"key,omitempty"`     // its id
	Model      string        `json:"model,omitempty"`   // what answered, by the catalog's name
	Digest     string        `json:"digest,omitempty"`  // of the bytes that answered; "" is the base
	Outcome    string        `json:"outcome,omitempty"` // ok, error, rejected, client_gone or stopped
	Requests   int           `json:"requests"`
	Prompt     int           `json:"prompt,omitempty"` // tokens, as llama-server reports them, else as they were counted
	Cached     int           `json:"cached,omitempty"` // of the prompt, found in a KV cache
	Completion int           `json:"completion,omitempty"`
	Queue      time.Duration `json:"queue_ns,omitempty"`      // it waited for its turn, reloads included
	Swap       time.Duration `json:"swap_ns,omitempty"`       // then for its worker to be made ready
	Generation time.Duration `json:"generation_ns,omitempty"` // from then to its end
}

// Tokens is what counts against budgets.
func (r Record) Tokens() int { return r.Prompt + r.Completion }

const (
	// rows is how many records are kept one by one until they are written; what
	// comes beyond that is added up, so that none is lost, and what an account takes
	// of memory, of the disk and of the processor is bounded.
	rows = 1000
	// most is how many sums are kept apart. Beyond that, as on a disk that is full for
	// long, only days, tenants and outcomes are.
	most     = 20_000
	interval = time.Second // between two writes
	sweep    = time.Hour   // between two looks for old records
)

// Recorder writes records in batches. It is safe for concurrent use; Add never
// waits for the disk.
type Recorder struct {
	db        *state.DB
	retention time.Duration // 0 keeps all
	log       *slog.Logger
	stop      context.CancelFunc
	stopped   chan struct{}
	left      atomic.Bool // what is not written at the end is somebody else's to write
	clock     *clock      // the goroutine's; nil until it could be read

	// flushing is held while records are written, so that none is in between when
	// somebody looks at what is written.
	flushing sync.Mutex

	mu      sync.Mutex
	waiting []Record
	sums    map[sumKey]*Record // of what took no tokens, or came when there was no room
}

// sumKey tells apart what may not be added up.
type sumKey struct {
	day                                 int64 // since 1970, UTC
	tenant, key, model, digest, outcome string
}

// day is what a record's sums are kept by.
func (r Record) day() int64 { return r.At.Unix() / (24 * 60 * 60) }

// New returns a recorder that writes to the state's database until Close.
// Records older than the retention are deleted.
func New(db *state.DB, retention time.Duration, log *slog.Logger) *Recorder {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{
		db: db, retention: retention, log: log, stop: cancel, stopped: make(chan struct{}),
		sums: map[sumKey]*Record{},
	}
	go r.run(ctx)
	return r
}

// Add takes a record in.
func (r *Recorder) Add(rec Record) {
	rec.Requests = max(1, rec.Requests)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) < rows && rec.Tokens() > 0 { // a flood of refusals fills no table
		r.waiting = append(r.waiting, rec)
		return
	}
	key := sumKey{rec.day(), rec.Tenant, rec.Key, rec.Model, rec.Digest, rec.Outcome}
	if r.sums[key] == nil && len(r.sums) >= most {
		rec.Key, rec.Model, rec.Digest = "", "", ""
		key = sumKey{day: rec.day(), tenant: rec.Tenant, outcome: rec.Outcome}
	}
	sum := r.sums[key]
	if sum == nil {
		first := rec // so that others need no place of their own in memory
		r.sums[key] = &first
		return
	}
	sum.Requests += rec.Requests
	sum.Prompt, sum.Cached, sum.Completion = sum.Prompt+rec.Prompt, sum.Cached+rec.Cached, sum.Completion+rec.Completion
	sum.Queue, sum.Swap, sum.Generation = sum.Queue+rec.Queue, sum.Swap+rec.Swap, sum.Generation+rec.Generation
}

// Close writes what is left and ends.
func (r *Recorder) Close() {
	r.stop()
	<-r.stopped
}

// Leave is Close for a recorder that goes on without its database: what could not be
// written, and what is added from now on, is for Take.
func (r *Recorder) Leave() {
	r.left.Store(true)
	r.Close()
}

// Take returns what was added and is not written, and forgets it.
func (r *Recorder) Take() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := r.waiting
	for _, sum := range r.sums {
		batch = append(batch, *sum)
	}
	r.waiting, r.sums = nil, map[sumKey]*Record{}
	return batch
}

// Settle writes what there is, after Leave, to a database that was opened again.
func (r *Recorder) Settle(db *state.DB) error { return r.flush(db.Last) }

func (r *Recorder) run(ctx context.Context) {
	defer close(r.stopped)
	tick, old := time.NewTicker(interval), time.NewTicker(sweep)
	defer tick.Stop()
	defer old.Stop()
	r.forget()
	failing := "" // why nothing can be written, as it was said
	for {
		select {
		case <-ctx.Done():
			if err := r.flush(r.db.Last); err != nil && !r.left.Load() {
				r.log.Error("usage could not be written at the end", "error", err)
			}
			return
		case <-tick.C:
		case <-old.C:
			r.forget()
			continue
		}
		err := r.Flush()
		if state.IsFull(err) {
			continue // whoever watches the state says so
		}
		if err != nil && err.Error() != failing { // a line a cause, not one a try
			failing = err.Error()
			r.log.Error("usage could not be written, it is tried again every second", "error", err)
		}
		if err == nil && failing != "" {
			failing = ""
			r.log.Info("usage is written again")
		}
	}
}

// Flush writes what has been added; it blocks on the disk. What cannot be written
// is kept for the next time.
func (r *Recorder) Flush() error { return r.flush(r.db.Write) }

// flush is Flush by way of one of the state's ways to change something.
func (r *Recorder) flush(change func(func(*sql.Tx) error) error) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	batch := r.Take()
	if len(batch) == 0 {
		return nil
	}
	err := change(func(tx *sql.Tx) error { return write(tx, batch) })
	if err != nil {
		for _, rec := range batch {
			r.Add(rec)
		}
	}
	return err
}

// write adds records to the account.
func write(tx *sql.Tx, batch []Record) error {
	row, err := tx.Prepare("INSERT INTO usage (at, tenant, key, model, digest, outcome, requests, prompt, cached, " +
		"completion, queue_ms, swap_ms, generation_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer row.Close()
	type tenantMonth struct{ tenant, month string }
	spent := map[tenantMonth]int{}
	for _, x := range batch {
		if _, err := row.Exec(x.At.UnixMilli(), x.Tenant, x.Key, x.Model, x.Digest, x.Outcome, x.Requests, x.Prompt,
			x.Cached, x.Completion,
			x.Queue.Milliseconds(), x.Swap.Milliseconds(), x.Generation.Milliseconds()); err != nil {
			return err
		}
		spent[tenantMonth{x.Tenant, month(x.At)}] += x.Tokens()
	}
	for key, tokens := range spent {
		if _, err := tx.Exec("INSERT INTO spent (tenant, month, tokens) VALUES (?,?,?) ON CONFLICT (tenant, month) DO "+
			"UPDATE SET tokens = tokens + excluded.tokens",
			key.tenant, key.month, tokens); err != nil {
			return err
		}
	}
	return nil
}

func month(t time.Time) string { return t.UTC().Format("2006-01") }

// forget deletes what is older than the retention, by a time that can be believed.
func (r *Recorder) forget() {
	if r.retention == 0 {
		return
	}
	// On a full disk it is tried again at the next look, and the state says why.
	if err := r.forgetBefore(time.Now()); err != nil && !state.IsFull(err) {
		r.log.Error("old usage could not be deleted", "error", err)
	}
}

func (r *Recorder) forgetBefore(now time.Time) (err error) {
	if r.clock == nil {
		if r.clock, err = loadClock(r.db.SQL(), now); err != nil {
			r.clock = nil
			return err
		}
	}
	known := r.clock.tell(now)
	return r.db.Write(func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM usage WHERE at < ?", known.Add(-r.retention).UnixMilli()); err != nil {
			return err
		}
		return r.clock.keep(tx)
	})
}

// Spent returns the tokens that each tenant has used in the month of t, UTC.
func Spent(db *sql.DB, t time.Time) (map[string]int64, error) {
	rows, err := db.Query("SELECT tenant, tokens FROM spent WHERE month = ?", month(t))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	spent := map[string]int64{}
	for rows.Next() {
		var tenant string
		var tokens int64
		if err := rows.Scan(&tenant, &tokens); err != nil {
			return nil, err
		}
		spent[tenant] = tokens
	}
	return spent, rows.Err()
}

// Query says which sums are asked for.
type Query struct {
	From, To time.Time // of the ends, To excluded; zero is no bound
	By       []string  // of day, tenant, key, model, outcome
}

// groups are what usage can be grouped by, in SQL.
var groups = map[string]string{
	"day": "strftime('%Y-%m-%d', at/1000, 'unixepoch')", "tenant": "tenant", "key": "key", "model": "model",
	"outcome": "outcome",
}

// Groups are what Query.By may have.
var Groups = []string{"day", "tenant", "key", "model", "outcome"}

// Sum is one line of an answer.
type Sum struct {
	Group        []string // as Query.By
	Requests     int64
	Prompt       int64
	Cached       int64
	Completion   int64
	QueueMs      int64
	SwapMs       int64
	GenerationMs int64
}

// Sums writes what waits, and adds up. What cannot be written, as on a full disk, is
// not in the sums. It blocks on the disk.
func (r *Recorder) Sums(ctx context.Context, q Query) ([]Sum, error) {
	_ = r.Flush() // the recorder's own tries say why
	columns := make([]string, len(q.By))
	for i, by := range q.By {
		if columns[i] = groups[by]; columns[i] == "" || slices.Contains(q.By[:i], by) {
			return nil, fmt.Errorf("usage cannot be grouped by %q", by)
		}
	}
	text := "SELECT " + strings.Join(append(slices.Clone(columns),
		"SUM(requests), SUM(prompt), SUM(cached), SUM(completion), SUM(queue_ms), SUM(swap_ms), SUM(generation_ms)"), ", ") +
		" FROM usage WHERE at >= ? AND at < ?"
	if len(columns) > 0 {
		text += " GROUP BY " + strings.Join(columns, ", ") + " ORDER BY " + strings.Join(columns, ", ")
	}
	from, to := int64(0), int64(1)<<62
	if !q.From.IsZero() {
		from = q.From.UnixMilli()
	}
	if !q.To.IsZero() {
		to = q.To.UnixMilli()
	}
	rows, err := r.db.SQL().QueryContext(ctx, text, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Sum
	for rows.Next() {
		s := Sum{Group: make([]string, len(columns))}
		var n [7]sql.NullInt64 // null for the sum of nothing
		var into []any
		for i := range s.Group {
			into = append(into, &s.Group[i])
		}
		for i := range n {
			into = append(into, &n[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		s.Requests, s.Prompt, s.Cached, s.Completion, s.QueueMs, s.SwapMs, s.GenerationMs = n[0].Int64, n[1].Int64,
			n[2].Int64, n[3].Int64, n[4].Int64, n[5].Int64, n[6].Int64
		list = append(list, s)
	}
	return list, rows.Err()
}
