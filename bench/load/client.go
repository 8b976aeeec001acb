package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

// Base is the index of the plain base model where an adapter's is asked for.
const Base = -1

// Message is one turn of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Request is one chat request: greedy and streamed.
type Request struct {
	Adapter   int // position in the list of adapters, or Base
	Messages  []Message
	MaxTokens int
	// UntilEnd lets the model end its answer; otherwise it has MaxTokens tokens.
	UntilEnd bool
	// NoCache has the whole prompt computed, whatever a slot holds.
	NoCache bool
	// Fields are added to the body, such as "id_slot".
	Fields map[string]any
}

// Result is what came of one request.
type Result struct {
	TTFT    time.Duration // from sending to the first token; 0 if none came
	Latency time.Duration // from sending to the end
	// Arrivals are the times since sending at which text came, one for each
	// event. An event is a token, save where a character takes several.
	Arrivals []time.Duration

	Tokens   int     // generated
	Computed int     // tokens of the prompt that were computed
	Cached   int     // tokens of the prompt that came from a slot's KV cache
	PromptMS float64 // llama-server's own time for the prompt

	Text   string
	Worker string // the gateway's worker; "" on a raw server
	Err    error  // what the other fields say is incomplete then
}

// Chat makes a request and blocks until its answer has ended.
func (s *Server) Chat(ctx context.Context, r Request) Result {
	body := s.address(r.Adapter)
	body["messages"] = r.Messages
	body["max_tokens"] = r.MaxTokens
	body["temperature"] = 0
	body["ignore_eos"] = !r.UntilEnd
	body["stream"] = true
	body["stream_options"] = map[string]any{"include_usage": true}
	if r.NoCache {
		body["cache_prompt"] = false
	}
	maps.Copy(body, r.Fields)
	var res Result
	text, err := json.Marshal(body)
	if err != nil {
		res.Err = err
		return res
	}
	begun := time.Now()
	res.Err = s.stream(ctx, text, begun, &res)
	res.Latency = time.Since(begun)
	return res
}

// stream fills res from one streamed answer.
func (s *Server) stream(ctx context.Context, body []byte, begun time.Time, res *Result) error {
	resp, err := s.open(ctx, http.MethodPost, "/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	res.Worker = resp.Header.Get("X-Worker")
	if resp.StatusCode != http.StatusOK {
		return statusError(resp)
	}
	var b strings.Builder
	finished := false
	err = events(resp.Body, func(data []byte) error {
		var c chunk
		if err := json.Unmarshal(data, &c); err != nil {
			return fmt.Errorf("event %q: %w", data, err)
		}
		if len(c.Error) > 0 {
			return fmt.Errorf("the stream ended with an error: %s", c.Error)
		}
		if text, ok := c.text(); ok {
			res.Arrivals = append(res.Arrivals, time.Since(begun))
			b.WriteString(text)
		}
		if c.Timings != nil {
			finished = true
			res.Tokens, res.Computed, res.Cached = c.Timings.PredictedN, c.Timings.PromptN, c.Timings.CacheN
			res.PromptMS = c.Timings.PromptMS
		}
		return nil
	})
	res.Text = b.String()
	if len(res.Arrivals) > 0 {
		res.TTFT = res.Arrivals[0]
	}
	switch {
	case err != nil:
		return err
	case !finished:
		return errors.New("the stream has no timings: not a llama-server?")
	case res.TTFT == 0:
		return errors.New("the stream has no text")
	}
	return nil
}

// chunk is one event of a streamed chat completion of llama-server.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content   *string `json:"content"`
			Reasoning *string `json:"reasoning_content"`
		} `json:"delta"`
	} `json:"choices"`
	Timings *struct {
		CacheN     int     `json:"cache_n"`
		PromptN    int     `json:"prompt_n"`
		PromptMS   float64 `json:"prompt_ms"`
		PredictedN int     `json:"predicted_n"`
	} `json:"timings"`
	Error json.RawMessage `json:"error"`
}

// text returns the text in the chunk. The first chunk has none: its content is
// null and no token stands behind it.
func (c *chunk) text() (string, bool) {
	if len(c.Choices) == 0 {
		return "", false
	}
	switch d := c.Choices[0].Delta; {
	case d.Content != nil:
		return *d.Content, true
	case d.Reasoning != nil:
		return *d.Reasoning, true
	}
	return "", false
}

// Call makes one request that is not streamed and has to succeed. The answer is
// decoded into reply unless that is nil.
func (s *Server) Call(ctx context.Context, method, path string, body, reply any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := s.open(ctx, method, path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp)
	}
	if reply == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(reply)
}

func (s *Server) open(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	// Not sent; it has another connection tried where llama-server closed this one.
	req.Header["Idempotency-Key"] = nil
	return s.http.Do(req)
}

func statusError(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
	return fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text))
}
