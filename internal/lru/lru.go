// Package lru keeps least-recently-used sets whose entries can be pinned while
// they are in use. It builds on golang-lru's simplelru, whose own eviction
// would take an entry that is still in use.
package lru

import (
	"errors"
	"fmt"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrAllPinned is returned by Put when the set is full and every entry is in
// use, so nothing can make room.
var ErrAllPinned = errors.New("lru: every entry is in use")

// Entry is one key and its value.
type Entry[K comparable, V any] struct {
	Key   K
	Value V
}

// Set holds at most a fixed number of entries, ordered by when they were last
// used. A pinned entry is in use: it counts towards the capacity, is never
// evicted and becomes the most recently used one when its last pin goes.
//
// All methods take constant time except Idle. A Set is not safe for concurrent
// use: the goroutine that owns the state around it owns the Set as well.
type Set[K comparable, V any] struct {
	capacity int
	idle     *simplelru.LRU[K, V] // unpinned entries, in order of use
	pinned   map[K]*pin[V]
}

type pin[V any] struct {
	value V
	count int
}

// New returns an empty Set for capacity entries; capacity must be positive.
func New[K comparable, V any](capacity int) *Set[K, V] {
	idle, err := simplelru.NewLRU[K, V](capacity, nil)
	if err != nil {
		panic(fmt.Sprintf("lru: capacity %d: %v", capacity, err))
	}
	return &Set[K, V]{capacity: capacity, idle: idle, pinned: make(map[K]*pin[V])}
}

// Len returns the number of entries, pinned ones included.
func (s *Set[K, V]) Len() int { return s.idle.Len() + len(s.pinned) }

// IdleLen returns the number of unpinned entries.
func (s *Set[K, V]) IdleLen() int { return s.idle.Len() }

// Get returns the value of key and marks it as just used.
func (s *Set[K, V]) Get(key K) (V, bool) {
	if p, ok := s.pinned[key]; ok {
		return p.value, true
	}
	return s.idle.Get(key)
}

// Peek returns the value of key and leaves the order as it is.
func (s *Set[K, V]) Peek(key K) (V, bool) {
	if p, ok := s.pinned[key]; ok {
		return p.value, true
	}
	return s.idle.Peek(key)
}

// Put stores value under key as the most recently used entry. A new key in a
// full set evicts the least recently used unpinned entry, which is returned
// before anyone could see the new one. It returns ErrAllPinned, and changes
// nothing, when there is no entry to evict.
func (s *Set[K, V]) Put(key K, value V) (evicted *Entry[K, V], err error) {
	if p, ok := s.pinned[key]; ok {
		p.value = value
		return nil, nil
	}
	if !s.idle.Contains(key) && s.Len() >= s.capacity {
		k, v, ok := s.idle.RemoveOldest()
		if !ok {
			return nil, ErrAllPinned
		}
		evicted = &Entry[K, V]{Key: k, Value: v}
	}
	s.idle.Add(key, value)
	return evicted, nil
}

// Pin marks key as in use until a matching Unpin; pins add up. It reports
// whether the key is in the set.
func (s *Set[K, V]) Pin(key K) bool {
	if p, ok := s.pinned[key]; ok {
		p.count++
		return true
	}
	value, ok := s.idle.Peek(key)
	if !ok {
		return false
	}
	s.idle.Remove(key)
	s.pinned[key] = &pin[V]{value: value, count: 1}
	return true
}

// Unpin takes one pin off key. The last one makes it the most recently used
// unpinned entry. It panics if key is not pinned: that is a release too many,
// after which the set would evict what is in use.
func (s *Set[K, V]) Unpin(key K) {
	p, ok := s.pinned[key]
	if !ok {
		panic(fmt.Sprintf("lru: unpin of %v, which is not pinned", key))
	}
	if p.count--; p.count > 0 {
		return
	}
	delete(s.pinned, key)
	s.idle.Add(key, p.value)
}

// Pinned reports whether key is in use.
func (s *Set[K, V]) Pinned(key K) bool {
	_, ok := s.pinned[key]
	return ok
}

// Oldest returns the least recently used unpinned entry.
func (s *Set[K, V]) Oldest() (K, V, bool) { return s.idle.GetOldest() }

// Idle returns the unpinned keys, least recently used first, in a new slice.
func (s *Set[K, V]) Idle() []K { return s.idle.Keys() }

// Remove takes key out, pinned or not, and reports whether it was there.
func (s *Set[K, V]) Remove(key K) bool {
	if _, ok := s.pinned[key]; ok {
		delete(s.pinned, key)
		return true
	}
	return s.idle.Remove(key)
}
