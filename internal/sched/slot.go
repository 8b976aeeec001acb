package sched

import (
	"slices"

	"github.com/loragate/loragate/internal/sched/task"
)

// slot is one sequence of a worker. What KV it holds is known or tainted; an
// owner of nil and not tainted is nothing.
type slot struct {
	worker    *worker
	number    int
	busy      bool
	owner     *flow
	namespace string // of the owner's request
	tainted   bool
	prefixes  task.PrefixHashes
	tokens    int // in its KV, as far as llama-server told
}

// warmth is the KV of one flow.
type warmth struct {
	owned int // slots that hold it
	index prefixIndex
}

// prefixIndex finds the slots that hold a prefix of a conversation of one flow.
type prefixIndex map[uint64][]*slot

// mostHolders bounds how many slots with the same prefix are looked at: a
// system prompt may be in all of them.
const mostHolders = 32

// own gives the slot to a conversation of f.
func (sl *slot) own(f *flow, prefixes task.PrefixHashes, namespace string) {
	sl.disown()
	sl.owner, sl.prefixes, sl.namespace, sl.tainted = f, prefixes, namespace, false
	f.kv.owned++
	if f.kv.index == nil {
		f.kv.index = make(prefixIndex)
	}
	for _, hash := range prefixes {
		f.kv.index[hash.Hash] = append(f.kv.index[hash.Hash], sl)
	}
}

// disown takes the slot from its owner.
func (sl *slot) disown() {
	f := sl.owner
	if f == nil {
		return
	}
	for _, hash := range sl.prefixes {
		rest := slices.DeleteFunc(f.kv.index[hash.Hash], func(x *slot) bool { return x == sl })
		if len(rest) == 0 {
			delete(f.kv.index, hash.Hash)
		} else {
			f.kv.index[hash.Hash] = rest
		}
	}
	f.kv.owned--
	sl.owner, sl.prefixes, sl.namespace, sl.tokens = nil, nil, "", 0
}

// taint says that nobody knows what the slot holds.
func (sl *slot) taint() {
	sl.disown()
	sl.tainted = true
}

// blank reports whether nothing of use is in the slot.
func (sl *slot) blank() bool { return sl.owner == nil }

// continues returns the idle slot that holds most of the conversation, and how
// many bytes of it, among those on workers that fit. A slot that would lose more
// than it gives does not count: its own conversation may come back.
func (f *flow) continues(prefixes task.PrefixHashes, fits func(*worker) bool) (best *slot, warm int) {
	for i := len(prefixes) - 1; i >= 0; i-- {
		hash := prefixes[i]
		holders := f.kv.index[hash.Hash]
		for _, sl := range holders[:min(len(holders), mostHolders)] {
			if !sl.busy && sl.prefixes.Total() <= 2*hash.Bytes && fits(sl.worker) {
				return sl, hash.Bytes
			}
		}
	}
	return nil, 0
}
