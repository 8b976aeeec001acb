package legacy

import (
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// Head is what answers in the middle of other text begin with: llama-server's own API, in which
// they are had, does not tell it.
type Head struct {
	ID, Model string
	Created   int64 // in seconds
}

// whole makes a completion of a whole answer of llama-server's own API, which is a list if it has
// several choices.
func (h Head) whole(text []byte) []byte {
	natives := rawjson.Elements(text)
	if natives == nil {
		natives = [][]byte{text}
	}
	var choices [][]byte
	var last rawjson.Object
	completion := 0
	for _, native := range natives {
		object, ok := rawjson.Scan(native)
		if !ok {
			return nil
		}
		choice, _ := choiceOf(object)
		choices, last = append(choices, choice), object
		completion += countOf(object, "tokens_predicted")
	}
	return h.render(rawjson.List(choices), usageOf(last, completion), last)
}

// one makes an event of a completion of one of llama-server's own API, and reports whether it is a
// choice's last.
func (h Head) one(native rawjson.Object) (event []byte, last bool) {
	choice, last := choiceOf(native)
	var usage []byte
	if last {
		usage = usageOf(native, countOf(native, "tokens_predicted"))
	}
	return h.render(rawjson.List([][]byte{choice}), usage, native), last
}

// render puts an answer or an event together; without usage it tells none.
func (h Head) render(choices, usage []byte, native rawjson.Object) []byte {
	w := rawjson.Builder{}
	w.Member("choices", choices)
	w.Member("created", strconv.AppendInt(nil, h.Created, 10))
	w.Member("model", rawjson.String(h.Model))
	w.Member("object", []byte(`"text_completion"`))
	if usage != nil {
		w.Member("usage", usage)
	}
	w.Member("id", rawjson.String(h.ID))
	w.Copy(native, "timings")
	return w.End()
}

// choiceOf makes a choice of an answer, or of an event, and reports whether it is the last word on
// it.
func choiceOf(native rawjson.Object) (choice []byte, last bool) {
	content, _ := native.Raw("content")
	stop, _ := native.Raw("stop")
	index, told := native.Raw("index")
	if !told {
		index = []byte("0")
	}
	logprobs, finish := []byte("null"), "null"
	if last = string(stop) == "true"; last {
		finish = `"stop"`
		if kind, _ := native.Raw("stop_type"); string(kind) == `"limit"` {
			finish = `"length"`
		}
	}
	if probs, told := native.Raw("completion_probabilities"); told {
		w := rawjson.Builder{}
		w.Member("content", probs)
		logprobs = w.End()
	}
	w := rawjson.Builder{}
	w.Member("text", rawjson.Quoted(rawjson.Inside(content)))
	w.Member("index", index)
	w.Member("logprobs", logprobs)
	w.Member("finish_reason", []byte(finish))
	return w.End(), last
}

// usageOf is what an answer took, of which so many tokens were generated.
func usageOf(native rawjson.Object, completion int) []byte {
	prompt := countOf(native, "tokens_evaluated")
	cached, _ := native.Path("timings", "cache_n")
	details := rawjson.Builder{}
	details.Member("cached_tokens", rawjson.Int(max(0, rawjson.Count(cached))))
	w := rawjson.Builder{}
	w.Member("completion_tokens", rawjson.Int(completion))
	w.Member("prompt_tokens", rawjson.Int(prompt))
	w.Member("total_tokens", rawjson.Int(prompt+completion))
	w.Member("prompt_tokens_details", details.End())
	return w.End()
}

func countOf(o rawjson.Object, key string) int {
	raw, _ := o.Raw(key)
	return max(0, rawjson.Count(raw))
}
