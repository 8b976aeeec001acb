package pieces

import "github.com/loragate/loragate/internal/rawjson"

// Prompt returns the body for one of the several prompts of another.
func Prompt(body rawjson.Object, prompt []byte) rawjson.Object {
	if prompt[0] == '[' { // in a list of its own it means what it does beside others
		prompt = rawjson.List([][]byte{prompt})
	}
	piece, _ := rawjson.Scan(body.Apply(rawjson.Edit{Key: "prompt", Value: prompt})) // an edited object stays one
	return piece
}

// MergeTexts makes one of the answers, as OpenAI's completions tell them, to each of several
// prompts, with so many choices each. It reports false for what are no answers. The usage stays
// that of the first.
func MergeTexts(answers [][]byte, choices int) ([]byte, bool) {
	var all [][]byte
	for i, answer := range answers {
		object, ok := rawjson.Scan(answer)
		if !ok {
			return nil, false
		}
		raw, _ := object.Raw("choices")
		for _, choice := range rawjson.Elements(raw) {
			all = append(all, Shifted(choice, i*choices))
		}
	}
	first, _ := rawjson.Scan(answers[0])
	return first.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List(all)}), true
}

// MergeNative is MergeTexts for answers in llama-server's own terms.
func MergeNative(answers [][]byte, choices int) ([]byte, bool) {
	var all [][]byte
	for i, answer := range answers {
		for _, element := range elementsOrOne(answer) {
			all = append(all, Shifted(element, i*choices))
		}
	}
	return rawjson.List(all), true
}

// Numbering is what the events of one prompt's answer are called in a stream of the answers to
// several.
type Numbering struct {
	First int // the index of the prompt's first choice

	id []byte // what llama-server calls the first answer; the others are called so, too
}

// Renumber gives an event the index and the id that it has among those of all prompts.
func (n *Numbering) Renumber(event rawjson.Object) rawjson.Object {
	var edits []rawjson.Edit
	if own, ok := event.Raw("id"); ok {
		if n.id == nil {
			n.id = append(n.id, own...)
		}
		edits = append(edits, rawjson.Edit{Key: "id", Value: n.id})
	}
	if raw, ok := event.Raw("choices"); ok {
		choices := rawjson.Elements(raw)
		for i, choice := range choices {
			choices[i] = Shifted(choice, n.First)
		}
		edits = append(edits, rawjson.Edit{Key: "choices", Value: rawjson.List(choices)})
	}
	if inner, ok := event.Raw(innerVerbose); ok {
		edits = append(edits, rawjson.Edit{Key: innerVerbose, Value: Shifted(inner, n.First)})
	}
	event, _ = rawjson.Scan(Shifted(event.Apply(edits...), n.First)) // an edited object stays one
	return event
}

// innerVerbose is where answers in OpenAI's terms have one in llama-server's own, for those
// who ask for it.
const innerVerbose = "__verbose"
