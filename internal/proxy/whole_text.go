package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// nativeShape is that of llama-server's own API.
type nativeShape struct{}

func (nativeShape) take(a *assembly, _ []byte, object rawjson.Object) {
	index, _ := object.Raw("index")
	d := a.draft(index)
	if endsCompletion(object) {
		a.end(d, object)
		return
	}
	content, _ := object.Raw("content")
	a.add(&d.content, inside(content))
	a.takeTokens(d, object)
	probs, _ := object.Raw(probsKey)
	a.takeProbs(d, probs)
}

const (
	probsKey    = "completion_probabilities"
	settingsKey = "generation_settings"
	// verboseKey is where answers in OpenAI's terms have one in llama-server's own,
	// for those who ask for it.
	verboseKey, innerVerboseKey = "verbose", "__verbose"
)

// takeTokens takes in the ids of an event's tokens, and notes where some are missing.
func (a *assembly) takeTokens(d *draft, object rawjson.Object) {
	raw, _ := object.Raw("tokens")
	content, _ := object.Raw("content")
	tokens := rawjson.Elements(raw)
	told, _ := object.Raw("tokens_predicted")
	decoded := number(told)
	if missing := decoded - d.decoded - len(tokens); missing > 0 && len(tokens) > 0 {
		d.gaps = append(d.gaps, gap{at: len(d.tokens), missing: missing, text: bytes.Clone(inside(content))})
	}
	d.decoded = max(d.decoded, decoded)
	for _, id := range tokens {
		a.put(&d.tokens, id)
	}
	d.unsaid += len(tokens)
	if len(inside(content)) > 0 {
		d.unsaid = 0
	}
}

func (a *assembly) takeProbs(d *draft, probs []byte) {
	for _, element := range rawjson.Elements(probs) {
		a.put(&d.probs, element)
	}
}

// build follows server_task_result_cmpl_final::to_json_non_oaicompat.
func (nativeShape) build(a *assembly) []byte {
	answers := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		answers[i] = a.pick(a.native(d, d.last))
	}
	if len(answers) == 1 {
		return answers[0]
	}
	return list(answers)
}

// native returns the last event of an answer in llama-server's own terms as it would
// be whole.
func (a *assembly) native(d *draft, last rawjson.Object) []byte {
	edits := []rawjson.Edit{{Key: "content", Value: quoted(d.content)}}
	if a.r.given("return_tokens") {
		edits = append(edits, rawjson.Edit{Key: "tokens", Value: list(d.tokens)})
	}
	if settings, ok := last.Inner(settingsKey); ok {
		edits = append(edits, rawjson.Edit{Key: settingsKey, Value: settings.Apply(rawjson.Edit{Key: "stream", Value: []byte("false")})})
	}
	if len(d.probs) > 0 {
		edits = append(edits, rawjson.Edit{Key: probsKey, Value: list(d.probs)})
	}
	return last.Apply(edits...)
}

// pick leaves of an answer what the client asks for, as llama-server does in
// json_get_nested_values, and gives it the client's name of the model.
func (a *assembly) pick(text []byte) []byte {
	object, _ := rawjson.Scan(text)
	if raw, named := object.Raw("model"); named && len(raw) > 0 {
		text = object.Apply(rawjson.Edit{Key: "model", Value: rawjson.String(a.r.asked)})
		object, _ = rawjson.Scan(text)
	}
	if len(a.r.fields) == 0 {
		return text
	}
	w, seen := objectWriter{}, map[string]bool{}
	for _, path := range a.r.fields {
		if value, ok := object.Path(strings.Split(path, "/")...); ok && !seen[path] {
			seen[path] = true
			key := rawjson.String(path)
			w.member(string(key[1:len(key)-1]), value)
		}
	}
	return w.end()
}

// textShape is that of OpenAI's completions.
type textShape struct{}

func (textShape) take(a *assembly, event []byte, object rawjson.Object) {
	choice, d, ok := a.choice(object)
	if !ok {
		return
	}
	a.follow(d, object, choice)
	a.takeText(d, event, object, choice)
}

