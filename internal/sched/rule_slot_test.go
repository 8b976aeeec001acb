package sched

import (
	"slices"
	"testing"
)

// talk returns the chain of a conversation's first n messages of 1000 bytes.
func talk(name uint64, n int) PrefixHashes {
	prefixes := make(PrefixHashes, n)
	for i := range prefixes {
		prefixes[i] = PrefixHash{Hash: name<<32 + uint64(i), Bytes: 1000 * (i + 1)}
	}
	return prefixes
}

func (w *checked) say(id Identity, name uint64, messages int) *job {
	return w.do(Request{Identity: id, PrefixHashes: talk(name, messages)})
}

// turn says something and finishes at once; it returns the slot.
func (w *checked) turn(id Identity, name uint64, messages int) (worker, slot int) {
	w.t.Helper()
	j := w.say(id, name, messages)
	if j.Worker < 0 {
		w.t.Fatalf("%q waits", id)
	}
	w.finish(j, Usage{Prompt: 100 * messages, Completion: 50})
	return j.Worker, j.Slot
}

func TestConversationReturnsToItsSlot(t *testing.T) {
	w := withWorkers(t, 1, 4)
	_, one := w.turn("a", 1, 1)
	_, two := w.turn("a", 2, 1)
	if one == two {
		t.Fatal("a new conversation took another's slot though others are free")
	}
	w.turn("b", 3, 1)
	for messages := 3; messages < 9; messages += 2 { // away and back
		if _, slot := w.turn("a", 1, messages); slot != one {
			t.Errorf("conversation 1 ran in slot %d, its KV is in %d", slot, one)
		}
		if _, slot := w.turn("a", 2, messages); slot != two {
			t.Errorf("conversation 2 ran in slot %d, its KV is in %d", slot, two)
		}
		w.turn("b", 3, messages)
	}
	for _, a := range w.log {
		if len(a.Erase) > 0 {
			t.Errorf("%+v: erased though every conversation has its slot", a)
		}
	}
	if c := w.s.Counts(); c.WarmHits != 9 || c.WarmMisses != 3 {
		t.Errorf("counts %+v", c)
	}
}

func TestConversationReturnsToItsWorker(t *testing.T) {
	w := withWorkers(t, 2, 2)
	home, _ := w.turn("a", 1, 3)
	other := w.ask("b") // the other worker, least recently used
	w.finish(other, Usage{})
	w.ask("a")
	w.turn("b", 2, 3)
	if got, _ := w.turn("a", 1, 5); got != home {
		t.Errorf("came back to worker %d, its KV is on %d", got, home)
	}
}

func TestConversationWaitsForNoSlot(t *testing.T) {
	w := withWorkers(t, 1, 2)
	busy := w.say("a", 1, 1)
	again := w.say("a", 1, 3) // the client did not wait for the answer
	if again.Worker < 0 || again.Slot == busy.Slot {
		t.Errorf("%+v beside %+v", again, busy)
	}
}

func TestStrangersSlotIsErasedAndTheOldestGoesFirst(t *testing.T) {
	w := withWorkers(t, 1, 2)
	_, first := w.turn("a", 1, 1)
	w.turn("a", 2, 1)
	_, slot := w.turn("b", 3, 1)
	if slot != first {
		t.Errorf("b took slot %d, the least recently used is %d", slot, first)
	}
	if last := w.log[len(w.log)-1]; !slices.Equal(last.Erase, []int{slot}) {
		t.Errorf("%+v: erases not the slot that changes hands", last)
	}
	if lost := w.s.Counts().KVLost; lost != 150 {
		t.Errorf("%d tokens lost, want 150", lost)
	}
	// The same identity's KV is no danger: llama-server compares the prompts.
	w.turn("b", 4, 1)
	w.turn("b", 5, 1)
	if last := w.log[len(w.log)-1]; len(last.Erase) != 0 {
		t.Errorf("%+v: erased its own identity's KV", last)
	}
}

