package proxy

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// family is a field that has several names: a rule that has one of them means all.
type family struct {
	// names are where the field may stand: "a.b" is in the object a. The first is what it is called
	// where an API has no name of its own.
	names []string
	own   map[string]string // the names of APIs that have another one, by endpoint
	with  []string          // fields that make no sense without this one
	// form returns a value as an endpoint has it, nil if it has none of the kind. nil: all have
	// the same.
	form func(path, name string, value json.RawMessage) json.RawMessage
}

// families are the fields that have several names.
var families = []*family{
	{
		names: []string{tokensField, "max_completion_tokens", "max_output_tokens", "n_predict"},
		own:   map[string]string{toResponses: "max_output_tokens", toNative: "n_predict", toInfill: "n_predict"},
	},
	{names: []string{"stop", "stop_sequences"}, own: map[string]string{toMessages: "stop_sequences"}},
	{names: []string{"n", "n_cmpl"}},
	{
		names: []string{"response_format", "text.format", "output_config.format", "json_schema", "grammar"},
		own: map[string]string{toResponses: "text.format", toMessages: "output_config.format", toTexts: "json_schema",
			toNative: "json_schema", toInfill: "json_schema"},
		form: formatAt,
	},
	{
		names: []string{"tools", "functions"}, form: toolsAt,
		with: []string{"tool_choice", "parallel_tool_calls", "max_tool_calls"},
	},
	{names: []string{"tool_choice", "function_call"}, form: choiceAt},
	{
		names: []string{"reasoning_effort", "reasoning.effort", "output_config.effort"},
		own:   map[string]string{toResponses: "reasoning.effort", toMessages: "output_config.effort"},
	},
	{
		names: []string{budgetField, "thinking.budget_tokens"},
		own:   map[string]string{toMessages: "thinking.budget_tokens"},
	},
	{
		names: []string{"user", "safety_identifier", "metadata.user_id"},
		own:   map[string]string{toMessages: "metadata.user_id"},
	},
	{names: []string{"instructions", "system"}, own: map[string]string{toMessages: "system"}},
	{
		names: []string{"top_logprobs", "n_probs"},
		own:   map[string]string{toTexts: "logprobs", toNative: "n_probs", toInfill: "n_probs"},
	},
}

// tokensField bounds how long an answer may be, by its first name.
const tokensField = "max_tokens"

// budgetField bounds how long a model thinks, by its first name: 0 is not at all, and less without
// a bound.
const budgetField = "thinking_budget_tokens"

// familyOf returns the family of a name; a field of one name is its own.
func familyOf(key string) *family {
	for _, f := range families {
		if slices.Contains(f.names, key) {
			return f
		}
	}
	return &family{names: []string{key}}
}

// nameAt is what an endpoint calls a field.
func nameAt(path, key string) string { return familyOf(key).at(path) }

func (f *family) at(path string) string {
	if own := f.own[path]; own != "" {
		return own
	}
	return f.names[0]
}

// theirsAlone are names that no other API reads, by the path of the one that does.
var theirsAlone = map[string]string{
	"max_output_tokens": toResponses, "text.format": toResponses, "reasoning.effort": toResponses,
	"instructions":   toResponses,
	"stop_sequences": toMessages, "output_config.format": toMessages, "output_config.effort": toMessages,
	"thinking.budget_tokens": toMessages, "metadata.user_id": toMessages, "system": toMessages,
}

// gives reports whether a request to an endpoint says something of a field, under whichever name
// that is read there.
func gives(body rawjson.Object, path, key string) bool {
	d := &draft{Object: body, path: path}
	f := familyOf(key)
	return slices.ContainsFunc(append([]string{f.at(path)}, f.names...), func(name string) bool {
		raw, given := d.raw(name)
		only := theirsAlone[name]
		return given && string(raw) != "null" && (only == "" || only == path)
	})
}

// members are an edit, with the fields apart that other APIs have beside one another: of
// {"output_config": {"effort": "low"}} that of the effort.
func members(e rawjson.Edit) (all []rawjson.Edit) {
	inner, ok := rawjson.Scan(e.Value)
	if !ok || !isOwner(e.Key) {
		return []rawjson.Edit{e}
	}
	for key, value := range inner.All() {
		all = append(all, rawjson.Edit{Key: e.Key + "." + key, Value: value})
	}
	return all
}

// isOwner reports whether families have names within a field.
func isOwner(key string) bool { return len(within(key)) > 0 }

// within returns the names that families have within a field.
func within(key string) (names []string) {
	for _, f := range families {
		for _, name := range f.names {
			if strings.HasPrefix(name, key+".") {
				names = append(names, name)
			}
		}
	}
	return names
}

// split returns where a field stands within another one.
func split(name string) (outer, inner string, nested bool) {
	outer, inner, nested = strings.Cut(name, ".")
	return outer, inner, nested && (isOwner(outer) || outer == "tool_choice")
}

// draft is a request while a rule changes it.
type draft struct {
	rawjson.Object

	path  string
	edits []rawjson.Edit
}

// raw returns what a field is by now.
func (d *draft) raw(name string) (json.RawMessage, bool) {
	if outer, inner, nested := split(name); nested {
		raw, _ := d.raw(outer)
		o, _ := rawjson.Scan(raw)
		return o.Raw(inner)
	}
	for _, e := range d.edits {
		if e.Key == name {
			return e.Value, e.Value != nil
		}
	}
	return d.Raw(name)
}

