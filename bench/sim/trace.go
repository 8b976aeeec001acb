package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// Request is one arrival of a trace.
type Request struct {
	At           Seconds `json:"at"` // since the start
	Stream       string  `json:"stream,omitempty"`
	Adapter      string  `json:"adapter"`
	Bytes        int64   `json:"bytes,omitempty"` // of the adapter's file
	PromptTokens int     `json:"prompt_tokens"`   // the whole prompt, earlier turns included
	AnswerTokens int     `json:"answer_tokens"`
	// Conversation tells conversations apart; none is a request that continues
	// nothing. Turn counts from 0.
	Conversation   string  `json:"conversation,omitempty"`
	Turn           int     `json:"turn,omitempty"`
	Tenant         string  `json:"tenant,omitempty"`
	TenantWeight   float64 `json:"tenant_weight,omitempty"` // 0 is 1
	Priority       int     `json:"priority,omitempty"`
	Weight         float64 `json:"weight,omitempty"` // 0 is 1
	MaxConcurrency int     `json:"max_concurrency,omitempty"`
	Whole          bool    `json:"whole,omitempty"` // needs a worker for itself
	// CancelAfter is when the client goes away, since its arrival; 0 is never.
	CancelAfter Seconds `json:"cancel_after,omitempty"`

	client int // of a closed loop, from 1; 0 is none
}

// weight is the request's share, never 0.
func (r *Request) weight() float64 {
	if r.Weight <= 0 {
		return 1
	}
	return r.Weight
}

// WriteTrace writes requests as a JSON array.
func WriteTrace(w io.Writer, trace []Request) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(trace)
}

// ReadTrace reads what WriteTrace wrote, or what a gateway recorded. It refuses
// unknown fields, empty answers and times that are negative.
func ReadTrace(r io.Reader) ([]Request, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var trace []Request
	if err := d.Decode(&trace); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return trace, checkTrace(trace)
}

func checkTrace(trace []Request) error {
	for i, r := range trace {
		if r.At < 0 || r.CancelAfter < 0 || r.AnswerTokens < 1 || r.PromptTokens < 0 {
			return fmt.Errorf("trace: request %d: at, cancel_after and prompt_tokens must not be negative, "+
				"answer_tokens must be positive", i)
		}
	}
	return nil
}

// replay is a source that plays a trace, in order of its times.
type replay struct {
	rest []Request
}

func newReplay(trace []Request) *replay {
	sorted := slices.Clone(trace)
	slices.SortStableFunc(sorted, func(a, b Request) int {
		return int(a.At.time() - b.At.time())
	})
	return &replay{rest: sorted}
}

func (r *replay) first() []Request { return r.next(Request{}) }

func (r *replay) next(Request) []Request {
	if len(r.rest) == 0 {
		return nil
	}
	head := r.rest[0]
	r.rest = r.rest[1:]
	return []Request{head}
}

func (r *replay) ended(Request, sched.Time) (Request, bool) { return Request{}, false }

// relay is a source that hands a trace to clients, each of whom takes the next
// request when its last one has ended.
type relay struct {
	rest    []Request
	clients int
}

func (r *relay) first() (list []Request) {
	for range r.clients {
		if next, ok := r.ended(Request{}, 0); ok {
			list = append(list, next)
		}
	}
	return list
}

func (r *relay) next(Request) []Request { return nil }

func (r *relay) ended(_ Request, now sched.Time) (Request, bool) {
	if len(r.rest) == 0 {
		return Request{}, false
	}
	head := r.rest[0]
	r.rest = r.rest[1:]
	head.At = seconds(now)
	return head, true
}
