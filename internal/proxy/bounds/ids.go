package bounds

import (
	"math"
	"strconv"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Vocabulary is what is known of a model's tokens.
type Vocabulary struct {
	Tokens  int // how many there are; 0 is not known
	Longest int // bytes of the longest one; 0 is not known
}

// checkField refuses a field with a number that is none of the vocabulary's tokens.
// llama-server looks some of them up without looking whether they are there. What is in
// objects is its own to refuse.
func (v Vocabulary) checkField(key string, raw []byte) error {
	objects := 0
	var err error
	rawjson.Walk(raw, func(t rawjson.Token) bool {
		switch first := t.Raw[0]; {
		case first == '{':
			objects++
		case first == '}':
			objects--
		case objects == 0 && t.Kind == rawjson.Value && (first == '-' || first >= '0' && first <= '9') && !v.has(t.Raw):
			err = v.noToken(key, t.Raw)
		}
		return err == nil
	})
	return err
}

// has reports whether a number is a token.
func (v Vocabulary) has(raw []byte) bool {
	n, err := strconv.ParseFloat(string(raw), 64) // 1.0 is one as well
	return err == nil && n == math.Trunc(n) && n >= 0 && n <= math.MaxInt32 && (v.Tokens == 0 || n < float64(v.Tokens))
}

// noToken says so of a value.
func (v Vocabulary) noToken(key string, raw []byte) error {
	last := math.MaxInt32
	if v.Tokens > 0 {
		last = v.Tokens - 1
	}
	return httpkit.Invalid(key, "The field %q has %s where a token is expected: a whole number from 0 to %d.", key,
		httpkit.Shorten(string(raw)), last)
}

// CheckIDs refuses the fields with a number that is none of the vocabulary's tokens.
func (v Vocabulary) CheckIDs(body rawjson.Object, keys ...string) error {
	for _, key := range keys {
		if raw, ok := body.Raw(key); ok {
			if err := v.checkField(key, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckList refuses a list of tokens that has anything else in it.
func (v Vocabulary) CheckList(body rawjson.Object, key string) error {
	raw, ok := body.Raw(key)
	if !ok {
		return nil // llama-server makes no text of it
	}
	var err error
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		if !v.has(element) {
			err = v.noToken(key, element)
		}
		return err == nil
	})
	if !isList {
		return httpkit.Invalid(key, "The field %q must be a list of tokens.", key)
	}
	return err
}
