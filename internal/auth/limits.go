package auth

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
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
	Invalid     Reason = "invalid"     // of when keys expire
)

// Refusal turns a request away. Message is for its sender.
type Refusal struct {
	Reason     Reason
	Message    string
	RetryAfter time.Duration // when it may pass; 0 is not known
}

func (e *Refusal) Error() string { return e.Message }

// account is what a tenant has used.
type account struct {
	tenant atomic.Pointer[Tenant] // as it is configured now

	// mu guards what follows. It is held for moments only, and for one tenant.
	mu       sync.Mutex
	running  int
	others   int // requests that run in the gateway from which this one takes over
	requests window
	tokens   window
	month    month // of spent
	spent    int64 // tokens
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
	told   int // of the events, how many News has told: these stay as they are
}

// event is all that happened from first to last, which are less than a grain apart.
type event struct {
	first, last time.Time
	n           int
}

func (w *window) add(now time.Time, n int) {
	w.sum += n
	if i := len(w.events) - 1; i >= w.told && now.Sub(w.events[i].first) < grain {
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
	w.events, w.told = w.events[gone:], max(0, w.told-gone)
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

// month numbers the months, UTC.
type month int

func monthOf(t time.Time) month {
	year, in, _ := t.UTC().Date()
	return month(12*year) + month(in)
}

// nextMonth is when the next one begins.
func nextMonth(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// Admission is a request that was let in. End must be called once.
type Admission struct {
	principal *Principal
	limit     headers
}

// headers are the numbers that go into OpenAI's rate-limit headers.
type headers struct {
	requests, requestsLeft int
	tokens, tokensLeft     int
	requestsReset          time.Duration
	tokensReset            time.Duration
}

// admit is Admit by what is known now.
func (v *Principal) admit() (*Admission, error) {
	if v.acc == nil {
		return &Admission{principal: v}, nil
	}
	acc, t := v.acc, v.acc.tenant.Load()
	acc.mu.Lock()
	defer acc.mu.Unlock()
	now := v.auth.now()
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
	case t.Concurrency > 0 && acc.running+acc.others >= t.Concurrency:
		return nil, &Refusal{
			Reason: Concurrency, RetryAfter: time.Second,
			Message: fmt.Sprintf("Rate limit reached: %d requests at once.", t.Concurrency),
		}
	}
	acc.running++
	if t.RequestsPerMinute > 0 {
		acc.requests.add(now, 1)
	}
	return &Admission{principal: v, limit: acc.headers(t, now)}, nil
}

// headers are for a request that has just been counted. The caller holds the lock.
func (acc *account) headers(t *Tenant, now time.Time) headers {
	return headers{
		requests: t.RequestsPerMinute, requestsLeft: max(0, t.RequestsPerMinute-acc.requests.sum),
		requestsReset: acc.requests.empties(now),
		tokens:        t.TokensPerMinute, tokensLeft: max(0, t.TokensPerMinute-acc.tokens.sum),
		tokensReset: acc.tokens.empties(now),
	}
}

// The headers of SetHeaders, as net/http has them.
var (
	requestHeaders = [...]string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests",
		"X-Ratelimit-Reset-Requests"}
	tokenHeaders = [...]string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"}
)

// SetHeaders tells the client what it has left, as OpenAI does.
func (a *Admission) SetHeaders(h http.Header) {
	set := func(names *[3]string, limit, left int, reset time.Duration) {
		if limit == 0 {
			return
		}
		h.Set(names[0], strconv.Itoa(limit))
		h.Set(names[1], strconv.Itoa(left))
		h.Set(names[2], reset.Round(time.Millisecond).String())
	}
	set(&requestHeaders, a.limit.requests, a.limit.requestsLeft, a.limit.requestsReset)
	set(&tokenHeaders, a.limit.tokens, a.limit.tokensLeft, a.limit.tokensReset)
}

// End says that the request has ended, and how many tokens it took.
func (a *Admission) End(tokens int) {
	acc := a.principal.acc
	if acc == nil {
		return
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	acc.running--
	now := a.principal.auth.now()
	if acc.tenant.Load().TokensPerMinute > 0 && tokens > 0 {
		acc.tokens.add(now, tokens)
	}
	if month := monthOf(now); month != acc.month {
		acc.month, acc.spent = month, 0
	}
	acc.spent += int64(tokens)
}