// TestSharedHeadDoesNotTakeAConversation: a system prompt in common is no reason
// to overwrite what follows it in somebody's slot.
func TestSharedHeadDoesNotTakeAConversation(t *testing.T) {
	w := withWorkers(t, 1, 3)
	long := append(talk(1, 1), PrefixHash{Hash: 7, Bytes: 9000})
	first := w.do(Request{Identity: "a", PrefixHashes: long})
	w.finish(first, Usage{})
	other := w.do(Request{Identity: "a", PrefixHashes: append(talk(1, 1), PrefixHash{Hash: 8, Bytes: 1500})})
	if other.Slot == first.Slot {
		t.Error("took the slot of a long conversation for its system prompt")
	}
	w.finish(other, Usage{})
	// A short tail is worth less than the head that both share.
	third := w.do(Request{Identity: "a", PrefixHashes: append(talk(1, 1), PrefixHash{Hash: 9, Bytes: 1500})})
	if third.Slot != other.Slot {
		t.Error("read the shared head again to save a short tail")
	}
}

func TestTaintedSlotsBelongToNobody(t *testing.T) {
	w := withWorkers(t, 1, 1)
	j := w.say("a", 1, 1)
	w.s.Taint(j.Ticket)
	w.finish(j, Usage{})
	w.turn("a", 1, 3)
	if last := w.log[len(w.log)-1]; !slices.Equal(last.Erase, []int{0}) || last.Warm != 0 {
		t.Errorf("%+v: a tainted slot was used as it is", last)
	}
}

func TestRestartForgetsWarmKV(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.turn("a", 1, 1)
	w.Up(0, 2, "gpu")
	w.turn("a", 1, 3)
	if last := w.log[len(w.log)-1]; last.Warm != 0 || last.Kind != Swap {
		t.Errorf("%+v after a restart", last)
	}
}

// TestWarmKVIsNotWaitedFor: a conversation whose worker is taken runs cold on
// another.
func TestWarmKVIsNotWaitedFor(t *testing.T) {
	w := withWorkers(t, 2, 1)
	home, _ := w.turn("a", 1, 3)
	other := w.ask("b")
	if other.Worker == home {
		t.Fatal("b took the worker that was used last")
	}
	w.ask("a") // takes a's slot
	w.finish(other, Usage{})
	w.Pass(quick.ScaleOutAfter)
	j := w.say("a", 1, 5)
	w.Pass(quick.ScaleOutAfter)
	if j.Worker != other.Worker {
		t.Errorf("on worker %d: waits for its warm slot though another worker is free", j.Worker)
	}
}

// TestAConversationThatIsGoneIsCounted: llama-server says that it found nothing in a slot
// that was to hold the conversation. The slot holds it after that.
func TestAConversationThatIsGoneIsCounted(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.finish(w.say("a", 1, 1), Usage{Prompt: 100, Completion: 50})
	w.finish(w.say("a", 1, 2), Usage{Prompt: 250, Completion: 50})
	if c := w.s.Counts(); c.WarmHits != 1 || c.WarmGone != 1 {
		t.Errorf("counts %+v", c)
	}
	w.finish(w.say("a", 1, 3), Usage{Prompt: 400, Cached: 300, Completion: 50})
	if c := w.s.Counts(); c.WarmHits != 2 || c.WarmGone != 1 {
		t.Errorf("counts %+v after it came back", c)
	}
}

// TestAdjacentSlotsStayInOneRow: a newcomer runs beside what runs, even where that
// overwrites a conversation; where nothing runs it goes to a slot without use.
func TestAdjacentSlotsStayInOneRow(t *testing.T) {
	opts := quick
	opts.Adjacent = true
	w := newWorld(t, opts)
	w.Up(0, 4, "gpu")
	first := w.say("a", 1, 1)
	second := w.say("a", 2, 1)
	w.finish(second, Usage{Prompt: 100, Completion: 50})
	third := w.ask("a")
	if first.Slot != 0 || third.Slot != 1 {
		t.Errorf("in slots %d and %d: a second row begins", first.Slot, third.Slot)
	}
	w.finish(first, Usage{})
	w.finish(third, Usage{})
	if alone := w.say("a", 3, 1); alone.Slot != 2 {
		t.Errorf("in slot %d, though slot 2 has no use and no row is to be kept", alone.Slot)
	}
}
