package proxy

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// request is a completion request once it is understood.
type request struct {
	relay.Request
	endpoint *endpoint
	model    *catalog.Model // what the client's name of it stands for
}

// readFields looks up what decides how the request runs.
func (r *request) readFields() error {
	if _, err := r.Body.Decode("stream", &r.Stream); err != nil {
		return httpkit.Invalid("stream", "The field \"stream\" must be true or false.")
	}
	r.Choices = 1
	for _, key := range choiceKeys {
		n := 1.0
		if _, err := r.Body.Decode(key, &n); err != nil || n < 1 || n != math.Trunc(n) || n > math.MaxInt32 {
			return httpkit.Invalid(key, "The field %q must be a whole number of at least 1.", key)
		}
		r.Choices = max(r.Choices, int(n))
	}
	n := 0
	if r.Prompts, n = r.readPrompts(); n > maxPrompts {
		return httpkit.Invalid("prompt", "There are %d prompts, more than the %d that one request may have.", n,
			maxPrompts)
	}
	asked, _ := r.Body.Raw("return_progress")
	r.Progress = r.Stream && string(asked) != "true"
	r.Gathers = !r.Stream && r.API.FromStream(r.Body)
	tells, _ := r.Body.Path("stream_options", "include_usage")
	r.TellsUsage = r.Stream && r.API.Usage && string(tells) == "true"
	r.readKeepAlive()
	return r.readResponseFields()
}

// readKeepAlive takes in llama-server's own field for signs of life, in seconds. What is no number
// llama-server refuses.
func (r *request) readKeepAlive() {
	var seconds float64
	given, err := r.Body.Decode("sse_ping_interval", &seconds)
	switch {
	case !given || err != nil || seconds > math.MaxInt32:
	case seconds < 1:
		r.KeepAlive = -1
	default:
		r.KeepAlive = time.Duration(seconds) * time.Second
	}
}

// change edits the body.
func (r *request) change(edits ...rawjson.Edit) {
	r.Body, _ = rawjson.Scan(r.Body.Apply(edits...)) // an edited object stays one
}

// readLogprobs refuses what makes no sense of a chat's, and asks for one of the likeliest tokens
// where the client wants none: of none llama-server tells nothing at all.
func (r *request) readLogprobs() error {
	top, given := r.Body.Raw("top_logprobs")
	if !given {
		return nil
	}
	if asked, _ := r.Body.Raw("logprobs"); string(asked) != "true" {
		return httpkit.Invalid("top_logprobs", "The field \"top_logprobs\" needs \"logprobs\" to be true.")
	}
	if n, err := strconv.ParseFloat(string(top), 64); err == nil && n == 0 {
		r.Topped = true
		r.change(rawjson.Edit{Key: "top_logprobs", Value: []byte("1")})
	}
	return nil
}

// choiceKeys ask for several answers to one prompt. llama-server runs the
// second and further ones in slots that it picks by itself, over whatever KV
// cache those hold.
var choiceKeys = []string{"n", "n_cmpl"}

// maxPrompts bounds the prompts of one request: llama-server makes a task of each at
// once, which takes about 130 kB.
const maxPrompts = 128

// readPrompts returns the prompts of a request that has several, and how many there
// are: of too many only the first.
func (r *request) readPrompts() (list [][]byte, n int) {
	raw, ok := r.Body.Raw("prompt")
	if !ok || raw[0] != '[' || !r.endpoint.hasPrompt() {
		return nil, 0
	}
	rawjson.Each(raw, func(prompt, _ []byte) bool {
		if n++; prompt[0] != '"' && prompt[0] != '[' && prompt[0] != '{' {
			list, n = nil, 0 // numbers are tokens, and strings beside them text, of one prompt
			return false
		}
		if n <= maxPrompts {
			list = append(list, prompt)
		}
		return true
	})
	if n < 2 {
		return nil, 0
	}
	return list, n
}

// maxFields bounds the list of fields that a client asks for, in bytes.
const maxFields = 64 << 10

// readResponseFields sees to it that the timings, and what tells the end of a stream, are
// among the fields of the answer that the client asks for. Answers that are put together
// here are had with all.
func (r *request) readResponseFields() error {
	if raw, _ := r.Body.Raw("response_fields"); len(raw) > maxFields {
		return httpkit.Invalid("response_fields", "The field \"response_fields\" is longer than %d bytes.", maxFields)
	}
	if r.Fields = responseFields(r.Body); len(r.Fields) == 0 || r.Gathers {
		return nil
	}
	for _, key := range []string{tally.Timings, whole.StopKey} {
		if !slices.Contains(r.Fields, key) {
			r.Hidden = append(r.Hidden, key)
		}
	}
	text, err := json.Marshal(slices.Concat(r.Fields, r.Hidden))
	if err != nil {
		return err
	}
	r.Body, err = rawjson.Parse(r.Body.Apply(rawjson.Edit{Key: "response_fields", Value: text}))
	return err
}

// responseFields are the fields of the answer that a client asks for; nil is all. What is no list of
// names asks for nothing, as to llama-server.
func responseFields(body rawjson.Object) []string {
	raw, given := body.Raw("response_fields")
	if !given {
		return nil
	}
	names, plain := []string{}, true
	isList := rawjson.Each(raw, func(name, _ []byte) bool {
		plain = name[0] == '"'
		names = append(names, rawjson.Text(name))
		return plain
	})
	if !isList || !plain {
		return nil
	}
	return names
}

// place says what the pool is asked for.
func (r *request) place(principal *auth.Principal) {
	r.Target = r.model.Target
	r.Place = pool.Request{Target: targetOf(r.model), Namespace: principal.Namespace(), Exclusive: r.Choices > 1}
	r.Place.NamespaceWeight, r.Place.Priority = principal.Share()
	if r.model.Adhoc {
		r.Place.Turn = r.Place.Namespace // of what it makes up, a tenant has one turn
	}
}

// targetOf returns what must be in force for a model.
func targetOf(m *catalog.Model) pool.Target {
	t := pool.Target{
		Identity: pool.Identity(m.Identity()), Weight: m.Weight, MaxConcurrency: m.MaxConcurrency,
	}
	for _, part := range m.Parts {
		t.Parts = append(t.Parts, pool.Part{Path: part.Version.Path, Scale: part.Scale})
	}
	return t
}
