package responses

import (
	"bytes"

	"github.com/loragate/loragate/internal/rawjson"
)

// Answer returns a chat completion as a response, with the client's name of the model. It reports
// false for what is no chat completion.
func Answer(text []byte, asked *Asked, model string) ([]byte, bool) {
	chat, ok := rawjson.Scan(text)
	if !ok {
		return nil, false
	}
	if choices, _ := chat.Raw("choices"); len(rawjson.Elements(choices)) == 0 {
		return nil, false
	}
	s := Stream{Asked: asked, Model: model}
	s.Chunk(chat) // all of it at once
	status := s.status()
	s.close(status)
	return s.object(status, nil), true
}

// object is the whole response, as far as it has come.
func (s *Stream) object(status string, failure []byte) []byte {
	null := []byte("null")
	completed, incomplete := null, null
	switch {
	case status == "completed":
		completed = s.last
	case s.finish == "content_filter":
		incomplete = []byte(`{"reason":"content_filter"}`)
	case status == "incomplete":
		incomplete = []byte(`{"reason":"max_output_tokens"}`)
	}
	if completed == nil {
		completed = null
	}
	if failure == nil {
		failure = null
	}
	w := rawjson.Builder{}
	w.Member("id", rawjson.String("resp_"+s.id))
	w.Member("object", []byte(`"response"`))
	w.Member("created_at", s.created)
	w.Member("completed_at", completed)
	w.Member("status", rawjson.String(status))
	w.Member("error", failure)
	w.Member("incomplete_details", incomplete)
	w.Member("model", rawjson.String(s.Model))
	w.Member("output", rawjson.List(s.items))
	w.Member("usage", s.used())
	text := w.End()
	return append(append(append(text[:len(text)-1], ','), s.Asked.members...), '}')
}

// used is the usage of a response in OpenAI's terms. llama-server does not tell how many tokens
// were thoughts.
func (s *Stream) used() []byte {
	if s.usage.Empty() {
		return []byte("null")
	}
	count := func(o rawjson.Object, key string) []byte {
		raw, _ := o.Raw(key)
		return rawjson.Int(max(0, rawjson.Count(raw)))
	}
	details, _ := s.usage.Inner("prompt_tokens_details")
	w := rawjson.Builder{}
	w.Member("input_tokens", count(s.usage, "prompt_tokens"))
	w.Member("input_tokens_details", bytes.Join([][]byte{
		[]byte(`{"cached_tokens":`), count(details, "cached_tokens"), []byte(`,"cache_write_tokens":0}`)}, nil))
	w.Member("output_tokens", count(s.usage, "completion_tokens"))
	w.Member("output_tokens_details", []byte(`{"reasoning_tokens":0}`))
	w.Member("total_tokens", count(s.usage, "total_tokens"))
	return w.End()
}

// logprobs returns what a choice tells of the probabilities of its tokens, in the words of a
// response, as it stands in a list.
func (a *Asked) logprobs(choice rawjson.Object) []byte {
	told, ok := choice.Inner("logprobs")
	if !ok {
		return nil
	}
	list, _ := told.Raw("content")
	var all [][]byte
	for _, token := range rawjson.Elements(list) {
		o, _ := rawjson.Scan(token)
		var top [][]byte
		raw, _ := o.Raw("top_logprobs")
		for i, other := range rawjson.Elements(raw) {
			if i == a.topLogprobs {
				break
			}
			o, _ := rawjson.Scan(other)
			w := ofToken(o)
			top = append(top, w.End())
		}
		w := ofToken(o)
		w.Member("top_logprobs", rawjson.List(top))
		all = append(all, w.End())
	}
	return bytes.Join(all, []byte{','})
}

func ofToken(o rawjson.Object) (w rawjson.Builder) {
	for _, key := range []string{"token", "bytes", "logprob"} {
		w.Copy(o, key)
	}
	return w
}
