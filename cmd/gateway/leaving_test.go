package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gateway"
)

// TestWhoLeavesAnAnswerThatIsHadWhole: llama-server streams a chat's probabilities not in
// full, so it is had whole, and who leaves is noticed late. The worker goes on all the
// same, and its slot is free at the end.
func TestWhoLeavesAnAnswerThatIsHadWhole(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 1))
	url, pid := g.adminURL(), g.workerPIDs(1)[0]
	steps := func() int { return g.metric(url, `llamacpp:n_decode_total{worker="0"}`) }
	for _, more := range []string{`,"logprobs":true`, `,"n_probs":2`, `,"verbose":true`} {
		begun := steps()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		left := make(chan error)
		go func() {
			body := chat("coding", "Tell me everything", more+`,"max_tokens":900,"ignore_eos":true`)
			req, err := http.NewRequestWithContext(ctx, "POST", g.url+chatPath, strings.NewReader(body))
			if err == nil {
				_, err = http.DefaultClient.Do(req)
			}
			left <- err
		}()
		for steps() < begun+5 {
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if status, text := g.post(chatPath, chat("coding", "hi", `,"max_tokens":4`)); status != 200 || !gateway.Runs(pid) {
			t.Errorf("%s: afterwards %d %.300s", more, status, text)
		}
	}
	if state, err := adminState(url); err != nil || state.Workers[0].PID != pid {
		t.Errorf("the worker was replaced: %+v, %v", state.Workers, err)
	}
}
