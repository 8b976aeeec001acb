package proxy

import (
	"context"
	"net/http"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/rawjson"
)

// echoes tells what prompts say, to completions that repeat theirs.
type echoes struct {
	worker func() (pool.Runner, error) // any that is up
}

// read finds out what a request's prompts say, if its answer repeats them.
func (s *echoes) read(ctx context.Context, r *request) error {
	if r.Legacy == nil || !r.Legacy.Echo {
		return nil
	}
	prompts := r.Prompts
	if prompts == nil {
		key := r.API.Prompts[0]
		raw, given := r.Body.Raw(key)
		if !given {
			return httpkit.Invalid("prompt", "The field \"prompt\" is missing.")
		}
		prompts = [][]byte{raw}
	}
	for _, prompt := range prompts {
		text, err := s.text(ctx, r, prompt)
		if err != nil {
			return err
		}
		r.Legacy.Prompts = append(r.Legacy.Prompts, text)
	}
	return nil
}

// text returns what a prompt says, as the inside of a JSON string.
func (s *echoes) text(ctx context.Context, r *request, prompt []byte) ([]byte, error) {
	if list := rawjson.Elements(prompt); len(list) == 1 && list[0][0] != '-' && (list[0][0] < '0' || list[0][0] > '9') {
		prompt = list[0] // a list of one prompt is that prompt
	}
	if object, ok := rawjson.Scan(prompt); ok {
		prompt, _ = object.Raw("prompt_string")
	}
	if len(prompt) > 0 && prompt[0] == '"' {
		return rawjson.Inside(prompt), nil
	}
	tokens := rawjson.Elements(prompt)
	if len(tokens) == 0 || slices.ContainsFunc(tokens, func(t []byte) bool { return t[0] == '"' || t[0] == '[' }) {
		return nil, httpkit.Invalid("echo",
			"The field \"echo\" needs a prompt that is a string or a list of tokens, not both in one.")
	}
	return s.join(ctx, r, prompt)
}

// join has a worker put tokens together.
func (s *echoes) join(ctx context.Context, r *request, tokens []byte) ([]byte, error) {
	worker, err := s.worker()
	if err != nil {
		return nil, failure.FromPool(r.Model, err)
	}
	body := rawjson.Builder{}
	body.Member("tokens", tokens)
	resp, err := worker.Forward(ctx, "/detokenize", body.End())
	if err != nil {
		return nil, failure.WorkerDied(err)
	}
	defer resp.Body.Close()
	answer, err := relay.ReadAnswer(resp)
	if err != nil {
		return nil, failure.WorkerDied(err)
	}
	object, ok := rawjson.Scan(answer)
	text, told := object.Raw("content")
	if resp.Status != http.StatusOK || !ok || !told {
		return nil, failure.FromWorker(r.API.Asked(r.Body), resp.Status, answer)
	}
	return rawjson.Inside(text), nil
}
