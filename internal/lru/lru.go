// Package lru keeps least-recently-used sets whose entries can be pinned while
// they are in use. It builds on golang-lru's simplelru, whose own eviction
// would take an entry that is still in use.
package lru

import (
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrAllPinned is returned by Put when an entry does not fit beside those that are
// in use, so nothing can make room.
var ErrAllPinned = errors.New("lru: every entry is in use")

// Limits bound a Set. 0 is no bound.
type Limits struct {
	Entries int
	Weight  int64
}

// Fit reports whether so many entries of that weight in sum are within the limits.
func (l Limits) Fit(entries int, weight int64) bool {
	return (l.Entries == 0 || entries <= l.Entries) && (l.Weight == 0 || weight <= l.Weight)
}

// Entry is one key and its value.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// Set holds what its limits allow, ordered by when it was last used. A pinned entry
// is in use: it counts towards the limits, is never evicted and becomes the most
// recently used one when its last pin goes.
//
// All methods take constant time except Idle, and Put, which takes as long as it
// evicts. A Set is not safe for concurrent use: the goroutine that owns the state
// around it owns the Set as well.
type Set[K comparable, V any] struct {
	limits Limits
	weigh  func(K, V) int64                // nil where nothing weighs anything
	idle   *simplelru.LRU[K, *resident[V]] // unpinned entries, in order of use
	pinned map[K]*resident[V]
	uses   uint64 // counts the uses of all entries

	weight, pinnedWeight int64
}

// resident is what a Set keeps of an entry.
type resident[V any] struct {
	value V
	pins  int
	used  uint64 // the number of its last use among those of all entries
}

// New returns an empty Set for that many entries, which must be positive.
func New[K comparable, V any](entries int) *Set[K, V] {
	if entries <= 0 {
		panic(fmt.Sprintf("lru: a set for %d entries", entries))
	}
	return NewWeighted[K, V](Limits{Entries: entries}, nil)
}

// NewWeighted returns an empty Set whose entries weigh what weigh says, which must
// not change while they are in it.
func NewWeighted[K comparable, V any](limits Limits, weigh func(K, V) int64) *Set[K, V] {
	idle, err := simplelru.NewLRU[K, *resident[V]](math.MaxInt, nil) // Put evicts, not simplelru
	if err != nil {
		panic(fmt.Sprintf("lru: %v", err))
	}
	return &Set[K, V]{limits: limits, weigh: weigh, idle: idle, pinned: make(map[K]*resident[V])}
}

// Len returns the number of entries, pinned ones included.
func (s *Set[K, V]) Len() int { return s.idle.Len() + len(s.pinned) }

// IdleLen returns the number of unpinned entries.
func (s *Set[K, V]) IdleLen() int { return s.idle.Len() }

// PinnedLen returns the number of pinned entries.
func (s *Set[K, V]) PinnedLen() int { return len(s.pinned) }

// PinnedWeight returns what the pinned entries weigh.
func (s *Set[K, V]) PinnedWeight() int64 { return s.pinnedWeight }

// Room reports whether so many more entries of that weight in sum fit beside those
// that are pinned, if the others make room for them.
func (s *Set[K, V]) Room(entries int, weight int64) bool {
	return s.limits.Fit(len(s.pinned)+entries, s.pinnedWeight+weight)
}

// find returns an entry, wherever it is.
func (s *Set[K, V]) find(key K) (*resident[V], bool) {
	if r, ok := s.pinned[key]; ok {
		return r, true
	}
	return s.idle.Peek(key)
}

// Get returns the value of key and marks it as just used.
func (s *Set[K, V]) Get(key K) (value V, ok bool) {
	r, ok := s.pinned[key]
	if !ok {
		if r, ok = s.idle.Get(key); !ok {
			return value, false
		}
	}
	s.use(r)
	return r.value, true
}

func (s *Set[K, V]) use(r *resident[V]) {
	s.uses++
	r.used = s.uses
}

// Peek returns the value of key and leaves the order as it is.
func (s *Set[K, V]) Peek(key K) (value V, ok bool) {
	r, ok := s.find(key)
	if !ok {
		return value, false
	}
	return r.value, true
}

// LastUse returns the number of key's last use: that of what was used later is
// larger. What is not in the set has 0.
func (s *Set[K, V]) LastUse(key K) uint64 {
	if r, ok := s.find(key); ok {
		return r.used
	}
	return 0
}

// Put stores value under key as the most recently used entry. A new key evicts the
// least recently used unpinned entries until it fits; they are returned before anyone
// could see the new one. It returns ErrAllPinned, and changes nothing, when it does not
// fit beside the pinned ones.
func (s *Set[K, V]) Put(key K, value V) (evicted []Entry[K, V], err error) {
	if r, ok := s.find(key); ok {
		s.addWeight(r, s.weightOf(key, value)-s.weightOf(key, r.value))
		r.value = value
		s.Get(key)
		return nil, nil
	}
	r, evicted, err := s.admit(key, value)
	if err == nil {
		s.idle.Add(key, r)
	}
	return evicted, err
}

// PutPinned is Pin, and where the key is not in the set Put before.
func (s *Set[K, V]) PutPinned(key K, value V) (evicted []Entry[K, V], err error) {
	if s.Pin(key) {
		return nil, nil
	}
	r, evicted, err := s.admit(key, value)
	if err == nil {
		s.pin(key, r)
	}
	return evicted, err
}

// admit makes room for a new entry, and counts it.
func (s *Set[K, V]) admit(key K, value V) (r *resident[V], evicted []Entry[K, V], err error) {
	weight := s.weightOf(key, value)
	if !s.Room(1, weight) {
		return nil, nil, ErrAllPinned
	}
	for !s.limits.Fit(s.Len()+1, s.weight+weight) {
		k, r, _ := s.idle.RemoveOldest()
		s.weight -= s.weightOf(k, r.value)
		evicted = append(evicted, Entry[K, V]{Key: k, Value: r.value})
	}
	r = &resident[V]{value: value}
	s.use(r)
	s.weight += weight
	return r, evicted, nil
}

func (s *Set[K, V]) weightOf(key K, value V) int64 {
	if s.weigh == nil {
		return 0
	}
	return s.weigh(key, value)
}

// addWeight books that an entry weighs more than it did.
func (s *Set[K, V]) addWeight(r *resident[V], more int64) {
	s.weight += more
	if r.pins > 0 {
		s.pinnedWeight += more
	}
}

// Pin marks key as in use until a matching Unpin; pins add up. It reports
// whether the key is in the set.
func (s *Set[K, V]) Pin(key K) bool {
	if r, ok := s.pinned[key]; ok {
		r.pins++
		return true
	}
	r, ok := s.idle.Peek(key)
	if !ok {
		return false
	}
	s.idle.Remove(key)
	s.pin(key, r)
	return true
}

func (s *Set[K, V]) pin(key K, r *resident[V]) {
	r.pins = 1
	s.pinned[key] = r
	s.pinnedWeight += s.weightOf(key, r.value)
}

// Unpin takes one pin off key. The last one makes it the most recently used
// unpinned entry. It panics if key is not pinned: that is a release too many,
// after which the set would evict what is in use.
func (s *Set[K, V]) Unpin(key K) {
	r, ok := s.pinned[key]
	if !ok {
		panic(fmt.Sprintf("lru: unpin of %v, which is not pinned", key))
	}
	if r.pins--; r.pins > 0 {
		return
	}
	delete(s.pinned, key)
	s.pinnedWeight -= s.weightOf(key, r.value)
	s.use(r)
	s.idle.Add(key, r)
}

// Pinned reports whether key is in use.
func (s *Set[K, V]) Pinned(key K) bool {
	_, ok := s.pinned[key]
	return ok
}

// Oldest returns the least recently used unpinned entry.
func (s *Set[K, V]) Oldest() (key K, value V, ok bool) {
	key, r, ok := s.idle.GetOldest()
	if ok {
		value = r.value
	}
	return key, value, ok
}

// Idle returns the unpinned keys, least recently used first, in a new slice.
func (s *Set[K, V]) Idle() []K { return s.idle.Keys() }

// Remove takes key out, pinned or not, and reports whether it was there.
func (s *Set[K, V]) Remove(key K) bool {
	r, ok := s.find(key)
	if !ok {
		return false
	}
	weight := s.weightOf(key, r.value)
	s.weight -= weight
	if r.pins > 0 {
		s.pinnedWeight -= weight
		delete(s.pinned, key)
		return true
	}
	return s.idle.Remove(key)
}
