package fields

import (
	"errors"
	"strconv"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// biases is the check of logit_bias: an object of tokens, or of texts, each with a bias, or a list
// of pairs of these. llama-server passes over what it cannot read.
func biases(key string, raw []byte, tokens int) (err error) {
	if entries, ok := rawjson.Scan(raw); ok {
		for name, bias := range entries.All() {
			at := key + "." + httpkit.Shorten(name)
			n, err := strconv.ParseInt(name, 10, 64)
			if err == nil && !isTokenID(float64(n), tokens) || errors.Is(err, strconv.ErrRange) {
				return notAToken(at, tokens)
			}
			if err := biasOf(at, bias); err != nil {
				return err
			}
		}
		return nil
	}
	n := 0
	isList := rawjson.Each(raw, func(pair, _ []byte) bool {
		err = biasPair(key+"["+strconv.Itoa(n)+"]", pair, tokens)
		n++
		return err == nil
	})
	if !isList {
		return httpkit.Invalid(key, "The field %q must be an object of tokens and their biases.", key)
	}
	return err
}

// biasPair is the check of a token, or a text, and its bias in a list.
func biasPair(at string, pair []byte, tokens int) error {
	parts := rawjson.Elements(pair)
	if len(parts) != 2 {
		return httpkit.Invalid(at, "The field %q must be a list of a token and its bias.", at)
	}
	if n, ok := valueOf(parts[0]); parts[0][0] != '"' && (!ok || !isTokenID(n, tokens)) {
		return notAToken(at+"[0]", tokens)
	}
	return biasOf(at+"[1]", parts[1])
}

// isTokenID reports whether a number is a token of the vocabulary.
func isTokenID(n float64, tokens int) bool {
	return n >= 0 && n == float64(int64(n)) && (tokens == 0 || n < float64(tokens))
}

func notAToken(at string, tokens int) error {
	if tokens == 0 {
		return httpkit.Invalid(at, "The field %q must be a token, a whole number of at least 0.", at)
	}
	return httpkit.Invalid(at, "The field %q must be a token, a whole number from 0 to %d.", at, tokens-1)
}

// biasOf is the check of a bias: a number, or false, which keeps a token from coming.
func biasOf(at string, raw []byte) error {
	if string(raw) == "false" {
		return nil
	}
	if _, ok := valueOf(raw); !ok {
		return httpkit.Invalid(at, "The field %q must be a number, or false to ban the token.", at)
	}
	return anyNumber(at, raw, 0)
}
