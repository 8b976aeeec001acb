//go:build conformance

package conformance

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/randgguf"
)

// windowed starts a server whose model has a sliding window, with two adapters: of such
// a model llama-server keeps checkpoints, from which it goes on where a prompt's
// beginning is known.
func windowed(t *testing.T, more ...string) *llamatest.Server {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "base.gguf")
	if err := randgguf.WriteBase(base, randgguf.GemmaTiny, 1); err != nil {
		t.Fatal(err)
	}
	var adapters []string
	for i, name := range []string{"one.gguf", "two.gguf"} {
		path := filepath.Join(dir, name)
		if err := randgguf.WriteAdapter(path, randgguf.GemmaTiny, 8, 16, uint64(i+2)); err != nil {
			t.Fatal(err)
		}
		adapters = append(adapters, path)
	}
	args := []string{"--model", base, "--lora", strings.Join(adapters, ","), "--slot-save-path", dir, "--cache-ram", "0",
		"--parallel", "2", "--ctx-size", "4096", "--checkpoint-min-step", "64", "--batch-size", "128", "--ubatch-size", "128"}
	return llamatest.StartPlain(t, append(args, more...)...)
}

// told is what an answer of a windowed server tells.
type told struct {
	Content string
	Timings struct {
		Cached int `json:"cache_n"`
	}
}

func tell(t *testing.T, s *llamatest.Server, slot, adapter int, prompt string, cached bool) told {
	t.Helper()
	var answer told
	s.Must(t, http.MethodPost, "/completion", object{
		"prompt": prompt, "n_predict": 12, "temperature": 0, "ignore_eos": true,
		"id_slot": slot, "lora": lora(adapter, 1), "cache_prompt": cached,
	}, &answer)
	return answer
}

// TestCheckpointsOfASlidingWindowKeepToTheirAdapter: neither after an erase nor after a
// change of adapter does a slot go on from a checkpoint of another adapter.
func TestCheckpointsOfASlidingWindowKeepToTheirAdapter(t *testing.T) {
	for name, kv := range map[string][]string{"split": {"--no-kv-unified"},
		"unified": {"--kv-unified", "--kv-unified-per-slot", "2048"}} {
		t.Run(name, func(t *testing.T) {
			s := windowed(t, kv...)
			beginning := strings.Repeat("the rain falls on the roof and the wind blows ", 40)
			first, second := beginning+"one", beginning+"two"
			var cold [2]string
			for adapter := range cold {
				cold[adapter] = tell(t, s, 1, adapter, second, false).Content
			}
			if cold[0] == cold[1] {
				t.Fatal("the adapters make no difference, so nothing would be tested")
			}
			// A slot of the same adapter goes on from a checkpoint, rightly.
			tell(t, s, 0, 0, first, false)
			if again := tell(t, s, 0, 0, second, true); again.Timings.Cached == 0 || again.Content != cold[0] {
				t.Errorf("the same adapter: %d tokens reused, answer %q, cold %q", again.Timings.Cached, again.Content, cold[0])
			}
			tell(t, s, 0, 0, first, false)
			if changed := tell(t, s, 0, 1, second, true); changed.Timings.Cached != 0 || changed.Content != cold[1] {
				t.Errorf("after a change: %d tokens reused, answer %q, cold %q", changed.Timings.Cached, changed.Content, cold[1])
			}
			tell(t, s, 0, 0, first, false)
			s.Must(t, http.MethodPost, "/slots/0?action=erase", nil, nil)
			if erased := tell(t, s, 0, 1, second, true); erased.Timings.Cached != 0 || erased.Content != cold[1] {
				t.Errorf("after an erase: %d tokens reused, answer %q, cold %q", erased.Timings.Cached, erased.Content, cold[1])
			}
		})
	}
}
