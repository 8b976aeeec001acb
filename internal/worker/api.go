package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/upstream"
)

// maxReply bounds what is read of an answer to one of our own calls.
const maxReply = 8 << 20

// Part is one adapter's share of what is in force: its file, as in
// Options.Adapters, and the factor it is applied with.
type Part struct {
	Path  string
	Scale float64
}

// Facts are what a worker tells of its model. The zero value knows nothing.
type Facts struct {
	Context int      // tokens of one slot
	Inputs  []string // what it reads: "text", and with a projector "image", "audio" or "video"
	Props   []byte   // its answer to GET /props, a JSON object; nil if it gave none
	// Template is that of its chats.
	Template string
}

// readFacts asks for them. A llama-server that does not tell serves all the same.
func (w *Worker) readFacts(ctx context.Context) Facts {
	var props struct {
		Settings struct {
			Context int `json:"n_ctx"`
		} `json:"default_generation_settings"`
		Modalities struct{ Vision, Audio, Video bool }
		Template   string `json:"chat_template"`
	}
	var raw json.RawMessage
	err := w.call(ctx, http.MethodGet, "/props", nil, &raw)
	if err == nil {
		err = json.Unmarshal(raw, &props)
	}
	if err != nil {
		w.opts.Log.Debug("llama-server does not tell of its model", "worker", w.opts.Name, "error", err)
		return Facts{}
	}
	f := Facts{
		Context: props.Settings.Context, Inputs: []string{"text"}, Props: raw, Template: props.Template,
	}
	if props.Modalities.Vision {
		f.Inputs = append(f.Inputs, "image")
	}
	if props.Modalities.Audio {
		f.Inputs = append(f.Inputs, "audio")
	}
	if props.Modalities.Video {
		f.Inputs = append(f.Inputs, "video")
	}
	return f
}

// Facts returns what the worker told of its model when it was ready. The slice must
// not be changed.
func (w *Worker) Facts() Facts { return w.facts }

// scale is a Part in llama-server's words.
type scale struct {
	ID    int     `json:"id"`
	Scale float64 `json:"scale"`
}

