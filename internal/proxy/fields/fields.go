// Package fields refuses what llama-server would answer as if it had not been said, or with words
// of its own code: values of another type, out of range, or of messages that make no sense. Every
// refusal names the field by its path. It also takes out nulls, which mean that nothing is said.
package fields

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Check refuses fields of another type than they have, and numbers that llama-server would cut to
// what it takes, or take for another. A number that it has a meaning for passes, also where no
// hosted API has one, as a temperature of 3. tokens is how many the vocabulary has; 0 is not known.
// It returns the body without the fields that are null.
func Check(body rawjson.Object, tokens int) (rawjson.Object, error) {
	nulls := false
	for key, raw := range body.Members() {
		if string(raw) == "null" {
			nulls = true
			continue
		}
		known, ok := named[string(key)]
		if !ok {
			continue
		}
		if err := known.check(known.key, raw, tokens); err != nil {
			return body, err
		}
	}
	if nulls {
		body = Plain(body)
	}
	return body, nil
}

// check refuses the value of a field, which is not null.
type check func(key string, raw []byte, tokens int) error

// checks are by field.
var checks = map[string]check{
	"top_p": number(0, 1), "min_p": number(0, 1), "xtc_probability": number(0, 1), "xtc_threshold": number(0, 1),
	"temperature": anyNumber, "typical_p": anyNumber, "top_n_sigma": anyNumber, "dynatemp_range": anyNumber,
	"dynatemp_exponent": anyNumber, "repeat_penalty": aboveZero, "frequency_penalty": anyNumber,
	"presence_penalty": anyNumber, "dry_multiplier": anyNumber, "dry_base": anyNumber, "mirostat_tau": anyNumber,
	"mirostat_eta": anyNumber,

	"max_tokens": count(-1), "max_completion_tokens": count(-1), "n_predict": count(-1), "max_output_tokens": count(-1),
	"top_k": count(math.MinInt32), "seed": anyWhole, "mirostat": whole(0, 2),
	"top_logprobs": whole(0, 20), "n_probs": count(0), "min_keep": count(0), "n_keep": count(-1), "n_discard": count(0),
	"n_indent": count(0), "dry_allowed_length": count(0),

	"stream": yesOrNo, "cache_prompt": yesOrNo, "return_tokens": yesOrNo, "return_progress": yesOrNo,
	"timings_per_token": yesOrNo, "verbose": yesOrNo, "ignore_eos": yesOrNo, "post_sampling_probs": yesOrNo,
	"backend_sampling": yesOrNo, "reasoning_control": yesOrNo, "echo": yesOrNo,

	"reasoning_format": text, "stop": texts, "stream_options": streamOptions, "logit_bias": biases,
	"response_format": format, "logprobs": count(0),
}

// named has the checks with their names, so that none is made of what a body has.
var named = func() map[string]namedCheck {
	all := make(map[string]namedCheck, len(checks))
	for key, check := range checks {
		all[key] = namedCheck{key, check}
	}
	return all
}()

type namedCheck struct {
	key   string
	check check
}

// isSwitch reports whether llama-server takes a value for a number: of true and false it makes 1 and 0.
func isSwitch(raw []byte) bool { return string(raw) == "true" || string(raw) == "false" }

// valueOf reads a number; ok is whether it is one.
func valueOf(raw []byte) (n float64, ok bool) {
	n, err := strconv.ParseFloat(string(raw), 64)
	return n, err == nil
}

// number is the check of a number in a range.
func number(least, most float64) check {
	return func(key string, raw []byte, _ int) error {
		if n, ok := valueOf(raw); !isSwitch(raw) && (!ok || n < least || n > most) {
			return httpkit.Invalid(key, "The field %q must be a number from %v to %v.", key, least, most)
		}
		return nil
	}
}

// anyNumber is the check of a number that llama-server can hold.
func anyNumber(key string, raw []byte, _ int) error {
	if n, ok := valueOf(raw); !isSwitch(raw) && (!ok || math.Abs(n) > math.MaxFloat32) {
		return httpkit.Invalid(key, "The field %q must be a number from %v to %v.", key, -math.MaxFloat32,
			math.MaxFloat32)
	}
	return nil
}

// aboveZero is anyNumber for what llama-server divides by.
func aboveZero(key string, raw []byte, tokens int) error {
	if n, ok := valueOf(raw); string(raw) == "false" || ok && n <= 0 {
		return httpkit.Invalid(key, "The field %q must be a number above 0.", key)
	}
	return anyNumber(key, raw, tokens)
}

