// Package legacy makes the answers of OpenAI's older API, /v1/completions, what that promises where
// llama-server's own are not: probabilities in the older form, the prompt before the text, the best
// of several candidates, and text in the middle of other text.
package legacy

import (
	"math"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Options are what a request asks of its answer that llama-server does not give. They are not
// changed once they are read.
type Options struct {
	Echo    bool     // the prompt goes before the text
	Prompts [][]byte // what the prompts say, if Echo: the insides of JSON strings
	Silent  bool     // of what is generated nothing is wanted

	Logprobs bool // in the older form
	Top      int  // how many of each token's likeliest ones are told

	Choices    int // that the client gets of each prompt
	Candidates int // of which these are the best; as many, or more

	Middle bool // the text goes between the prompt and a suffix: llama-server's answers are its own API's
}

// maxCandidates is OpenAI's bound.
const maxCandidates = 20

// Read returns what a body asks for, nil if it is nothing that llama-server does not give, and the
// body that llama-server gets.
func Read(body rawjson.Object) (*Options, rawjson.Object, error) {
	o := Options{Choices: max(1, choicesOf(body))}
	var edits []rawjson.Edit
	type reader func(*Options, rawjson.Object) ([]rawjson.Edit, error)
	for _, read := range []reader{readEcho, readLogprobs, readBest, readSuffix} {
		more, err := read(&o, body)
		if err != nil {
			return nil, body, err
		}
		edits = append(edits, more...)
	}
	if len(edits) > 0 {
		body, _ = rawjson.Scan(body.Apply(edits...)) // an edited object stays one
	}
	if !o.Echo && !o.Logprobs && !o.Middle && o.Candidates == o.Choices {
		return nil, body, nil
	}
	return &o, body, nil
}

// choicesOf is how many choices a body asks for, 0 if it does not say.
func choicesOf(body rawjson.Object) (most int) {
	for _, key := range []string{"n", "n_cmpl"} {
		n := 0.0
		if given, err := body.Decode(key, &n); given && err == nil && n <= maxChoices {
			most = max(most, int(n))
		}
	}
	return most
}

// maxChoices keeps a number from being taken for another; what is above, llama-server refuses.
const maxChoices = 1 << 20

func readEcho(o *Options, body rawjson.Object) ([]rawjson.Edit, error) {
	if _, err := body.Decode("echo", &o.Echo); err != nil {
		return nil, httpkit.Invalid("echo", "The field \"echo\" must be true or false.")
	}
	if !o.Echo {
		return nil, nil
	}
	if raw, given := body.Raw("logprobs"); given && !slices.Contains([]string{"null", "false"}, string(raw)) {
		return nil, httpkit.Invalid("logprobs", "The field \"logprobs\" is not to be had together with \"echo\": "+
			"llama-server does not tell how likely the tokens of a prompt are. Leave one of them out.")
	}
	for _, key := range []string{"max_tokens", "max_completion_tokens", "n_predict"} {
		if raw, given := body.Raw(key); given {
			n := 1.0
			if _, err := body.Decode(key, &n); err == nil && n == 0 && string(raw) != "null" {
				o.Silent = true
			}
		}
	}
	return nil, nil
}

// readLogprobs asks llama-server for what the older form needs: of 0, too, the tokens' own.
func readLogprobs(o *Options, body rawjson.Object) ([]rawjson.Edit, error) {
	raw, given := body.Raw("logprobs")
	if !given || string(raw) == "null" {
		return nil, nil
	}
	edits := []rawjson.Edit{{Key: "logprobs"}}
	switch string(raw) {
	case "false":
		return edits, nil
	case "true":
		o.Top = 1
	default:
		n := 0.0
		if _, err := body.Decode("logprobs", &n); err != nil || n < 0 {
			return nil, httpkit.Invalid("logprobs", "The field \"logprobs\" must be a whole number of at least 0.")
		}
		o.Top = int(n)
	}
	o.Logprobs = true
	return append(edits, rawjson.Edit{Key: "n_probs", Value: rawjson.Int(max(1, o.Top))}), nil
}

// readBest asks for all candidates, and for what tells how good each is. The field stays: by it an
// error knows what the client calls their number.
func readBest(o *Options, body rawjson.Object) ([]rawjson.Edit, error) {
	n, stream := float64(o.Choices), false
	if _, err := body.Decode("best_of", &n); err != nil || n > maxCandidates || n != math.Trunc(n) {
		return nil, httpkit.Invalid("best_of", "The field \"best_of\" must be a whole number from %d, as \"n\" is, to %d.",
			o.Choices, maxCandidates)
	}
	_, _ = body.Decode("stream", &stream)
	o.Candidates = int(n)
	switch {
	case o.Candidates < o.Choices:
		return nil, httpkit.Invalid("best_of", "The field \"best_of\" must be at least %d, as \"n\" is.", o.Choices)
	case o.Candidates == o.Choices:
		return nil, nil
	case stream:
		return nil, httpkit.Invalid("best_of", "The field \"best_of\" must not be more than \"n\", %d, in a stream: which "+
			"candidates are the best is known at the end.", o.Choices)
	}
	edits := []rawjson.Edit{{Key: "n", Value: rawjson.Int(o.Candidates)}, {Key: "n_cmpl"}}
	if !o.Logprobs && !body.Given("n_probs") {
		edits = append(edits, rawjson.Edit{Key: "n_probs", Value: rawjson.Int(1)})
	}
	return edits, nil
}

// readSuffix asks llama-server for text in the middle. The field stays for what errors say.
func readSuffix(o *Options, body rawjson.Object) ([]rawjson.Edit, error) {
	suffix := ""
	if _, err := body.Decode("suffix", &suffix); err != nil {
		return nil, httpkit.Invalid("suffix", "The field \"suffix\" must be a string.")
	}
	if suffix == "" {
		return nil, nil
	}
	prompt, _ := body.Raw("prompt")
	if list := rawjson.Elements(prompt); len(list) == 1 {
		prompt = list[0]
	}
	if len(prompt) == 0 || prompt[0] != '"' {
		return nil, httpkit.Invalid("prompt", "The field \"prompt\" must be one string where there is a \"suffix\".")
	}
	o.Middle = true
	raw, _ := body.Raw("suffix")
	return []rawjson.Edit{
		{Key: "input_prefix", Value: prompt}, {Key: "input_suffix", Value: raw}, {Key: "prompt"},
		{Key: "input_extra"}, {Key: "response_fields"},
	}, nil
}

// Of returns the options for one of several prompts.
func (o *Options) Of(prompt int) *Options {
	if o == nil || !o.Echo {
		return o
	}
	one := *o
	one.Prompts = o.Prompts[prompt : prompt+1]
	return &one
}

// before is what goes before the text.
func (o *Options) before() []byte {
	if len(o.Prompts) == 0 {
		return nil
	}
	return o.Prompts[0]
}
