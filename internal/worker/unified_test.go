package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// The facts that correct answers lean on when slots share one KV buffer (UnifiedKV).

const (
	unifiedSlots   = 4
	unifiedContext = 256 // tokens of a slot; llama.cpp pads to as much
)

// unifiedServer is a raw llama-server with two adapters that runs as a worker with
// UnifiedKV does; more may say otherwise.
func unifiedServer(t *testing.T, more ...string) *llamatest.Server {
	t.Helper()
	files := llamatest.Adapters()
	args := append([]string{"--parallel", fmt.Sprint(unifiedSlots), "--ctx-size",
		fmt.Sprint(unifiedSlots * unifiedContext),
		"--kv-unified", UnifiedFlag, fmt.Sprint(unifiedContext), "--cache-ram", "0"}, more...)
	return llamatest.Start(t, []string{files["coding"], files["legal"]}, args...)
}

// longPrompt is a prompt of about that many tokens, which begins with its number, so
// that no two share a prefix.
func longPrompt(t *testing.T, s *llamatest.Server, number, tokens int) string {
	t.Helper()
	word := " rain falls on the roof"
	prompt := fmt.Sprintf("%d:%s", number, strings.Repeat(word, tokens))
	var cut struct{ Tokens []int }
	s.Must(t, http.MethodPost, "/tokenize", object{"content": prompt}, &cut)
	var text struct{ Content string }
	s.Must(t, http.MethodPost, "/detokenize", object{"tokens": cut.Tokens[:tokens]}, &text)
	return text.Content
}

// fill leaves a prompt of that many tokens in a slot.
func fill(t *testing.T, s *llamatest.Server, slot, tokens int) object {
	t.Helper()
	body := object{"prompt": longPrompt(t, s, slot, tokens), "n_predict": 1, "id_slot": slot,
		"lora": lora(float64(slot%2), 1), "cache_prompt": true}
	complete(t, s, body)
	return body
}

func TestFactUnifiedEraseFreesAndForgets(t *testing.T) {
	s := unifiedServer(t)
	bodies := make([]object, unifiedSlots)
	for slot := range bodies { // the buffer is nearly full now
		bodies[slot] = fill(t, s, slot, unifiedContext-20)
	}
	if p := complete(t, s, bodies[0]); p.Timings.Cached == 0 {
		t.Fatal("nothing of a slot's own prompt is reused, so nothing would be tested")
	}
	s.Must(t, http.MethodPost, "/slots/0?action=erase", nil, nil)
	if p := complete(t, s, bodies[0]); p.Timings.Cached != 0 {
		t.Errorf("%d tokens of an erased slot were reused", p.Timings.Cached)
	}
	// What was erased is free: filling the slot again took nothing from the others.
	for slot := 1; slot < unifiedSlots; slot++ {
		if p := complete(t, s, bodies[slot]); p.Timings.Cached == 0 {
			t.Errorf("slot %d lost its prompt, though the buffer had room", slot)
		}
	}
}

// TestFactUnifiedSlotsReadTheirOwnTokens runs the same prompt in all slots at once,
// after they were filled with others, one adapter after the other.
func TestFactUnifiedSlotsReadTheirOwnTokens(t *testing.T) {
	s := unifiedServer(t)
	base, zero, one := answers(t, s)
	for slot := range unifiedSlots {
		fill(t, s, slot, 100)
	}
	for name, c := range map[string]struct {
		lora []object
		want probed
	}{"base": {lora(0, 0), base}, "zero": {lora(0, 1), zero}, "one": {lora(1, 1), one}} {
		got := make([]probed, unifiedSlots)
		var group sync.WaitGroup
		for slot := range got {
			group.Go(func() { got[slot] = complete(t, s, object{"id_slot": slot, "lora": c.lora, "cache_prompt": true}) })
		}
		group.Wait()
		for slot, p := range got {
			if p.Content != c.want.Content {
				t.Errorf("%s in slot %d: got %q, want %q", name, slot, p.Content, c.want.Content)
			}
		}
	}
}

func TestFactUnifiedContextLimitHoldsForEachSlot(t *testing.T) {
	s := unifiedServer(t)
	status, answer, err := s.Do(http.MethodPost, "/completion",
		object{"prompt": longPrompt(t, s, 0, unifiedContext+1), "n_predict": 1})
	if err != nil {
		t.Fatal(err)
	}
	var refused struct {
		Error struct {
			Type    string
			Context int `json:"n_ctx"`
		}
	}
	if err := json.Unmarshal(answer, &refused); err != nil {
		t.Fatal(err)
	}
	if status != http.StatusBadRequest || refused.Error.Type != "exceed_context_size_error" ||
		refused.Error.Context != unifiedContext {
		t.Errorf("a prompt longer than a slot's context: status %d, %s", status, answer)
	}
}

// TestFactUnifiedFullBufferEndsNobody fills every slot to its limit at once: the
// buffer is exactly full, and everybody gets as much as alone.
func TestFactUnifiedFullBufferEndsNobody(t *testing.T) {
	s := unifiedServer(t)
	const prompt = 100
	ends := make([]struct {
		StopType  string `json:"stop_type"`
		Predicted int    `json:"tokens_predicted"`
		Evaluated int    `json:"tokens_evaluated"`
		Truncated bool
	}, unifiedSlots)
	bodies := make([]object, unifiedSlots)
	for slot := range bodies {
		bodies[slot] = object{"prompt": longPrompt(t, s, slot, prompt), "n_predict": unifiedContext, "ignore_eos": true,
			"id_slot": slot, "lora": lora(0, 1), "temperature": 0}
	}
	var group sync.WaitGroup
	for slot := range ends {
		group.Go(func() { s.Must(t, http.MethodPost, "/completion", bodies[slot], &ends[slot]) })
	}
	group.Wait()
	for slot, e := range ends {
		if total := e.Predicted + e.Evaluated; e.StopType != "limit" || total < unifiedContext-1 || total > unifiedContext+1 {
			t.Errorf("slot %d ended by %q after %d tokens, its context is %d", slot, e.StopType, total, unifiedContext)
		}
	}
}

// TestFactUnifiedOverfullBufferPurgesIdleSlots shows what a smaller buffer would do,
// which the gateway never makes: a conversation is gone, its answer is right.
func TestFactUnifiedOverfullBufferPurgesIdleSlots(t *testing.T) {
	s := unifiedServer(t, "--ctx-size", fmt.Sprint(2*unifiedContext))
	bodies := make([]object, unifiedSlots)
	for slot := range bodies {
		bodies[slot] = fill(t, s, slot, unifiedContext-20)
	}
	cold := complete(t, s, object{"prompt": bodies[0]["prompt"], "lora": bodies[0]["lora"], "id_slot": 3,
		"cache_prompt": false, "n_predict": 1})
	again := complete(t, s, bodies[0])
	if again.Timings.Cached != 0 {
		t.Errorf("slot 0 kept %d tokens in a buffer for two slots in which four were filled", again.Timings.Cached)
	}
	if again.Content != cold.Content { // probabilities depend a little on the place in the buffer
		t.Errorf("after a purge: %q, computed cold: %q", again.Content, cold.Content)
	}
}