// whole is the check of a whole number in a range. 1.0 is one.
func whole(least, most float64) check {
	return func(key string, raw []byte, _ int) error {
		if n, ok := valueOf(raw); !isSwitch(raw) && (!ok || n != math.Trunc(n) || n < least || n > most) {
			return httpkit.Invalid(key, "The field %q must be a whole number from %.0f to %.0f.", key, least, most)
		}
		return nil
	}
}

// count is whole, up to what an integer of llama-server's holds.
func count(least float64) check { return whole(least, math.MaxInt32) }

func anyWhole(key string, raw []byte, _ int) error {
	if n, ok := valueOf(raw); !isSwitch(raw) && (!ok || n != math.Trunc(n)) {
		return httpkit.Invalid(key, "The field %q must be a whole number.", key)
	}
	return nil
}

func yesOrNo(key string, raw []byte, _ int) error {
	if !isSwitch(raw) {
		return httpkit.Invalid(key, "The field %q must be true or false.", key)
	}
	return nil
}

func text(key string, raw []byte, _ int) error {
	if raw[0] != '"' {
		return httpkit.Invalid(key, "The field %q must be a string.", key)
	}
	return nil
}

// format is the check of a response_format, but for its schema.
func format(key string, raw []byte, _ int) error {
	f, ok := rawjson.Scan(raw)
	if !ok {
		return httpkit.Invalid(key, "The field %q must be an object.", key)
	}
	kind, given := f.Raw("type")
	if given && !slices.Contains([]string{"null", `""`, `"text"`, `"json_object"`, `"json_schema"`}, string(kind)) {
		return httpkit.Invalid(key+".type", "The field %q must be text, json_object or json_schema.", key+".type")
	}
	if inner, given := f.Raw("json_schema"); given && inner[0] != '{' && string(inner) != "null" {
		return httpkit.Invalid(key+".json_schema", "The field %q must be an object.", key+".json_schema")
	}
	return nil
}

// texts is the check of a string, or of a list of strings.
func texts(key string, raw []byte, _ int) (err error) {
	if raw[0] == '"' {
		return nil
	}
	n := 0
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		if element[0] != '"' && string(element) != "null" {
			at := fmt.Sprintf("%s[%d]", key, n)
			err = httpkit.Invalid(at, "The field %q must be a string.", at)
		}
		n++
		return err == nil
	})
	if !isList {
		return httpkit.Invalid(key, "The field %q must be a string or a list of strings.", key)
	}
	return err
}

func streamOptions(key string, raw []byte, _ int) error {
	options, ok := rawjson.Scan(raw)
	if !ok {
		return httpkit.Invalid(key, "The field %q must be an object.", key)
	}
	for _, inner := range []string{"include_usage", "include_obfuscation"} {
		if value, given := options.Raw(inner); given && string(value) != "null" {
			if err := yesOrNo(key+"."+inner, value, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Plain takes the fields out that are null, for llama-server takes some for said.
func Plain(body rawjson.Object) rawjson.Object {
	var edits []rawjson.Edit
	for key, raw := range body.All() {
		if string(raw) == "null" {
			edits = append(edits, rawjson.Edit{Key: key})
		}
	}
	// Of a key that is there twice the last one counts.
	edits = keepSaid(body, edits)
	if len(edits) == 0 {
		return body
	}
	plain, _ := rawjson.Scan(body.Apply(edits...)) // an edited object stays one
	return plain
}

// maxNulls bounds how many are taken out: each is looked for among all fields.
const maxNulls = 64

// keepSaid leaves out the edits of fields whose last value is none.
func keepSaid(body rawjson.Object, edits []rawjson.Edit) (kept []rawjson.Edit) {
	for _, e := range edits[:min(len(edits), maxNulls)] {
		if raw, _ := body.Raw(e.Key); string(raw) == "null" {
			kept = append(kept, e)
		}
	}
	return kept
}

// Text refuses a field that is there and is neither a string nor a list of strings and tokens.
func Text(body rawjson.Object, key string) (err error) {
	raw, given := body.Raw(key)
	if !given || raw[0] == '"' {
		return nil
	}
	n := 0
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		if _, isNumber := valueOf(element); element[0] != '"' && !isNumber {
			at := fmt.Sprintf("%s[%d]", key, n)
			err = httpkit.Invalid(at, "The field %q must be a string or a token.", at)
		}
		n++
		return err == nil
	})
	if !isList {
		return httpkit.Invalid(key, "The field %q must be a string or a list of strings and tokens.", key)
	}
	return err
}

// Encoding refuses an encoding_format that there is not.
func Encoding(body rawjson.Object) error {
	const key = "encoding_format"
	if raw, given := body.Raw(key); given && string(raw) != `"float"` && string(raw) != `"base64"` {
		return httpkit.Invalid(key, "The field %q must be float or base64.", key)
	}
	return nil
}
