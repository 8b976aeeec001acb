// Package auth tells who asks, by API keys, and what each tenant may: which
// models, how many requests and tokens. Keys are known by their hashes only.
package auth

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
)

// Tenant is a person or customer, as it is configured. It is immutable.
type Tenant struct {
	Name    string
	Hashes  []string // of its keys in the configuration: SHA-256 in hex
	Models  []string // globs of names that it may use, in which * is any text; none allows all
	Adapter string   // what the base's name and "mine" mean to it; "" is nothing of its own

	RequestsPerMinute int   // 0 is no bound, here and below
	TokensPerMinute   int   // of prompts and answers, by what has ended
	Concurrency       int   // requests at once, those that wait included
	MonthlyTokens     int64 // in a calendar month, UTC

	Weight   float64 // its share against others; 0 stands for 1
	Priority int     // before weights; higher ones go first
}

// Key is one that the admin API made. It is a copy.
type Key struct {
	ID      string // public
	Tenant  string
	Label   string // for people
	Hash    string // SHA-256 of the key, in hex
	Created time.Time
	Expires time.Time // zero is never
}

// Store keeps keys over restarts. Its methods may wait for the disk.
type Store interface {
	Keys() ([]Key, error)
	PutKey(Key) error
	DeleteKey(id string) error
}

// Options says what an Auth works with.
type Options struct {
	Tenants []Tenant
	Store   Store
	// Spent are the tokens that each tenant has used in the present month.
	Spent map[string]int64
	Now   func() time.Time // nil is time.Now
}

// Auth knows keys and counts what tenants use. It is safe for concurrent use;
// only methods that say so wait for the disk.
type Auth struct {
	store Store
	now   func() time.Time

	// current is what requests look at, without a lock. Whoever holds mu replaces it.
	current atomic.Pointer[directory]

	news atomic.Pointer[chan struct{}] // closed by the next Resume

	// mu is held by those who change something, also while they wait for the disk.
	mu    sync.Mutex
	past  map[string]*account // of tenants that were, or are: what they have used counts if they come back
	month month               // of spent
	spent map[string]int64    // tokens that had been used at the start, by tenant
}

// directory is who may ask. It is immutable, but for the accounts.
type directory struct {
	tenants map[string]*account
	keys    map[string]Key // by hash, those of the configuration included
}

// New returns an Auth. It waits for the disk.
func New(opts Options) (*Auth, error) {
	a := &Auth{store: opts.Store, now: opts.Now, past: map[string]*account{}}
	if a.now == nil {
		a.now = time.Now
	}
	news := make(chan struct{})
	a.news.Store(&news)
	stored, err := a.store.Keys()
	if err != nil {
		return nil, err
	}
	keys := make(map[string]Key, len(stored))
	for _, k := range stored {
		keys[k.Hash] = k
	}
	a.current.Store(&directory{keys: keys})
	a.month, a.spent = monthOf(a.now()), opts.Spent
	a.SetTenants(opts.Tenants)
	return a, nil
}

// configured is the beginning of the ids of keys that are in the configuration.
const configured = "config-"

// SetTenants replaces the tenants. Keys of those that go mean nothing until they are
// back, and what they have used counts then.
func (a *Auth) SetTenants(tenants []Tenant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := &directory{tenants: make(map[string]*account, len(tenants)), keys: maps.Clone(a.current.Load().keys)}
	maps.DeleteFunc(next.keys, func(_ string, k Key) bool { return strings.HasPrefix(k.ID, configured) })
	for _, t := range tenants {
		acc := a.past[t.Name]
		if acc == nil {
			acc = &account{month: a.month, spent: a.spent[t.Name]}
			a.past[t.Name] = acc
		}
		acc.tenant.Store(&t)
		next.tenants[t.Name] = acc
		for _, hash := range t.Hashes {
			next.keys[hash] = Key{ID: configured + hash[:8], Tenant: t.Name, Hash: hash}
		}
	}
	a.current.Store(next)
}

