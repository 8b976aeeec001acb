package failure

import (
	"fmt"

	"github.com/loragate/loragate/internal/rawjson"
)

// oddPrompt returns the path of what is no prompt, or no part of one, in a field that has one or
// several; "" is nowhere.
func oddPrompt(raw []byte, at string) string {
	if len(raw) == 0 {
		return at
	}
	switch raw[0] {
	case '"':
		return ""
	case '{':
		o, _ := rawjson.Scan(raw)
		switch text, given := o.Raw("prompt_string"); {
		case !given:
			return at
		case text[0] != '"':
			return at + ".prompt_string"
		}
		return ""
	case '[':
		return oddPart(raw, at, true)
	}
	return at
}

// oddPart is oddPrompt for a list; several is whether it may be of prompts.
func oddPart(list []byte, at string, several bool) (odd string) {
	n := 0
	rawjson.Each(list, func(one, _ []byte) bool {
		here := fmt.Sprintf("%s[%d]", at, n)
		n++
		switch c := one[0]; {
		case c == '"' || c == '-' || c >= '0' && c <= '9':
		case c == '[' && several:
			odd = oddPart(one, here, false)
		case c == '{' && several:
			odd = oddPrompt(one, here)
		default:
			odd = here
		}
		return odd == ""
	})
	return odd
}
