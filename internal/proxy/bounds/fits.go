package bounds

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// CheckFits refuses a prompt that no cutting into tokens could make fit the workers'
// context, before a worker is kept busy with cutting it: each token stands for a
// number of bytes at most, the longest of the vocabulary. What a chat's template, or
// the tokenizer, may drop does not count: white space, and what an assistant thought.
//
// Of the fields keys, which hold what comes before the first token, the first that is there
// counts; several says that it has more than one prompt. A context of 0 is not known.
func (v Vocabulary) CheckFits(body rawjson.Object, keys []string, several bool, context int) error {
	if context == 0 {
		return nil
	}
	for _, key := range keys {
		raw, ok := body.Raw(key)
		if !ok {
			continue
		}
		least := 0
		switch key {
		case "prompt":
			least = v.longest(raw, several)
		case "messages", "input":
			least = v.tokens(messageBytes(raw))
		}
		if least > context {
			return &httpkit.Error{
				Status: http.StatusBadRequest, Type: httpkit.TypeInvalid, Code: "context_length_exceeded", Param: key,
				Message: fmt.Sprintf("request (at least %d tokens) exceeds the available context size (%d tokens)",
					least, context),
				Prompt: least, Context: context,
			}
		}
		return nil
	}
	return nil
}

// tokens is how many tokens so many bytes are at least.
func (v Vocabulary) tokens(n int) int {
	longest := v.Longest
	if longest <= 0 {
		return 0
	}
	return (n + longest - 1) / longest
}

// longest is how many tokens the longest of a request's prompts has at least; several
// says that there is more than one.
func (v Vocabulary) longest(raw []byte, several bool) int {
	if !several {
		return v.promptTokens(raw)
	}
	most := 0
	rawjson.Each(raw, func(prompt, _ []byte) bool {
		most = max(most, v.promptTokens(prompt))
		return true
	})
	return most
}

// promptTokens is how many tokens one prompt has at least: text, or an array of tokens
// and texts.
func (v Vocabulary) promptTokens(prompt []byte) int {
	if bytes.HasPrefix(prompt, []byte{'"'}) {
		return v.tokens(rawjson.StringBytes(prompt))
	}
	ids, text, depth := 0, 0, 0
	rawjson.Walk(prompt, func(t rawjson.Token) bool {
		switch {
		case t.Kind == rawjson.Open && t.Raw[0] == '{':
			ids, text = 0, 0 // with pictures: who knows
			return false
		case t.Kind == rawjson.Open:
			depth++
		case t.Kind == rawjson.Close:
			depth--
		case t.Raw[0] == '"':
			text += rawjson.StringBytes(t.Raw)
		case depth == 1:
			ids++
		}
		return true
	})
	return ids + v.tokens(text)
}

// messageBytes is how many bytes of a chat's messages, or of a response's input, every
// template puts into the prompt: of texts, those of users and of the system.
func messageBytes(raw []byte) (n int) {
	if bytes.HasPrefix(raw, []byte{'"'}) {
		return rawjson.StringBytes(raw)
	}
	rawjson.Each(raw, func(message, _ []byte) bool {
		if !bytes.Contains(message, []byte(`"content"`)) {
			return true // spares what has none from being scanned
		}
		o, ok := rawjson.Scan(message)
		if !ok {
			return true
		}
		role, _ := o.Raw("role")
		content, _ := o.Raw("content")
		switch string(role) {
		case `"assistant"`:
			if bytes.Contains(content, []byte("think>")) || bytes.Contains(content, []byte(`\u`)) {
				return true
			}
		case `"user"`, `"system"`, `"developer"`:
		default:
			return true
		}
		n += contentBytes(content)
		return true
	})
	return n
}

// contentBytes counts a text, or those of a list of parts.
func contentBytes(content []byte) (n int) {
	if bytes.HasPrefix(content, []byte{'"'}) {
		return rawjson.StringBytes(content)
	}
	rawjson.Each(content, func(part, _ []byte) bool {
		o, ok := rawjson.Scan(part)
		kind, _ := o.Raw("type")
		if text, given := o.Raw("text"); ok && given && strings.HasSuffix(string(kind), `text"`) && text[0] == '"' {
			n += rawjson.StringBytes(text)
		}
		return true
	})
	return n
}
