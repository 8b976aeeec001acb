package responses

import (
	"bytes"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// kind is one of the items that an output is made of, and how it is told.
type kind struct {
	prefix              string // of its id
	delta, done         string // events
	partAdded, partDone string // events
	says                string // where the event that ends it has all of its text
	part0               string // says in an event that it is of the first part; "" has no parts
	whenDone            bool   // it is told when it is there as a whole
	part                func(i *item) []byte
	whole               func(i *item, status string, ends bool) []byte
}

var (
	message = &kind{
		prefix: "msg_", delta: "response.output_text.delta", done: "response.output_text.done",
		partAdded: "response.content_part.added", partDone: "response.content_part.done", says: "text",
		part0: `,"content_index":0`, part: textPartOf, whole: messageOf,
	}
	reasoning = &kind{
		prefix: "rs_", delta: "response.reasoning_text.delta", done: "response.reasoning_text.done",
		partAdded: "response.content_part.added", partDone: "response.content_part.done", says: "text",
		part0: `,"content_index":0`, part: reasoningPartOf, whole: reasoningOf,
	}
	summary = &kind{
		prefix: "rs_", delta: "response.reasoning_summary_text.delta", done: "response.reasoning_summary_text.done",
		partAdded: "response.reasoning_summary_part.added", partDone: "response.reasoning_summary_part.done", says: "text",
		part0: `,"summary_index":0`, part: summaryPartOf, whole: summaryOf,
	}
	functionCall = &kind{
		prefix: "fc_", delta: "response.function_call_arguments.delta", done: "response.function_call_arguments.done",
		says: "arguments", whole: functionCallOf,
	}
	customCall = &kind{
		prefix: "ctc_", delta: "response.custom_tool_call_input.delta", done: "response.custom_tool_call_input.done",
		says: "input", whenDone: true, whole: customCallOf,
	}
)

// item is one of an output, as far as it has come. Texts are the insides of JSON strings.
type item struct {
	id       string
	index    int // among the calls of tools
	name     []byte
	within   []byte // the namespace of the tool that is called; nil is none
	call     []byte // the id of a call
	text     []byte
	logprobs []byte // of its tokens, as they stand in a list

	output []byte // members of an event that say which of the output it is
	place  []byte // the same for its part
	head   []byte // of the events that tell of its text, up to that
}

// setCall gives a call the id that its result is to name.
func (i *item) setCall(response string, number int) {
	switch {
	case len(i.call) == 0:
		i.call = []byte("call_" + response + "_" + strconv.Itoa(number))
	case !bytes.HasPrefix(i.call, []byte("call_")):
		i.call = append([]byte("call_"), i.call...)
	}
}

// stand gives an item its place in a response's output, and its id.
func (i *item) stand(k *kind, response string, number int) {
	at := strconv.Itoa(number)
	i.id = k.prefix + response + "_" + at
	i.output = []byte(`"output_index":` + at)
	place := `"item_id":` + string(rawjson.String(i.id)) + `,"output_index":` + at + k.part0
	i.place = []byte(place)
	i.head = []byte("event: " + k.delta + "\ndata: {\"type\":\"" + k.delta + `",` + place + `,"delta":"`)
}

func (i *item) addLogprobs(list []byte) {
	if len(list) == 0 {
		return
	}
	if len(i.logprobs) > 0 {
		i.logprobs = append(i.logprobs, ',')
	}
	i.logprobs = append(i.logprobs, list...)
}

func (i *item) allLogprobs() []byte {
	return append(append([]byte{'['}, i.logprobs...), ']')
}

// said is the whole text of an item.
func (i *item) said(k *kind) []byte {
	if k.whenDone {
		return i.input()
	}
	return rawjson.Quoted(i.text)
}

// input is the text that a custom tool is called with.
func (i *item) input() []byte {
	return rawjson.String(customInput(rawjson.Text(rawjson.Quoted(i.text))))
}

// textPartOf is the part of a message that is being made, or is there.
func textPartOf(i *item) []byte {
	w := rawjson.Builder{}
	w.Member("type", []byte(`"output_text"`))
	w.Member("annotations", []byte("[]"))
	w.Member("logprobs", i.allLogprobs())
	w.Member("text", rawjson.Quoted(i.text))
	return w.End()
}

func reasoningPartOf(i *item) []byte { return typed("reasoning_text", i.text) }

func summaryPartOf(i *item) []byte { return typed("summary_text", i.text) }

func typed(kind string, text []byte) []byte {
	w := rawjson.Builder{}
	w.Member("type", rawjson.String(kind))
	w.Member("text", rawjson.Quoted(text))
	return w.End()
}

func messageOf(i *item, status string, ends bool) []byte {
	w := i.begin("message", status)
	w.Member("role", []byte(`"assistant"`))
	w.Member("content", listIf(ends, textPartOf, i))
	return w.End()
}

func reasoningOf(i *item, status string, ends bool) []byte {
	w := i.begin("reasoning", status)
	w.Member("summary", []byte("[]"))
	w.Member("content", listIf(ends, reasoningPartOf, i))
	w.Member("encrypted_content", []byte("null"))
	return w.End()
}

func summaryOf(i *item, status string, ends bool) []byte {
	w := i.begin("reasoning", status)
	w.Member("summary", listIf(ends, summaryPartOf, i))
	w.Member("encrypted_content", []byte("null"))
	return w.End()
}

func functionCallOf(i *item, status string, _ bool) []byte {
	w := i.begin("function_call", status)
	w.Member("call_id", rawjson.Quoted(i.call))
	i.names(w)
	w.Member("arguments", rawjson.Quoted(i.text))
	return w.End()
}

// names tells which tool is called.
func (i *item) names(w *rawjson.Builder) {
	w.Member("name", i.name)
	if i.within != nil {
		w.Member("namespace", i.within)
	}
}

func customCallOf(i *item, _ string, ends bool) []byte {
	w := rawjson.Builder{}
	w.Member("id", rawjson.String(i.id))
	w.Member("type", []byte(`"custom_tool_call"`))
	w.Member("call_id", rawjson.Quoted(i.call))
	i.names(&w)
	input := []byte(`""`)
	if ends {
		input = i.input()
	}
	w.Member("input", input)
	return w.End()
}

func (i *item) begin(kind, status string) *rawjson.Builder {
	w := &rawjson.Builder{}
	w.Member("id", rawjson.String(i.id))
	w.Member("type", rawjson.String(kind))
	w.Member("status", rawjson.String(status))
	return w
}

// listIf is the list of an item's only part, which is there when the item ends.
func listIf(ends bool, part func(*item) []byte, i *item) []byte {
	if !ends {
		return []byte("[]")
	}
	return rawjson.List([][]byte{part(i)})
}