// takeText takes in what an event adds to a text. The last one adds nothing.
func (a *assembly) takeText(d *draft, event []byte, object, choice rawjson.Object) {
	text, _ := choice.Raw("text")
	a.add(&d.content, inside(text))
	inner, verbose := object.Inner(innerVerboseKey)
	logprobs, given := choice.Inner("logprobs")
	switch {
	case d.ended:
		return
	case verbose:
		a.takeTokens(d, inner)
	case !given && len(inside(text)) > 0:
		d.expect(event, &d.content)
	}
	content, _ := logprobs.Raw("content")
	a.takeProbs(d, content)
}

// build follows server_task_result_cmpl_final::to_json_oaicompat.
func (textShape) build(a *assembly) []byte {
	choices := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		w := objectWriter{}
		w.member("text", quoted(d.content))
		w.member("index", decimal(i))
		logprobs, finish := []byte("null"), d.finish
		if len(d.probs) > 0 {
			logprobs = slices.Concat([]byte(`{"content":`), list(d.probs), []byte("}"))
		}
		if finish == nil {
			finish = []byte("null")
		}
		w.member("logprobs", logprobs)
		w.member("finish_reason", finish)
		choices[i] = w.end()
	}
	if len(a.drafts) == 0 {
		return []byte("{}")
	}
	d := a.drafts[0]
	edits := []rawjson.Edit{{Key: "choices", Value: list(choices)}, {Key: innerVerboseKey}}
	if inner, ok := d.last.Inner(innerVerboseKey); ok && a.r.given(verboseKey) {
		edits[1].Value = a.native(d, inner)
	}
	return a.finish(d.last.Apply(edits...))
}

// finish gives an answer in OpenAI's terms the client's name of the model, and the
// usage of all of its choices.
func (a *assembly) finish(text []byte) []byte {
	object, _ := rawjson.Scan(text)
	text = a.r.rename(object)
	if a.rec.tally.parts() > 1 && !a.exact {
		text = withUsage(text, a.rec.tally.usage())
	}
	return text
}

// complement asks the worker for what its events have left out.
func (a *assembly) complement(ctx context.Context, w pool.Runner) error {
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
func (a *assembly) complementDraft(ctx context.Context, w pool.Runner, d *draft, told rawjson.Object) error {
	kind, _ := told.Raw("stop_type")
	if string(kind) == `"word"` && len(d.probs) > 0 {
		// The probabilities of the word that ended it are left out of whole answers.
		word, _ := told.Raw("stopping_word")
		tokens, err := cutText(ctx, w, word)
		if err != nil {
			return err
		}
		d.probs = d.probs[:max(0, len(d.probs)-len(tokens))]
	}
	if string(kind) == `"limit"` && d.unsaid > 0 && a.r.given("stop") {
		if err := a.heldBack(ctx, w, d); err != nil {
			return err
		}
	}
	if a.r.given("return_tokens") {
		return d.fillGaps(ctx, w)
	}
	return nil
}

// heldBack adds the text at an answer's end that may have been the beginning of a
// word that ends it, and has not been streamed for that.
func (a *assembly) heldBack(ctx context.Context, w pool.Runner, d *draft) error {
	var answer struct{ Content string }
	body := slices.Concat([]byte(`{"tokens":`), list(d.tokens[len(d.tokens)-d.unsaid:]), []byte("}"))
	if err := ask(ctx, w, "/detokenize", body, &answer); err != nil {
		return err
	}
	for _, raw := range a.r.stopWords() {
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
func (d *draft) fillGaps(ctx context.Context, w pool.Runner) error {
	for _, g := range slices.Backward(d.gaps) {
		tokens, err := cutText(ctx, w, quoted(g.text))
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

// cutText returns the ids of a text's tokens; the text is a JSON string.
func cutText(ctx context.Context, w pool.Runner, text []byte) ([][]byte, error) {
	var answer struct{ Tokens json.RawMessage }
	body := slices.Concat([]byte(`{"content":`), text, []byte(`,"add_special":false,"parse_special":false}`))
	err := ask(ctx, w, "/tokenize", body, &answer)
	return rawjson.Elements(answer.Tokens), err
}

// ask asks a worker for something small.
func ask(ctx context.Context, w pool.Runner, path string, body []byte, to any) error {
	resp, err := w.Forward(ctx, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Status != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(to)
}

// number reads a count; -1 is none.
func number(raw []byte) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return -1
	}
	return n
}

func decimal(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
