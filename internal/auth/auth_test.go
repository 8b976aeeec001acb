package auth

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// memory is a Store.
type memory map[string]Key

func (m memory) Keys() (list []Key, err error) {
	for _, k := range m {
		list = append(list, k)
	}
	return list, nil
}
func (m memory) PutKey(k Key) error        { m[k.ID] = k; return nil }
func (m memory) DeleteKey(id string) error { delete(m, id); return nil }

// clock is a time that a test moves.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.nanos.Load()) }
func (c *clock) pass(d time.Duration) { c.nanos.Add(int64(d)) }

func newAuth(t *testing.T, store memory, tenants ...Tenant) (*Auth, *clock) {
	t.Helper()
	c := &clock{}
	c.nanos.Store(time.Date(2030, 1, 31, 23, 50, 0, 0, time.UTC).UnixNano())
	a, err := New(Options{Tenants: tenants, Store: store, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

func with(headers ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func reason(err error) Reason {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return ""
}

func TestWhoAsks(t *testing.T) {
	a, _ := newAuth(t, memory{}, Tenant{Name: "acme", Hashes: []string{Hash("one"), Hash("two")}},
		Tenant{Name: "other", Hashes: []string{Hash("three")}})
	for _, c := range []struct {
		headers []string
		tenant  string
		refused Reason
	}{
		{[]string{"Authorization", "Bearer one"}, "acme", ""}, {[]string{"Authorization", "bearer  two"}, "acme", ""},
		{[]string{"X-Api-Key", "three"}, "other", ""},
		{[]string{"Authorization", "Bearer one", "X-Api-Key", "three"}, "acme", ""},
		{[]string{"Authorization", "Bearer sk-none", "X-Api-Key", "three"}, "other", ""},
		{[]string{"Api-Key", "two"}, "acme", ""}, {[]string{"Api-Key", "none", "X-Api-Key", "none"}, "", BadKey},
		{[]string{"X-Api-Key", "none", "X-Api-Key", "three"}, "other", ""},
		{nil, "", NoKey}, {[]string{"Authorization", "Bearer "}, "", NoKey}, {[]string{"Authorization", "one"}, "", NoKey},
		{[]string{"Authorization", "Basic one"}, "", NoKey}, {[]string{"Authorization", "Bearer onE"}, "", BadKey},
		{[]string{"Authorization", "Bearer " + Hash("one")}, "", BadKey}, {[]string{"X-Api-Key", "one two"}, "", BadKey},
	} {
		v, err := a.Authenticate(with(c.headers...))
		if reason(err) != c.refused || err == nil && v.Namespace() != c.tenant {
			t.Errorf("%v: %+v, %v", c.headers, v, err)
		}
	}
	open, _ := newAuth(t, memory{})
	if v, err := open.Authenticate(with()); err != nil || v.Namespace() != "" || !v.May("anything") {
		t.Errorf("without tenants: %+v, %v", v, err)
	}
}

func TestKeysComeAndGo(t *testing.T) {
	store := memory{}
	a, c := newAuth(t, store, Tenant{Name: "acme"})
	if _, _, err := a.Create("nobody", "", time.Time{}); reason(err) != NotFound {
		t.Error(err)
	}
	k, secret, err := a.Create("acme", "laptop", c.now().Add(time.Hour))
	if err != nil || !strings.HasPrefix(secret, "lg-") || len(secret) != 46 {
		t.Fatalf("%+v, %q, %v", k, secret, err)
	}
	for _, kept := range store {
		if kept.Hash != Hash(secret) || strings.Contains(kept.Hash+kept.ID+kept.Label, secret) {
			t.Errorf("kept is %+v", kept)
		}
	}
	works := func(secret string) bool {
		_, err := a.Authenticate(with("X-Api-Key", secret))
		return err == nil
	}
	if !works(secret) {
		t.Error("a new key is not valid")
	}
	other, otherSecret, err := a.Rotate(k.ID, time.Minute)
	if err != nil || other.Label != "laptop" || !works(secret) || !works(otherSecret) {
		t.Errorf("rotated: %+v, %v", other, err)
	}
	c.pass(time.Minute)
	if works(secret) || !works(otherSecret) {
		t.Error("after the grace the old key must not be valid, and the new one must")
	}
	again, err := New(Options{Tenants: []Tenant{{Name: "acme"}}, Store: store, Now: c.now})
	if err != nil || len(again.Keys()) != 2 {
		t.Errorf("after a restart: %+v, %v", again.Keys(), err)
	}
	third, thirdSecret, err := a.Rotate(other.ID, 0)
	if err != nil || works(otherSecret) || !works(thirdSecret) {
		t.Errorf("rotated at once: %v", err)
	}
	c.pass(time.Hour)
	if works(thirdSecret) {
		t.Error("it is valid for ever")
	}
	_, valid, err := a.Create("acme", "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(with("Authorization", "Bearer "+thirdSecret, "X-Api-Key", valid)); err != nil {
		t.Errorf("a valid key beside one that has expired: %v", err)
	}
	_, err = a.Authenticate(with("Authorization", "Bearer "+thirdSecret, "X-Api-Key", "none"))
	if reason(err) != BadKey || !strings.Contains(err.Error(), "expired") {
		t.Errorf("one that has expired beside an unknown one: %v", err)
	}
	if err := a.Revoke(third.ID); err != nil || reason(a.Revoke(third.ID)) != NotFound ||
		reason(a.Revoke(configured+"x")) != NotFound {
		t.Error(err)
	}
	a.SetTenants(nil)
	if a.Required() {
		t.Error("without tenants keys are asked for")
	}
}

func TestModels(t *testing.T) {
	v := &Principal{Tenant: &Tenant{Name: "acme", Models: []string{"coding", "legal*", "*-v2", "a*b*c", "gpt-4o*"},
		Adapter: "acme/own"}}
	for name, want := range map[string]bool{
		"coding": true, "coding2": false, "legal": true, "legal-r4": true, "x-legal": false, "x-v2": true, "abc": true,
		"aXbYc": true, "acb": false,
		"gpt-4o-mini": true, "acme/own": true, "other": false, "": false, "coding@0.5": true, "coding@0.5+legal": true,
		"coding+other@0.1": false, "coding+": false,
	} {
		if v.May(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
	for name, want := range map[string]string{"base": "acme/own", Mine: "acme/own", "coding": "coding"} {
		if got := v.Name(name, "base"); got != want {
			t.Errorf("%q means %q, want %q", name, got, want)
		}
	}
	all := &Principal{Tenant: &Tenant{Name: "b"}}
	if !all.May("anything") || all.Name(Mine, "base") != Mine {
		t.Error("a tenant without models may use all, and has none of its own")
	}
}

// TestExactlyAsManyAsAllowed lets 200 requests come at once.
func TestExactlyAsManyAsAllowed(t *testing.T) {
	a, c := newAuth(t, memory{}, Tenant{Name: "acme", Hashes: []string{Hash("k")}, RequestsPerMinute: 50})
	burst := func() (passed int64) {
		var n atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				v, err := a.Authenticate(with("X-Api-Key", "k"))
				if err != nil {
					t.Error(err)
					return
				}
				if adm, err := v.Admit(); err == nil {
					n.Add(1)
					adm.End(0)
				} else if reason(err) != Requests {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	if n := burst(); n != 50 {
		t.Errorf("%d passed", n)
	}
	c.pass(59 * time.Second)
	if n := burst(); n != 0 {
		t.Errorf("%d passed within the minute", n)
	}
	c.pass(time.Second)
	if n := burst(); n != 50 {
		t.Errorf("%d passed in the next minute", n)
	}
}

func TestLimits(t *testing.T) {
	a, c := newAuth(t, memory{}, Tenant{Name: "acme", Hashes: []string{Hash("k")}, TokensPerMinute: 100, Concurrency: 2,
		MonthlyTokens: 250})
	enter := func() (*Admission, error) {
		v, err := a.Authenticate(with("X-Api-Key", "k"))
		if err != nil {
			t.Fatal(err)
		}
		return v.Admit()
	}
	one, err1 := enter()
	two, err2 := enter()
	_, err3 := enter()
	if err1 != nil || err2 != nil || reason(err3) != Concurrency {
		t.Fatalf("%v, %v, %v", err1, err2, err3)
	}
	one.End(60)
	three, err := enter() // below the limit still
	if err != nil {
		t.Fatal(err)
	}
	two.End(70) // what was in flight may overshoot
	c.pass(10 * time.Second)
	_, err = enter()
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Reason != Tokens || refusal.RetryAfter != 50*time.Second {
		t.Errorf("%v, retry after %s", err, refusal.RetryAfter)
	}
	three.End(0)
	c.pass(50 * time.Second)
	four, err := enter()
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	four.SetHeaders(h)
	if h.Get("X-Ratelimit-Limit-Tokens") != "100" || h.Get("X-Ratelimit-Remaining-Tokens") != "100" ||
		h.Get("X-Ratelimit-Limit-Requests") != "" {
		t.Errorf("%v", h)
	}
	four.End(120) // 250 in the month
	c.pass(time.Minute)
	_, err = enter()
	if !errors.As(err, &refusal) || refusal.Reason != Budget || refusal.RetryAfter != 8*time.Minute {
		t.Errorf("%v, retry after %s", err, refusal.RetryAfter)
	}
	a.SetTenants([]Tenant{{Name: "acme", Hashes: []string{Hash("k")}, MonthlyTokens: 251}}) // what was used still counts
	five, err := enter()
	if err != nil {
		t.Fatal(err)
	}
	five.End(1)
	if _, err = enter(); reason(err) != Budget {
		t.Error(err)
	}
	c.pass(8 * time.Minute) // the next month
	if _, err := enter(); err != nil {
		t.Error(err)
	}
}

func TestBudgetsHoldOverRestarts(t *testing.T) {
	a, err := New(Options{Tenants: []Tenant{{Name: "acme", Hashes: []string{Hash("k")}, MonthlyTokens: 100}},
		Store: memory{}, Spent: map[string]int64{"acme": 100, "gone": 5}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := a.Authenticate(with("X-Api-Key", "k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Admit(); reason(err) != Budget {
		t.Error(err)
	}
}

// TestWindowForgetsNothingEarly holds a window against a list of all that happened.
func TestWindowForgetsNothingEarly(t *testing.T) {
	type happened struct {
		at time.Time
		n  int
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var w window
	var all []happened
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	within := func(span time.Duration) (sum int) {
		for _, h := range all {
			if now.Sub(h.at) < span {
				sum += h.n
			}
		}
		return sum
	}
	for range 3000 {
		// Bursts, pauses, and now and then more than a minute.
		now = now.Add(time.Duration(rng.ExpFloat64() * float64([]time.Duration{time.Millisecond, 20 * time.Millisecond,
			20 * time.Second}[min(2, rng.IntN(100)/49)])))
		w.expire(now)
		if least, most := within(minute), within(minute+grain); w.sum < least || w.sum > most {
			t.Fatalf("the window has %d, the last minute %d and a grain more %d", w.sum, least, most)
		}
		h := happened{now, 1 + rng.IntN(5)}
		all = append(all, h)
		w.add(now, h.n)
		if got := w.empties(now); got != minute {
			t.Fatalf("empties in %v, just after something happened", got)
		}
		if len(all) > 1000 {
			all = all[500:]
		}
	}
	for range 100_000 {
		now = now.Add(100 * time.Microsecond)
		w.add(now, 1)
	}
	if most := int(10*time.Second/grain) + 1 + 3000; len(w.events) > most {
		t.Errorf("%d events are kept of ten seconds, want at most %d", len(w.events), most)
	}
	limit := w.sum
	if opens := w.opens(limit, now); opens <= 0 || opens > minute {
		t.Errorf("opens in %v", opens)
	} else if w.expire(now.Add(opens)); w.sum >= limit {
		t.Error("it is not open when it said")
	}
}

// TestTenantThatComesBack has used its budget before it was taken out.
func TestTenantThatComesBack(t *testing.T) {
	acme := Tenant{Name: "acme", Hashes: []string{Hash("k")}, MonthlyTokens: 100}
	a, err := New(Options{Tenants: []Tenant{acme}, Store: memory{}})
	if err != nil {
		t.Fatal(err)
	}
	enter := func() *Principal {
		t.Helper()
		v, err := a.Authenticate(with("X-Api-Key", "k"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	admission, err := enter().Admit()
	if err != nil {
		t.Fatal(err)
	}
	admission.End(100)
	a.SetTenants([]Tenant{{Name: "other"}})
	if _, err := a.Authenticate(with("X-Api-Key", "k")); reason(err) != BadKey {
		t.Errorf("while it is out: %v", err)
	}
	a.SetTenants([]Tenant{acme})
	if _, err := enter().Admit(); reason(err) != Budget {
		t.Errorf("when it is back: %v", err)
	}
}

// slowStore is a memory whose disk waits.
type slowStore struct {
	memory
	begun, end chan struct{}
}

func (s slowStore) PutKey(k Key) error {
	close(s.begun)
	<-s.end
	return s.memory.PutKey(k)
}

// TestRequestsWaitForNoDisk lets a request in while a key is being written.
func TestRequestsWaitForNoDisk(t *testing.T) {
	store := slowStore{memory{}, make(chan struct{}), make(chan struct{})}
	a, err := New(Options{Tenants: []Tenant{{Name: "acme", Hashes: []string{Hash("one")}, RequestsPerMinute: 1}},
		Store: store})
	if err != nil {
		t.Fatal(err)
	}
	created := make(chan error)
	go func() {
		_, _, err := a.Create("acme", "", time.Time{})
		created <- err
	}()
	<-store.begun
	v, err := a.Authenticate(with("X-Api-Key", "one"))
	if err != nil {
		t.Fatal(err)
	}
	admission, err := v.Admit()
	if err != nil {
		t.Fatal(err)
	}
	admission.End(1)
	close(store.end)
	if err := <-created; err != nil {
		t.Error(err)
	}
}
