package rawjson

import (
	"errors"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal decodes JSON that a client has written. Unlike encoding/json's it takes a
// key for another neither in other letters nor twice in one object: what is checked here
// must be what llama-server reads. It refuses text that is no UTF-8.
func Unmarshal(text []byte, v any) error {
	err := jsonv2.Unmarshal(text, v, jsontext.AllowInvalidUTF8(true))
	var wrong *jsonv2.SemanticError
	if errors.As(err, &wrong) {
		return errors.New("has another type") // its own words are of Go's types
	}
	return err
}
