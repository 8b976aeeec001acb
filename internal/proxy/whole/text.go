package whole

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// Native is the shape of llama-server's own API, Text that of OpenAI's completions.
var (
	Native = Shape{Ends: EndsCompletion, take: takeNative, build: buildNative}
	Text   = Shape{verbose: true, take: takeText, build: buildText}
)

// StopKey is where events of llama-server's own API tell whether they are the last.
const StopKey = "stop"

// EndsCompletion knows the last event of each prompt of llama-server's own API.
func EndsCompletion(event rawjson.Object) bool {
	stop, _ := event.Raw(StopKey)
	return string(stop) == "true"
}

func takeNative(a *Assembly, _ []byte, object rawjson.Object) {
	index, _ := object.Raw("index")
	d := a.draft(index)
	if EndsCompletion(object) {
		a.end(d, object)
		return
	}
	content, _ := object.Raw("content")
	a.add(&d.content, rawjson.Inside(content))
	a.takeTokens(d, object)
	probs, _ := object.Raw(probsKey)
	a.takeProbs(d, probs)
}

const (
	probsKey    = "completion_probabilities"
	settingsKey = "generation_settings"
)

// takeTokens takes in the ids of an event's tokens, and notes where some are missing.
func (a *Assembly) takeTokens(d *draft, object rawjson.Object) {
	raw, _ := object.Raw("tokens")
	content, _ := object.Raw("content")
	tokens := rawjson.Elements(raw)
	told, _ := object.Raw("tokens_predicted")
	decoded := rawjson.Count(told)
	if missing := decoded - d.decoded - len(tokens); missing > 0 && len(tokens) > 0 {
		d.gaps = append(d.gaps, gap{at: len(d.tokens), missing: missing, text: bytes.Clone(rawjson.Inside(content))})
	}
	d.decoded = max(d.decoded, decoded)
	for _, id := range tokens {
		a.put(&d.tokens, id)
	}
	d.unsaid += len(tokens)
	if len(rawjson.Inside(content)) > 0 {
		d.unsaid = 0
	}
}

func (a *Assembly) takeProbs(d *draft, probs []byte) {
	for _, element := range rawjson.Elements(probs) {
		a.put(&d.probs, element)
	}
}

// buildNative follows server_task_result_cmpl_final::to_json_non_oaicompat.
func buildNative(a *Assembly) []byte {
	answers := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		answers[i] = a.pick(a.native(d, d.last))
	}
	if len(answers) == 1 {
		return answers[0]
	}
	return rawjson.List(answers)
}

// native returns the last event of an answer in llama-server's own terms as it would
// be whole.
func (a *Assembly) native(d *draft, last rawjson.Object) []byte {
	edits := []rawjson.Edit{{Key: "content", Value: rawjson.Quoted(d.content)}}
	if a.want.Body.Given("return_tokens") {
		edits = append(edits, rawjson.Edit{Key: "tokens", Value: rawjson.List(d.tokens)})
	}
	if settings, ok := last.Inner(settingsKey); ok {
		edits = append(edits,
			rawjson.Edit{Key: settingsKey, Value: settings.Apply(rawjson.Edit{Key: "stream", Value: []byte("false")})})
	}
	if len(d.probs) > 0 {
		edits = append(edits, rawjson.Edit{Key: probsKey, Value: rawjson.List(d.probs)})
	}
	return last.Apply(edits...)
}

// pick leaves of an answer what the client asks for, as llama-server does in
// json_get_nested_values, and gives it the client's name of the model.
func (a *Assembly) pick(text []byte) []byte {
	object, _ := rawjson.Scan(text)
	if raw, named := object.Raw("model"); named && len(raw) > 0 {
		text = object.Apply(rawjson.Edit{Key: "model", Value: rawjson.String(a.want.Model)})
		object, _ = rawjson.Scan(text)
	}
	if len(a.want.Fields) == 0 {
		return text
	}
	w, seen := rawjson.Builder{}, map[string]bool{}
	for _, path := range a.want.Fields {
		if value, ok := object.Path(strings.Split(path, "/")...); ok && !seen[path] {
			seen[path] = true
			key := rawjson.String(path)
			w.Member(string(key[1:len(key)-1]), value)
		}
	}
	return w.End()
}

func takeText(a *Assembly, event []byte, object rawjson.Object) {
	choice, d, ok := a.choice(object)
	if !ok {
		return
	}
	a.follow(d, object, choice)
	a.addText(d, event, object, choice)
}

// addText takes in what an event adds to a text. The last one adds nothing.
func (a *Assembly) addText(d *draft, event []byte, object, choice rawjson.Object) {
	text, _ := choice.Raw("text")
	a.add(&d.content, rawjson.Inside(text))
	inner, verbose := object.Inner(innerVerboseKey)
	logprobs, given := choice.Inner("logprobs")
	switch {
	case d.ended:
		return
	case verbose:
		a.takeTokens(d, inner)
	case !given && len(rawjson.Inside(text)) > 0:
		d.expect(event, &d.content)
	}
	content, _ := logprobs.Raw("content")
	a.takeProbs(d, content)
}

