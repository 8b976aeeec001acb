package worker

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWorkersHaveNoTokens looks at the environment of a worker's process, as
// everybody of the same account could.
func TestWorkersHaveNoTokens(t *testing.T) {
	for _, name := range []string{"GATEWAY_ADMIN_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SOME_OTHER"} {
		t.Setenv(name, "of-the-gateway")
	}
	t.Setenv("CUDA_VISIBLE_DEVICES", "3")
	opts := fakeOptions(t)
	opts.Env = []string{"CUDA_MPS_PIPE_DIRECTORY=/pipe"}
	w, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.PID()))
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(string(text), "\x00")
	for _, kv := range []string{"CUDA_VISIBLE_DEVICES=3", "CUDA_MPS_PIPE_DIRECTORY=/pipe", "LLAMA_API_KEY=" + w.key,
		"PATH=" + os.Getenv("PATH")} {
		if !slices.Contains(env, kv) {
			t.Errorf("%s is not in %q", kv, env)
		}
	}
	if strings.Contains(string(text), "of-the-gateway") {
		t.Errorf("%q has what is the gateway's", env)
	}
}