// changeKeys puts changed keys in force. The caller holds the lock.
func (a *Auth) changeKeys(change func(keys map[string]Key)) {
	now := a.current.Load()
	next := &directory{tenants: now.tenants, keys: maps.Clone(now.keys)}
	change(next.keys)
	a.current.Store(next)
}

// Required reports whether there are tenants: without any everybody may do
// everything.
func (a *Auth) Required() bool { return len(a.current.Load().tenants) > 0 }

// Principal is a request whose key is known.
type Principal struct {
	Tenant *Tenant // nil if no keys are asked for
	KeyID  string
	auth   *Auth
	acc    *account
}

// Authenticate tells who sent a request, by its Authorization, X-Api-Key or, as Azure's
// clients send it, Api-Key: by the first of these keys that is valid. The error is a *Refusal.
func (a *Auth) Authenticate(r *http.Request) (*Principal, error) {
	known := a.current.Load()
	if len(known.tenants) == 0 {
		return &Principal{auth: a}, nil
	}
	secrets := presented(r)
	if len(secrets) == 0 {
		return nil, &Refusal{Reason: NoKey, Message: "No API key was sent: send it as Authorization: Bearer <key>, or as " +
			"X-Api-Key or Api-Key."}
	}
	refusal := &Refusal{Reason: BadKey, Message: "The API key is not valid."}
	for _, secret := range secrets {
		// What is looked up is a hash of random bytes: how long that takes tells nothing
		// of any key.
		key := known.keys[Hash(secret)]
		acc := known.tenants[key.Tenant]
		switch {
		case acc == nil:
		case !key.Expires.IsZero() && !a.now().Before(key.Expires):
			refusal = &Refusal{Reason: BadKey, Message: "The API key has expired."}
		default:
			return &Principal{Tenant: acc.tenant.Load(), KeyID: key.ID, auth: a, acc: acc}, nil
		}
	}
	return nil, refusal
}

// presented returns the keys that a request shows. Some clients send a placeholder of their
// own beside the one that they were given.
func presented(r *http.Request) []string {
	all := []string{httpkit.Bearer(r)}
	for _, name := range []string{"X-Api-Key", "Api-Key"} {
		all = append(all, r.Header.Values(name)...)
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(key string) bool { return key == "" })
}

// Hash is what is kept of a key. Keys are 32 random bytes: no guessing would ever
// find one, so nothing slower is needed.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Namespace is whose KV the request leaves: the tenant's name, "" if there is none.
func (v *Principal) Namespace() string {
	if v.Tenant == nil {
		return ""
	}
	return v.Tenant.Name
}

// Share is the tenant's weight and priority against others.
func (v *Principal) Share() (weight float64, priority int) {
	if v.Tenant == nil {
		return 1, 0
	}
	return v.Tenant.Weight, v.Tenant.Priority
}

// Name returns the model that the tenant means by a name; base is the base
// model's.
func (v *Principal) Name(name, base string) string {
	if t := v.Tenant; t != nil && t.Adapter != "" && (name == Mine || name == base) {
		return t.Adapter
	}
	return name
}

// Mine is the name by which each tenant calls its own adapter.
const Mine = "mine"

// May reports whether the tenant may use a name; an expression's adapters must all
// be allowed.
func (v *Principal) May(name string) bool {
	if v.Tenant == nil || len(v.Tenant.Models) == 0 || name == v.Tenant.Adapter && name != "" {
		return true
	}
	for _, term := range strings.Split(name, "+") {
		adapter, _, _ := strings.Cut(term, "@")
		if !slices.ContainsFunc(v.Tenant.Models, func(glob string) bool { return Match(glob, adapter) }) {
			return false
		}
	}
	return true
}

