package usage

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loragate/loragate/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string, retention time.Duration) (*Recorder, *state.DB) {
	t.Helper()
	db, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := New(db, retention, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { r.Close(); db.Close() })
	return r, db
}

func sums(t *testing.T, r *Recorder, q Query) []Sum {
	t.Helper()
	list, err := r.Sums(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	r, db := open(t, dir, 0)
	for _, rec := range []Record{
		{At: noon, Tenant: "a", Key: "k", Model: "m", Outcome: "ok", Prompt: 10, Cached: 4, Completion: 5,
			Queue: time.Second, Swap: 3 * time.Millisecond, Generation: 2 * time.Second},
		{At: noon.Add(12 * time.Hour), Tenant: "a", Key: "k", Model: "m", Outcome: "ok", Prompt: 1, Completion: 2},
		// the next day, and month
		{At: noon, Tenant: "b", Model: "m", Outcome: "client_gone", Completion: 3},
		{At: noon, Tenant: "a", Key: "k", Outcome: "rejected"}, {At: noon, Tenant: "a", Key: "k", Outcome: "rejected"},
	} {
		r.Add(rec)
	}
	all := Sum{Group: []string{}, Requests: 5, Prompt: 11, Cached: 4, Completion: 10, QueueMs: 1000, SwapMs: 3,
		GenerationMs: 2000}
	if got := sums(t, r, Query{}); !reflect.DeepEqual(got, []Sum{all}) {
		t.Errorf("%+v", got)
	}
	want := []Sum{
		{Group: []string{"2030-01-31", "a", "ok"}, Requests: 1, Prompt: 10, Cached: 4, Completion: 5, QueueMs: 1000,
			SwapMs: 3, GenerationMs: 2000},
		{Group: []string{"2030-01-31", "a", "rejected"}, Requests: 2},
		{Group: []string{"2030-01-31", "b", "client_gone"}, Requests: 1, Completion: 3},
		{Group: []string{"2030-02-01", "a", "ok"}, Requests: 1, Prompt: 1, Completion: 2},
	}
	if got := sums(t, r, Query{By: []string{"day", "tenant", "outcome"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := sums(t, r, Query{By: []string{"tenant"}, From: noon.Add(time.Hour),
		To: noon.Add(24 * time.Hour)}); len(got) != 1 || got[0].Prompt != 1 {
		t.Errorf("%+v", got)
	}
	for _, by := range []string{"at", "tenant; DROP TABLE usage", ""} {
		if _, err := r.Sums(t.Context(), Query{By: []string{by}}); err == nil {
			t.Errorf("grouped by %q", by)
		}
	}
	for at, want := range map[time.Time]map[string]int64{noon: {"a": 15, "b": 3}, noon.Add(13 * time.Hour): {"a": 3}} {
		if got, err := Spent(db.SQL(), at); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("spent at %s: %v, %v", at, got, err)
		}
	}
}

// TestNothingIsLost adds from many at once, more than are kept one by one.
func TestNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	r, db := open(t, dir, 0)
	var wg sync.WaitGroup
	const clients, each = 8, 4000
	for range clients {
		wg.Go(func() {
			for range each {
				r.Add(Record{At: noon, Tenant: "a", Model: "m", Outcome: "ok", Prompt: 2, Completion: 1, Queue: time.Millisecond})
			}
		})
	}
	wg.Wait()
	r.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ = open(t, dir, 0)
	if got := sums(t, r, Query{}); got[0].Requests != clients*each || got[0].Prompt != 2*clients*each ||
		got[0].Completion != clients*each || got[0].QueueMs != clients*each {
		t.Errorf("%+v", got)
	}
}

// TestFullIsAddedUp fills the room while nothing can be written.
func TestFullIsAddedUp(t *testing.T) {
	r := &Recorder{sums: map[sumKey]*Record{}}
	for range rows + 500 {
		r.Add(Record{At: noon, Tenant: "a", Outcome: "ok", Prompt: 1})
	}
	r.Add(Record{At: noon, Tenant: "b", Outcome: "ok", Prompt: 1})
	total := 0
	for _, rec := range r.waiting {
		total += rec.Requests
	}
	for _, rec := range r.sums {
		total += rec.Requests
	}
	if len(r.waiting) != rows || len(r.sums) != 2 || total != rows+501 {
		t.Errorf("%d waiting, %d sums, %d in all", len(r.waiting), len(r.sums), total)
	}
}

func TestOldUsageGoes(t *testing.T) {
	dir := t.TempDir()
	r, db := open(t, dir, 0)
	r.Add(Record{At: time.Now().Add(-48 * time.Hour), Tenant: "a", Prompt: 1})
	r.Add(Record{At: time.Now(), Tenant: "a", Prompt: 2})
	r.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ = open(t, dir, 24*time.Hour)
	r.Close() // it looks for old records first of all
	if got := sums(t, r, Query{}); got[0].Prompt != 2 {
		t.Errorf("%+v", got)
	}
}

// TestManySumsAreBounded has more sums that cannot be written than are kept apart.
func TestManySumsAreBounded(t *testing.T) {
	db, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &Recorder{db: db, sums: map[sumKey]*Record{}}
	for i := range most + 500 {
		r.Add(Record{At: noon, Tenant: "a", Model: fmt.Sprint(i), Outcome: "rejected"})
	}
	if len(r.sums) != most+1 {
		t.Errorf("%d sums are kept", len(r.sums))
	}
	if got := sums(t, r, Query{}); got[0].Requests != most+500 {
		t.Errorf("%+v", got)
	}
}

// TestFailuresAreTriedAgain closes the database for a while.
func TestFailuresAreTriedAgain(t *testing.T) {
	db, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &Recorder{db: db, sums: map[sumKey]*Record{}}
	r.Add(Record{At: noon, Tenant: "a", Prompt: 1})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
	if len(r.waiting) != 1 {
		t.Errorf("%d are kept for the next time", len(r.waiting))
	}
}

// BenchmarkFlush tells what an account costs the processor, a request.
func BenchmarkFlush(b *testing.B) {
	db, err := state.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	r := New(db, 0, slog.New(slog.DiscardHandler))
	b.Cleanup(func() { r.Close(); db.Close() })
	for i := range b.N {
		r.Add(Record{
			At: noon.Add(time.Duration(i) * time.Millisecond), Tenant: "bench", Key: "key_0123456789ab", Model: "coding",
			Digest: strings.Repeat("5", 64), Outcome: "ok", Prompt: 20 + i%50, Cached: i % 20, Completion: 16,
			Queue:      time.Duration(i%100) * time.Millisecond,
			Generation: time.Duration(i%1000) * time.Millisecond,
		})
		if i%5000 == 4999 {
			if err := r.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := r.Flush(); err != nil {
		b.Fatal(err)
	}
}

// TestRecordsAreHandedOver: what a recorder wrote stays, what comes after it left its
// database is taken, once, or settled in one that was opened again.
func TestRecordsAreHandedOver(t *testing.T) {
	dir := t.TempDir()
	rec := func(tokens int) Record {
		return Record{At: noon, Tenant: "a", Model: "m", Outcome: "ok", Completion: tokens}
	}
	old, db := open(t, dir, 0)
	old.Add(rec(1))
	old.Leave()
	db.Close()
	old.Add(rec(2))
	next, heirs := open(t, dir, 0)
	for range 2 {
		for _, rec := range old.Take() {
			next.Add(rec)
		}
	}
	if got := sums(t, next, Query{}); got[0].Requests != 2 || got[0].Completion != 3 {
		t.Errorf("%+v", got)
	}
	next.Close()
	heirs.Close()
	old.Add(rec(4))
	again, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := old.Settle(again); err != nil {
		t.Fatal(err)
	}
	if spent, err := Spent(again.SQL(), noon); err != nil || spent["a"] != 7 {
		t.Errorf("%v, %v", spent, err)
	}
}
