package auth

import (
	"errors"
	"slices"
	"time"
)

// Counts are what tenants use of their limits, by name: what a gateway tells the one that
// takes over from it. They are for JSON.
type Counts map[string]Count

// Count is one tenant's.
type Count struct {
	Requests []Used `json:"requests,omitempty"` // in the last minute
	Tokens   []Used `json:"tokens,omitempty"`
	Running  int    `json:"running,omitempty"` // requests, now
}

// Used is what was used within a moment.
type Used struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	N     int       `json:"n"`
}

// patience bounds the wait for news of a gateway that tells some every second.
const patience = 2 * time.Second

// Admit counts a request, or refuses it with a *Refusal. Of any number that come
// at once exactly as many pass as the limits allow.
//
// While another gateway has requests of the tenant, one that would be too many waits for
// news of it: whoever sent it may have had an answer there, which is not known here yet.
func (v *Principal) Admit() (*Admission, error) {
	a, err := v.admit()
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != Concurrency || !v.acc.elsewhere() {
		return a, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-*v.auth.news.Load():
	case <-timer.C:
	}
	return v.admit()
}

// elsewhere reports whether another gateway has requests of the tenant.
func (acc *account) elsewhere() bool {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	return acc.others > 0
}

// News returns what tenants have used in the last minute and no call of News has told, and
// how many of their requests run.
func (a *Auth) News() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(Counts, len(a.past))
	for name, acc := range a.past {
		acc.mu.Lock()
		all[name] = Count{acc.requests.news(), acc.tokens.news(), acc.running}
		acc.mu.Unlock()
	}
	return all
}

// Resume counts what another Auth tells by News. Tenants of which nothing is told have
// no request there; those that are not known are left out.
func (a *Auth) Resume(counts Counts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, acc := range a.past {
		c := counts[name]
		acc.mu.Lock()
		acc.requests.merge(c.Requests)
		acc.tokens.merge(c.Tokens)
		acc.others = c.Running
		acc.mu.Unlock()
	}
	next := make(chan struct{})
	close(*a.news.Swap(&next))
}

// Spend counts tokens that a tenant used elsewhere, at some time, against its budget. The
// minute's are Resume's.
func (a *Auth) Spend(tenant string, at time.Time, tokens int) {
	a.mu.Lock()
	acc := a.past[tenant]
	a.mu.Unlock()
	if acc == nil {
		return
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	if now := monthOf(a.now()); now != acc.month {
		acc.month, acc.spent = now, 0
	}
	if monthOf(at) == acc.month {
		acc.spent += int64(tokens)
	}
}

// news returns the events that were not told, which are from then on.
func (w *window) news() (list []Used) {
	for _, e := range w.events[w.told:] {
		list = append(list, Used{e.first, e.last, e.n})
	}
	w.told = len(w.events)
	return list
}

// merge adds events that another window tells. They go in by when they ended, for the
// oldest to expire first, and are to be told again.
func (w *window) merge(list []Used) {
	for _, u := range list {
		i := len(w.events)
		for i > w.told && w.events[i-1].last.After(u.Last) {
			i--
		}
		w.events = slices.Insert(w.events, i, event{u.First, u.Last, u.N})
		w.sum += u.N
	}
}
