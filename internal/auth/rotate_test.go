package auth

import (
	"errors"
	"testing"
	"time"
)

// hooked is a Store that calls put before it stores a key.
type hooked struct {
	memory
	put func(Key) error
}

func (h *hooked) PutKey(k Key) error {
	if h.put != nil {
		if err := h.put(k); err != nil {
			return err
		}
	}
	return h.memory.PutKey(k)
}

// TestRotationRevivesNothing revokes a key while it is rotated: whichever comes first,
// in the end the old key is not valid, here and after a restart.
func TestRotationRevivesNothing(t *testing.T) {
	store := &hooked{memory: memory{}}
	a, err := New(Options{Tenants: []Tenant{{Name: "acme"}}, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	old, secret, err := a.Create("acme", "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	revoked := make(chan error, 1)
	store.put = func(Key) error { // the new key is being stored
		store.put = nil
		go func() { revoked <- a.Revoke(old.ID) }()
		return nil
	}
	if _, _, err := a.Rotate(old.ID, time.Hour); err != nil {
		t.Error(err)
	}
	if err := <-revoked; err != nil {
		t.Error(err)
	}
	if _, kept := store.memory[old.ID]; kept {
		t.Error("the revoked key is stored")
	}
	if _, err := a.Authenticate(with("X-Api-Key", secret)); reason(err) != BadKey {
		t.Errorf("the revoked key: %v", err)
	}
	if _, _, err := a.Rotate(old.ID, time.Hour); reason(err) != NotFound {
		t.Errorf("a revoked key was rotated: %v", err)
	}
}

// TestRotationIsWholeOrNot fails to store the end of the old key: nobody was shown the
// new one, so it must not be valid.
func TestRotationIsWholeOrNot(t *testing.T) {
	store := &hooked{memory: memory{}}
	a, err := New(Options{Tenants: []Tenant{{Name: "acme"}}, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	old, secret, err := a.Create("acme", "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	store.put = func(k Key) error {
		if k.ID == old.ID {
			return full
		}
		return nil
	}
	if _, shown, err := a.Rotate(old.ID, time.Hour); !errors.Is(err, full) || shown != "" {
		t.Errorf("%q, %v", shown, err)
	}
	if len(a.Keys()) != 1 || len(store.memory) != 1 {
		t.Errorf("keys %v, stored %v", a.Keys(), store.memory)
	}
	if _, err := a.Authenticate(with("X-Api-Key", secret)); err != nil {
		t.Errorf("the old key: %v", err)
	}
}

// TestKeysThatWouldHaveExpired are not made, neither anew nor as successors.
func TestKeysThatWouldHaveExpired(t *testing.T) {
	a, c := newAuth(t, memory{}, Tenant{Name: "acme"})
	for _, ago := range []time.Duration{0, time.Nanosecond, 1000 * time.Hour} {
		if _, _, err := a.Create("acme", "", c.now().Add(-ago)); reason(err) != Invalid {
			t.Errorf("expired %s ago: %v", ago, err)
		}
	}
	k, _, err := a.Create("acme", "", c.now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	if _, _, err := a.Rotate(k.ID, time.Hour); reason(err) != Invalid {
		t.Errorf("an expired key was rotated: %v", err)
	}
	if len(a.Keys()) != 1 {
		t.Errorf("%v", a.Keys())
	}
}