// Apply puts exactly the given adapters in force for requests that name none
// themselves; all others are set to 0, so no parts leave the plain base. An
// adapter that the worker does not hold is an error. llama-server does it
// between two decoding steps.
func (w *Worker) Apply(ctx context.Context, parts []Part) error {
	scales, err := w.scales(parts)
	if err != nil {
		return err
	}
	if err := w.call(ctx, http.MethodPost, "/lora-adapters", scales, nil); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// LoRA returns the `lora` field, as JSON, that makes one request run under
// exactly the given adapters, whatever is in force. For the plain base it names
// adapter 0 at scale 0: an empty list would mean "what is in force".
func (w *Worker) LoRA(parts []Part) ([]byte, error) {
	scales, err := w.scales(parts)
	if err != nil {
		return nil, err
	}
	if len(scales) == 0 {
		scales = []scale{{ID: 0, Scale: 0}}
	}
	return json.Marshal(scales)
}

// scales looks the parts' ids up: llama-server takes one that does not exist
// for success and answers as the base.
func (w *Worker) scales(parts []Part) ([]scale, error) {
	scales := make([]scale, len(parts))
	for i, p := range parts {
		id := slices.Index(w.opts.Adapters, p.Path)
		if id < 0 {
			return nil, fmt.Errorf("worker %s does not hold the adapter %s", w.opts.Name, p.Path)
		}
		scales[i] = scale{ID: id, Scale: p.Scale}
	}
	return scales, nil
}

// Erase drops a slot's KV cache. It blocks while the slot is generating.
func (w *Worker) Erase(ctx context.Context, slot int) error {
	path := fmt.Sprintf("/slots/%d?action=erase", slot)
	if err := w.call(ctx, http.MethodPost, path, nil, nil); err != nil {
		return fmt.Errorf("erase slot %d: %w", slot, err)
	}
	return nil
}

// Work is what a slot is doing, in tokens.
type Work struct {
	Busy       bool
	Prompt     int // read, the cached ones included
	Cached     int
	Completion int // generated
}

// Slots tells what each slot is doing, by its number. The answer comes from
// llama-server's main loop, between two decoding steps: one that does not come
// is a server that makes no progress, however healthy /health says it is.
func (w *Worker) Slots(ctx context.Context) ([]Work, error) {
	var slots []struct {
		ID         int  `json:"id"`
		Processing bool `json:"is_processing"`
		Read       int  `json:"n_prompt_tokens_processed"`
		Cached     int  `json:"n_prompt_tokens_cache"`
		Next       []struct {
			Decoded int `json:"n_decoded"`
		} `json:"next_token"`
	}
	if err := w.call(ctx, http.MethodGet, "/slots", nil, &slots); err != nil {
		return nil, fmt.Errorf("slots: %w", err)
	}
	work := make([]Work, w.opts.Slots)
	for _, s := range slots {
		if s.ID < 0 || s.ID >= len(work) {
			continue
		}
		work[s.ID] = Work{Busy: s.Processing, Prompt: s.Read + s.Cached, Cached: s.Cached}
		if len(s.Next) > 0 {
			work[s.ID].Completion = s.Next[0].Decoded
		}
	}
	return work, nil
}

// Token is one token of an answer.
type Token struct {
	ID      int     `json:"id"`
	LogProb float64 `json:"logprob"`
	// Top are the likeliest tokens at this place, likeliest first.
	Top []struct {
		ID      int     `json:"id"`
		LogProb float64 `json:"logprob"`
	} `json:"top_logprobs"`
}

// Probe is one greedy request on a slot, for tests of llama-server itself.
type Probe struct {
	Prompt string
	Tokens int // to generate, at most
	Slot   int
	Parts  []Part
	Cold   bool // compute the whole prompt, whatever the slot's KV cache holds
	// InForce runs it under what is in force instead of Parts, which is what the
	// gateway never does.
	InForce bool
}

// Complete runs a probe and blocks until its answer is whole.
func (w *Worker) Complete(ctx context.Context, probe Probe) ([]Token, error) {
	lora, err := w.LoRA(probe.Parts)
	if err != nil {
		return nil, err
	}
	request := map[string]any{
		"prompt": probe.Prompt, "n_predict": probe.Tokens, "id_slot": probe.Slot,
		"lora": json.RawMessage(lora), "cache_prompt": !probe.Cold,
		"temperature": 0, "n_probs": 2, "stream": false,
	}
	if probe.InForce {
		delete(request, "lora")
	}
	var reply struct {
		Tokens []Token `json:"completion_probabilities"`
	}
	if err := w.call(ctx, http.MethodPost, "/completion", request, &reply); err != nil {
		return nil, fmt.Errorf("completion: %w", err)
	}
	return reply.Tokens, nil
}

// Forward posts a JSON body to path and returns the answer as it comes; the
// caller closes its body. Ending ctx cancels the work in llama-server.
func (w *Worker) Forward(ctx context.Context, path string, body []byte) (*upstream.Response, error) {
	return w.client.Do(ctx, http.MethodPost, path, body)
}

// Metrics returns llama-server's own metrics, in Prometheus' text format.
func (w *Worker) Metrics(ctx context.Context) ([]byte, error) {
	return w.fetch(ctx, http.MethodGet, "/metrics", nil)
}

// call makes one of the gateway's own requests and decodes the answer into
// reply unless that is nil.
func (w *Worker) call(ctx context.Context, method, path string, body, reply any) error {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	text, err := w.fetch(ctx, method, path, payload)
	if err != nil || reply == nil {
		return err
	}
	return json.Unmarshal(text, reply)
}

// fetch makes one request and returns the whole answer.
func (w *Worker) fetch(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	resp, err := w.client.Do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fmt.Errorf("llama-server refused %s %s: status %d: %s", method, path, resp.Status,
			strings.TrimSpace(string(text)))
	}
	return text, nil
}