// buildText follows server_task_result_cmpl_final::to_json_oaicompat.
func buildText(a *Assembly) []byte {
	choices := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		w := rawjson.Builder{}
		w.Member("text", rawjson.Quoted(d.content))
		w.Member("index", rawjson.Int(i))
		logprobs, finish := []byte("null"), d.finish
		if len(d.probs) > 0 {
			logprobs = slices.Concat([]byte(`{"content":`), rawjson.List(d.probs), []byte("}"))
		}
		if finish == nil {
			finish = []byte("null")
		}
		w.Member("logprobs", logprobs)
		w.Member("finish_reason", finish)
		choices[i] = w.End()
	}
	if len(a.drafts) == 0 {
		return []byte("{}")
	}
	d := a.drafts[0]
	edits := []rawjson.Edit{{Key: "choices", Value: rawjson.List(choices)}, {Key: innerVerboseKey}}
	if inner, ok := d.last.Inner(innerVerboseKey); ok && a.want.Body.Given(verboseKey) {
		edits[1].Value = a.native(d, inner)
	}
	return a.finish(d.last.Apply(edits...))
}

// Complement asks the worker for what its events have left out.
func (a *Assembly) Complement(ctx context.Context, w Worker) error {
	for _, d := range a.drafts {
		told := d.last
		if inner, ok := told.Inner(innerVerboseKey); ok {
			told = inner
		}
		if err := a.complementDraft(ctx, w, d, told); err != nil {
			return err
		}
	}
	return nil
}

// complementDraft does so for one choice. told is its end in llama-server's own
// terms.
func (a *Assembly) complementDraft(ctx context.Context, w Worker, d *draft, told rawjson.Object) error {
	kind, _ := told.Raw("stop_type")
	if string(kind) == `"word"` && len(d.probs) > 0 {
		// The probabilities of the word that ended it are left out of whole answers.
		word, _ := told.Raw(stoppingKey)
		tokens, err := cutText(ctx, w, word)
		if err != nil {
			return err
		}
		d.probs = d.probs[:max(0, len(d.probs)-len(tokens))]
	}
	if string(kind) == `"limit"` && d.unsaid > 0 && a.want.Body.Given("stop") {
		if err := a.heldBack(ctx, w, d); err != nil {
			return err
		}
	}
	if a.want.Body.Given("return_tokens") {
		return d.fillGaps(ctx, w)
	}
	return nil
}

// heldBack adds the text at an answer's end that may have been the beginning of a
// word that ends it, and has not been streamed for that.
func (a *Assembly) heldBack(ctx context.Context, w Worker, d *draft) error {
	var answer struct{ Content string }
	body := slices.Concat([]byte(`{"tokens":`), rawjson.List(d.tokens[len(d.tokens)-d.unsaid:]), []byte("}"))
	if err := ask(ctx, w, "/detokenize", body, &answer); err != nil {
		return err
	}
	for _, raw := range stopWords(a.want.Body) {
		var word string
		if json.Unmarshal(raw, &word) == nil && endsInBeginning(answer.Content, word) {
			text := plainString(answer.Content)
			a.add(&d.content, text[1:len(text)-1])
			return nil
		}
	}
	return nil
}

// endsInBeginning reports whether a text ends as a word begins.
func endsInBeginning(text, word string) bool {
	for n := 1; n <= len(word); n++ {
		if strings.HasSuffix(text, word[:n]) {
			return true
		}
	}
	return false
}

// plainString is a JSON string as llama-server writes it, which escapes no more than
// it must.
func plainString(s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return []byte(`""`) // strings always encode
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}

// fillGaps puts the ids in that the events have left out, where cutting the text
// again gives them.
func (d *draft) fillGaps(ctx context.Context, w Worker) error {
	for _, g := range slices.Backward(d.gaps) {
		tokens, err := cutText(ctx, w, rawjson.Quoted(g.text))
		if err != nil {
			return err
		}
		n := len(tokens)
		if n > g.missing && g.at < len(d.tokens) && bytes.Equal(tokens[n-1], d.tokens[g.at]) {
			d.tokens = slices.Insert(d.tokens, g.at, tokens[n-1-g.missing:n-1]...)
		}
	}
	return nil
}

// stopWords returns the words that end an answer, raw.
func stopWords(body rawjson.Object) [][]byte {
	raw, _ := body.Raw("stop")
	if strings.HasPrefix(string(raw), `"`) {
		return [][]byte{raw}
	}
	return rawjson.Elements(raw)
}