// Match reports whether a name fits a glob, in which * stands for any text.
func Match(glob, name string) bool {
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// Keys returns the keys that the admin API made, oldest first.
func (a *Auth) Keys() []Key {
	var list []Key
	for _, k := range a.current.Load().keys {
		if !strings.HasPrefix(k.ID, configured) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(x, y Key) int { return cmp.Or(x.Created.Compare(y.Created), strings.Compare(x.ID, y.ID)) })
	return list
}

// Create makes a key for a tenant and returns it with its secret, which is not
// kept. A key that expires must do so later than now. It waits for the disk.
func (a *Auth) Create(tenant, label string, expires time.Time) (Key, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !expires.IsZero() && !a.now().Before(expires) {
		return Key{}, "", &Refusal{Reason: Invalid, Message: "The key would have expired already."}
	}
	return a.create(tenant, label, expires)
}

// create is Create without a look at when the key expires. The caller holds the lock.
func (a *Auth) create(tenant, label string, expires time.Time) (Key, string, error) {
	random := make([]byte, 32+6)
	rand.Read(random) // never fails, by its contract
	secret := "lg-" + base64.RawURLEncoding.EncodeToString(random[:32])
	k := Key{
		ID: "key_" + hex.EncodeToString(random[32:]), Tenant: tenant, Label: label, Hash: Hash(secret),
		Created: a.now().UTC().Truncate(time.Second), Expires: expires,
	}
	if a.current.Load().tenants[tenant] == nil {
		return Key{}, "", &Refusal{Reason: NotFound,
			Message: fmt.Sprintf("There is no tenant %q: tenants are in the configuration.", tenant)}
	}
	if err := a.store.PutKey(k); err != nil {
		return Key{}, "", err
	}
	a.changeKeys(func(keys map[string]Key) { keys[k.Hash] = k })
	return k, secret, nil
}

// Revoke forgets a key: from its return on the key is not valid. It waits for the
// disk.
func (a *Auth) Revoke(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.find(id)
	if !ok {
		return noKey(id)
	}
	return a.revoke(k)
}

// revoke is Revoke for a key that is there. The caller holds the lock.
func (a *Auth) revoke(k Key) error {
	if err := a.store.DeleteKey(k.ID); err != nil {
		return err
	}
	a.changeKeys(func(keys map[string]Key) { delete(keys, k.Hash) })
	return nil
}

func noKey(id string) *Refusal {
	return &Refusal{Reason: NotFound, Message: fmt.Sprintf("There is no key %q.", id)}
}

// Rotate makes a new key in a key's place; the old one stays valid for grace. The
// lock is held throughout: a key that is revoked meanwhile does not come back, nor
// does one that was revoked before get a successor. If the old key cannot be changed
// there is no new one either. It waits for the disk.
func (a *Auth) Rotate(id string, grace time.Duration) (Key, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.find(id)
	switch {
	case !ok:
		return Key{}, "", noKey(id)
	case !old.Expires.IsZero() && !a.now().Before(old.Expires):
		return Key{}, "", &Refusal{Reason: Invalid, Message: fmt.Sprintf("The key %q has expired: its successor would "+
			"have, too.", id)}
	}
	k, secret, err := a.create(old.Tenant, old.Label, old.Expires)
	if err != nil {
		return Key{}, "", err
	}
	if err := a.retire(old, grace); err != nil {
		return Key{}, "", errors.Join(err, a.revoke(k))
	}
	return k, secret, nil
}

// retire lets a key end after grace, or at once. The caller holds the lock.
func (a *Auth) retire(k Key, grace time.Duration) error {
	if grace <= 0 {
		return a.revoke(k)
	}
	if ends := a.now().UTC().Add(grace); k.Expires.IsZero() || ends.Before(k.Expires) {
		k.Expires = ends
	}
	if err := a.store.PutKey(k); err != nil {
		return err
	}
	a.changeKeys(func(keys map[string]Key) { keys[k.Hash] = k })
	return nil
}

// find returns a key that the admin API made.
func (a *Auth) find(id string) (Key, bool) {
	for _, k := range a.Keys() {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}
