package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Reason tells refusals apart.
type Reason string

const (
	NoKey       Reason = "no_key"
	BadKey      Reason = "bad_key"
	Requests    Reason = "requests"    // too many in a minute
	Tokens      Reason = "tokens"      // too many in a minute
	Concurrency Reason = "concurrency" // too many requests at once
	Budget      Reason = "budget"      // the month's tokens are used up
	NotFound    Reason = "not_found"   // of keys and tenants
)

// Refusal turns a request away. Message is for its sender.
type Refusal struct {
	Reason     Reason
	Message    string
	RetryAfter time.Duration // when it may pass; 0 is not known
}

func (e *Refusal) Error() string { return e.Message }

// account is what a tenant has used. Whoever holds the Auth's lock owns it.
type account struct {
	tenant   *Tenant
	running  int
	requests window
	tokens   window
	month    string // of spent
	spent    int64  // tokens
}

// minute is the time over which rates are counted.
const minute = time.Minute

// grain is how much longer than a minute something may count: what happens within
// it is kept as one, which bounds a window's memory.
const grain = 10 * time.Millisecond

// window counts what happened in the last minute. No minute has more than was
// allowed; some may have less, by what came within a grain.
type window struct {
	events []event // oldest first
	sum    int
}

// event is all that happened from first to last, which are less than a grain apart.
type event struct {
	first, last time.Time
	n           int
}

func (w *window) add(now time.Time, n int) {
	w.sum += n
	if i := len(w.events) - 1; i >= 0 && now.Sub(w.events[i].first) < grain {
		w.events[i].last = now
		w.events[i].n += n
		return
	}
	w.events = append(w.events, event{now, now, n})
}

// expire forgets what was longer than a minute ago.
func (w *window) expire(now time.Time) {
	gone := 0
	for gone < len(w.events) && now.Sub(w.events[gone].last) >= minute {
		w.sum -= w.events[gone].n
		gone++
	}
	w.events = w.events[gone:]
}

// opens is when the sum will be below the limit.
func (w *window) opens(limit int, now time.Time) time.Duration {
	sum := w.sum
	for _, e := range w.events {
		if sum -= e.n; sum < limit {
			return max(0, minute-now.Sub(e.last))
		}
	}
	return 0
}

// empties is when nothing of the sum will be left. Every answer tells it: it does
// not add up.
func (w *window) empties(now time.Time) time.Duration {
	if len(w.events) == 0 {
		return 0
	}
	return max(0, minute-now.Sub(w.events[len(w.events)-1].last))
}

func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

// nextMonth is when the next one begins.
func nextMonth(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// Admission is a request that was let in. End must be called once.
type Admission struct {
	visit *Visit
	limit headers
}

// headers are the numbers that go into OpenAI's rate-limit headers.
type headers struct {
	requests, requestsLeft int
	tokens, tokensLeft     int
	requestsReset          time.Duration
	tokensReset            time.Duration
}

// Admit counts a request, or refuses it with a *Refusal. Of any number that come
// at once exactly as many pass as the limits allow.
func (v *Visit) Admit() (*Admission, error) {
	if v.acc == nil {
		return &Admission{visit: v}, nil
	}
	v.auth.mu.Lock()
	defer v.auth.mu.Unlock()
	now, acc, t := v.auth.now(), v.acc, v.acc.tenant
	acc.requests.expire(now)
	acc.tokens.expire(now)
	if month := monthOf(now); month != acc.month {
		acc.month, acc.spent = month, 0
	}
	switch {
	case t.MonthlyTokens > 0 && acc.spent >= t.MonthlyTokens:
		return nil, &Refusal{
			Reason: Budget, RetryAfter: nextMonth(now).Sub(now),
			Message: fmt.Sprintf("The month's budget of %d tokens is used up.", t.MonthlyTokens),
		}
	case t.RequestsPerMinute > 0 && acc.requests.sum >= t.RequestsPerMinute:
		return nil, &Refusal{
			Reason: Requests, RetryAfter: acc.requests.opens(t.RequestsPerMinute, now),
			Message: fmt.Sprintf("Rate limit reached: %d requests a minute.", t.RequestsPerMinute),
		}
	case t.TokensPerMinute > 0 && acc.tokens.sum >= t.TokensPerMinute:
		return nil, &Refusal{
			Reason: Tokens, RetryAfter: acc.tokens.opens(t.TokensPerMinute, now),
			Message: fmt.Sprintf("Rate limit reached: %d tokens a minute.", t.TokensPerMinute),
		}
	case t.Concurrency > 0 && acc.running >= t.Concurrency:
		return nil, &Refusal{
			Reason: Concurrency, RetryAfter: time.Second,
			Message: fmt.Sprintf("Rate limit reached: %d requests at once.", t.Concurrency),
		}
	}
	acc.running++
	if t.RequestsPerMinute > 0 {
		acc.requests.add(now, 1)
	}
	return &Admission{visit: v, limit: acc.headers(now)}, nil
}

func (acc *account) headers(now time.Time) headers {
	t := acc.tenant
	return headers{
		requests: t.RequestsPerMinute, requestsLeft: max(0, t.RequestsPerMinute-acc.requests.sum), requestsReset: acc.requests.empties(now),
		tokens: t.TokensPerMinute, tokensLeft: max(0, t.TokensPerMinute-acc.tokens.sum), tokensReset: acc.tokens.empties(now),
	}
}

// SetHeaders tells the client what it has left, as OpenAI does.
func (a *Admission) SetHeaders(h http.Header) {
	set := func(what string, limit, left int, reset time.Duration) {
		if limit == 0 {
			return
		}
		h.Set("X-Ratelimit-Limit-"+what, strconv.Itoa(limit))
		h.Set("X-Ratelimit-Remaining-"+what, strconv.Itoa(left))
		h.Set("X-Ratelimit-Reset-"+what, reset.Round(time.Millisecond).String())
	}
	set("Requests", a.limit.requests, a.limit.requestsLeft, a.limit.requestsReset)
	set("Tokens", a.limit.tokens, a.limit.tokensLeft, a.limit.tokensReset)
}

// End says that the request has ended, and how many tokens it took.
func (a *Admission) End(tokens int) {
	acc := a.visit.acc
	if acc == nil {
		return
	}
	auth := a.visit.auth
	auth.mu.Lock()
	defer auth.mu.Unlock()
	acc.running--
	now := auth.now()
	if acc.tenant.TokensPerMinute > 0 && tokens > 0 {
		acc.tokens.add(now, tokens)
	}
	if month := monthOf(now); month != acc.month {
		acc.month, acc.spent = month, 0
	}
	acc.spent += int64(tokens)
}