// set has a field be a value, nil that it is not there. Others in the same object stay.
func (d *draft) set(name string, value json.RawMessage) {
	if outer, inner, nested := split(name); nested {
		raw, _ := d.raw(outer)
		o, ok := rawjson.Scan(raw)
		if !ok {
			o, _ = rawjson.Scan([]byte("{}"))
		}
		if _, given := o.Raw(inner); value == nil && !given {
			return
		}
		name, value = outer, o.Apply(rawjson.Edit{Key: inner, Value: value})
		if changed, _ := rawjson.Scan(value); changed.Empty() {
			value = nil
		}
	}
	d.edits = slices.DeleteFunc(d.edits, func(e rawjson.Edit) bool { return e.Key == name })
	d.edits = append(d.edits, rawjson.Edit{Key: name, Value: value})
}

// take takes a field out, under all its names.
func (d *draft) take(f *family) {
	for _, name := range append([]string{f.at(d.path)}, f.names...) {
		if _, given := d.raw(name); given {
			d.set(name, nil)
		}
	}
}

// strip takes a field out, with all that makes no sense without it.
func (d *draft) strip(key string) {
	for _, name := range within(key) {
		d.take(familyOf(name))
	}
	f := familyOf(key)
	d.take(f)
	for _, other := range f.with {
		d.take(familyOf(other))
	}
	if key == "parallel_tool_calls" && d.path == toMessages {
		d.set(onceAt, nil)
	}
}

// replace has a field be a value, in place of all that the client says of it.
func (d *draft) replace(e rawjson.Edit) {
	if isOwner(e.Key) {
		d.set(e.Key, nil)
	}
	for _, member := range members(e) {
		d.put(member)
	}
}

// usual adds to a request what it says nothing of.
func (d *draft) usual(e rawjson.Edit) {
	for _, member := range members(e) {
		if !gives(d.Object, d.path, member.Key) && !d.settled(member.Key) {
			d.put(member)
		}
	}
}

// settled reports whether the client says by another field what one of a rule's would change with it:
// that there is to be no thinking, no log-probabilities, or one call at most.
func (d *draft) settled(key string) bool {
	says, value := "", ""
	switch first := familyOf(key).names[0]; {
	case d.path == toMessages && first == budgetField:
		says = "thinking.type"
	case d.path == toMessages && first == "parallel_tool_calls":
		says = onceAt
	case d.path == toChat && first == "top_logprobs":
		says, value = "logprobs", "false"
	default:
		return false
	}
	client := &draft{Object: d.Object, path: d.path}
	raw, given := client.raw(says)
	return given && string(raw) != "null" && (value == "" || string(raw) == value)
}

// put has a field be a value, under the name and in the form that it has at the endpoint.
func (d *draft) put(e rawjson.Edit) {
	f := familyOf(e.Key)
	d.take(f)
	name, value := f.at(d.path), e.Value
	if f.form != nil {
		value = f.form(d.path, e.Key, value)
	}
	switch {
	case e.Key == "grammar": // which is no schema, and has but this name
		name, value = e.Key, e.Value
	case f.names[0] == "instructions" && d.path != toResponses && d.path != toMessages:
		return // there it is a message
	}
	if value == nil {
		return
	}
	d.set(name, value)
	switch e.Key {
	case "thinking.budget_tokens", budgetField:
		if d.path == toMessages {
			d.think(value)
		}
	case "tools", "functions":
		if raw, _ := d.raw("tool_choice"); len(raw) > 0 && raw[0] == '{' {
			d.strip("tool_choice") // of the tools that were there
		}
	}
}

// think says in the words of the Messages API how long the model may think: budgets are above 0 there.
func (d *draft) think(budget json.RawMessage) {
	switch {
	case string(budget) == "0":
		d.set("thinking", []byte(`{"type":"disabled"}`))
	case budget[0] == '-':
		d.set("thinking", []byte(`{"type":"enabled"}`))
	default:
		d.set("thinking.type", []byte(`"enabled"`))
	}
}

// agree sees to what goes with what the rule has changed: the client knows nothing of it, and is not
// to be blamed.
func (d *draft) agree() {
	changed := func(key string) bool {
		return slices.ContainsFunc(d.edits, func(e rawjson.Edit) bool { return e.Key == key })
	}
	if d.path == toMessages && changed("parallel_tool_calls") {
		d.oneCall()
	}
	if d.path != toChat {
		return
	}
	top, _ := d.raw("top_logprobs")
	asked, _ := d.raw("logprobs")
	switch {
	case len(top) == 0 || string(top) == "null" || string(asked) == "true":
	case changed("logprobs"):
		d.set("top_logprobs", nil)
	case changed("top_logprobs"):
		d.set("logprobs", []byte("true"))
	}
}

// onceAt is where the Messages API says that there is to be one call at most.
const onceAt = "tool_choice.disable_parallel_tool_use"

// oneCall says in the words of the Messages API whether there may be several calls at once.
func (d *draft) oneCall() {
	raw, given := d.raw("parallel_tool_calls")
	if !given {
		return
	}
	once := []byte("true")
	if string(raw) == "true" {
		once = nil
	}
	d.set("parallel_tool_calls", nil)
	if _, chosen := d.raw("tool_choice.type"); !chosen && once != nil {
		d.set("tool_choice.type", []byte(`"auto"`))
	}
	d.set(onceAt, once)
}
