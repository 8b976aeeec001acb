package rawjson

import (
	"errors"
	"reflect"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Mismatch says where a value is not what it is to be.
type Mismatch struct {
	Path string // within what is decoded, as "[2].content[0].text"; "" is all of it
	Must string // what is right, as "be a string"; "" is not known
}

func (m *Mismatch) Error() string { return "has another type" }

// Unmarshal decodes JSON that a client has written. Unlike encoding/json's it takes a
// key for another neither in other letters nor twice in one object: what is checked here
// must be what llama-server reads. It refuses text that is no UTF-8. A value of another
// type than its place has, and a key that is there twice, are a *Mismatch.
func Unmarshal(text []byte, v any) error {
	err := jsonv2.Unmarshal(text, v, jsontext.AllowInvalidUTF8(true))
	var wrong *jsonv2.SemanticError
	var twice *jsontext.SyntacticError
	switch {
	case errors.As(err, &wrong): // its own words are of Go's types
		return mismatch(wrong)
	case errors.As(err, &twice) && errors.Is(err, jsontext.ErrDuplicateName):
		return &Mismatch{Path: pathOf(twice.JSONPointer), Must: "be there once"}
	}
	return err
}

// mismatch tells an error of the decoder, which may be about one that decodes itself: its own then
// goes on from where that stands.
func mismatch(e *jsonv2.SemanticError) *Mismatch {
	var inner *Mismatch
	if errors.As(e.Err, &inner) {
		return &Mismatch{Path: pathOf(e.JSONPointer) + inner.Path, Must: inner.Must}
	}
	return &Mismatch{Path: pathOf(e.JSONPointer), Must: mustBe(e.GoType)}
}

// mustBe says what JSON a type is decoded from.
func mustBe(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.String:
		return "be a string"
	case reflect.Bool:
		return "be true or false"
	case reflect.Float64, reflect.Int:
		return "be a number"
	case reflect.Slice:
		return "be a list"
	case reflect.Struct, reflect.Map:
		return "be an object"
	}
	return ""
}

// maxPath bounds the bytes of a path: keys are a client's.
const maxPath = 200

// pathOf writes a pointer as clients know paths.
func pathOf(p jsontext.Pointer) string {
	var path strings.Builder
	for token := range p.Tokens() {
		if path.Len()+len(token) > maxPath {
			path.WriteString("...")
			break
		}
		if token != "" && strings.Trim(token, "0123456789") == "" {
			path.WriteString("[" + token + "]")
		} else {
			path.WriteString("." + token)
		}
	}
	return path.String()
}
