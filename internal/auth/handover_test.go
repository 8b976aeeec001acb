package auth

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// emptyStore has no keys.
type emptyStore struct{}

func (emptyStore) Keys() ([]Key, error)   { return nil, nil }
func (emptyStore) PutKey(Key) error       { return nil }
func (emptyStore) DeleteKey(string) error { return nil }

// ofTenant returns an Auth with one tenant, and a way for it to enter.
func ofTenant(t *testing.T, tenant Tenant) (*Auth, func() *Principal) {
	t.Helper()
	tenant.Name, tenant.Hashes = "acme", []string{Hash("k")}
	a, err := New(Options{Tenants: []Tenant{tenant}, Store: emptyStore{}})
	if err != nil {
		t.Fatal(err)
	}
	return a, func() *Principal {
		t.Helper()
		v, err := a.Authenticate(&http.Request{Header: http.Header{"X-Api-Key": {"k"}}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// tell passes news on, as JSON.
func tell(t *testing.T, from, to *Auth) {
	t.Helper()
	text, err := json.Marshal(from.News())
	if err != nil {
		t.Fatal(err)
	}
	var counts Counts
	if err := json.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	to.Resume(counts)
}

func admit(t *testing.T, enter func() *Principal) *Admission {
	t.Helper()
	a, err := enter().Admit()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refuses checks why a request is turned away.
func refuses(t *testing.T, enter func() *Principal, want Reason) {
	t.Helper()
	_, err := enter().Admit()
	if refusal, ok := err.(*Refusal); !ok || refusal.Reason != want {
		t.Errorf("%v, want a refusal for %s", err, want)
	}
}

// TestNewsAreToldOnce: what one Auth tells again and again counts once in another, within
// the same moment, too, and not for longer than a minute.
func TestNewsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := Tenant{RequestsPerMinute: 4, TokensPerMinute: 100}
		old, enterOld := ofTenant(t, tenant)
		heir, enter := ofTenant(t, tenant)
		running := admit(t, enterOld)
		tell(t, old, heir)
		admit(t, enterOld).End(10) // within the same grain
		tell(t, old, heir)
		tell(t, old, heir)
		admit(t, enter).End(10)
		time.Sleep(30 * time.Second)
		running.End(79)
		tell(t, old, heir)
		admit(t, enter).End(0) // the fourth; there were 99 tokens
		refuses(t, enter, Requests)
		time.Sleep(30 * time.Second)
		admit(t, enter).End(21)
		refuses(t, enter, Tokens) // those of 30 s ago, and those
		time.Sleep(30 * time.Second)
		admit(t, enter)
	})
}

// TestRequestsThatRunElsewhereCount until it is told that they have ended: whoever is at
// the limit waits for that.
func TestRequestsThatRunElsewhereCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, enterOld := ofTenant(t, Tenant{Concurrency: 1})
		heir, enter := ofTenant(t, Tenant{Concurrency: 1})
		running := admit(t, enterOld)
		tell(t, old, heir)
		refuses(t, enter, Concurrency)
		admitted := make(chan *Admission)
		go func() { admitted <- admit(t, enter) }()
		synctest.Wait()
		running.End(0)
		tell(t, old, heir)
		own := <-admitted
		refuses(t, enter, Concurrency)
		own.End(0)
		heir.Resume(nil)
		admit(t, enter)
	})
}

// TestTokensSpentElsewhere count against the budget of their month alone.
func TestTokensSpentElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heir, enter := ofTenant(t, Tenant{MonthlyTokens: 10})
		heir.Spend("acme", time.Now().AddDate(0, -1, 0), 10)
		heir.Spend("nobody", time.Now(), 10)
		heir.Spend("acme", time.Now(), 9)
		admit(t, enter)
		heir.Spend("acme", time.Now(), 1)
		refuses(t, enter, Budget)
	})
}
