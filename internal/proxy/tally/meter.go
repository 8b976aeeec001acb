package tally

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/loragate/loragate/internal/pool"
)

// Metered is a worker that tells its metrics, as llama-server writes them.
type Metered interface {
	Metrics(ctx context.Context) ([]byte, error)
}

// Meter reads a worker's own counters, which count what one request takes while
// it has the worker whole.
func Meter(ctx context.Context, w Metered) (u pool.Usage, err error) {
	text, err := w.Metrics(ctx)
	if err != nil {
		return u, err
	}
	read := func(name string) int {
		_, rest, found := bytes.Cut(text, []byte("\nllamacpp:"+name+" "))
		value, _, _ := bytes.Cut(rest, []byte("\n"))
		n, bad := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		if (!found || bad != nil) && err == nil {
			err = fmt.Errorf("llama-server's metrics have no %s", name)
		}
		return int(n)
	}
	u.Cached = read("prompt_tokens_cached_total")
	u.Prompt, u.Completion = read("prompt_tokens_total")+u.Cached, read("tokens_predicted_total")
	return u, err
}

// Since is what a meter has counted from one reading to the next.
func Since(before, now pool.Usage) pool.Usage {
	return pool.Usage{Prompt: now.Prompt - before.Prompt, Cached: now.Cached - before.Cached,
		Completion: now.Completion - before.Completion}
}
