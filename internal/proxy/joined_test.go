package proxy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/pool"
)

// streamOf asks for the stream of answers to several prompts, each one an order to the
// fake worker.
func streamOf(orders ...string) string {
	return fmt.Sprintf(`{"model":"coding","stream":true,"prompt":["%s"]}`, strings.Join(orders, `","`))
}

// TestStreamedPromptsRunOneByOne looks at the events of a stream that pieces make up.
func TestStreamedPromptsRunOneByOne(t *testing.T) {
	t.Parallel()
	const (
		done    = "[DONE]"
		failure = `"code":null}}`
	)
	once := func() string { return "die-once=" + filepath.Join(t.TempDir(), "died") }
	for name, c := range map[string]struct {
		orders []string
		want   []string // what the events contain
		fails  bool
	}{
		"all of them": {[]string{"chunks=1", "chunks=2", "chunks=1"},
			[]string{`"index":0`, `"index":1`, `"index":1`, `"index":2`, done}, false},
		"a worker that dies": {[]string{"chunks=1", once() + " chunks=1"}, []string{`"index":0`, `"index":1`, done},
			false},
		"one that dies midway": {[]string{"chunks=1", "die-at=1", "chunks=1"},
			[]string{`"index":0`, `"index":1`, `worker_died`}, true},
		"a later one is refused": {[]string{"chunks=2", "refuse=400", "chunks=1"},
			[]string{`"index":0`, `"index":0`, `"context_length_exceeded"`}, true},
		"a later one fails": {[]string{"chunks=1", "fail-at=1", "chunks=1"},
			[]string{`"index":0`, `"index":1`, failure}, true},
		"a later one fails first": {[]string{"chunks=1", "fail-at=0"}, []string{`"index":0`, failure}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			resp, text := s.post("/v1/completions", streamOf(c.orders...))
			list := events(t, strings.NewReader(text))
			if resp.StatusCode != 200 || len(list) != len(c.want) {
				t.Fatalf("%d, events: %q", resp.StatusCode, list)
			}
			for i, part := range c.want {
				if !strings.Contains(list[i], part) {
					t.Errorf("event %d: %s, want %s", i, list[i], part)
				}
			}
			if line := s.access(resp.Header.Get("X-Request-Id")); (line["error"] != nil) != c.fails {
				t.Errorf("the log says %v", line)
			}
		})
	}
	t.Run("the first is refused", func(t *testing.T) {
		t.Parallel()
		resp, text := start(t, nil).post("/v1/completions", streamOf("refuse=400", "chunks=1"))
		if resp.StatusCode != 400 || !strings.Contains(text, "context_length_exceeded") {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	})
}

// TestWhoLeavesStreamedPromptsStopsThem: no prompt begins behind the one that ran.
func TestWhoLeavesStreamedPromptsStopsThem(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots = 1 })
	later := filepath.Join(t.TempDir(), "later")
	head := llamatest.LeaveAt(t, s.url+"/v1/completions", streamOf("chunks=1", "idle=1", "die-once="+later), `"index":1`)
	if line := s.access(head.Get("X-Request-Id")); line["status"] != 499.0 {
		t.Errorf("the log says %v", line)
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
	if resp, text := s.post("/v1/completions", streamOf("chunks=1", "chunks=1")); resp.StatusCode != 200 ||
		!strings.Contains(text, "[DONE]") {
		t.Errorf("afterwards: %d %s", resp.StatusCode, text)
	}
	if _, err := os.Stat(later); err == nil {
		t.Error("a prompt ran behind the one that was left")
	}
}
