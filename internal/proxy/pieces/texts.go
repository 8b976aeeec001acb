package pieces

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// Texts are the list in a request for embeddings or a ranking that is cut into
// pieces. Without a key the request is one piece.
type Texts struct {
	key     string
	groups  [][][]byte
	ranking bool
	top     int // the best of a ranking that are answered; -1 is all
}

// TextsOf finds the list in a body, as llama-server looks for it.
func TextsOf(body rawjson.Object, ranking bool) Texts {
	keys := []string{"input", "content"}
	if ranking {
		keys = []string{"documents", "texts"}
	}
	for _, key := range keys {
		raw, ok := body.Raw(key)
		if !ok {
			continue
		}
		t := Texts{key: key, groups: groups(severalTexts(raw)), ranking: ranking, top: -1}
		if len(t.groups) > 1 {
			return t
		}
		break
	}
	return Texts{ranking: ranking, top: -1}
}

// Bodies returns how many pieces there are, and what makes the body of each: only one is to be
// there at a time. A piece of a ranking ranks all that it has.
func (t *Texts) Bodies(body rawjson.Object) (n int, piece func(i int) rawjson.Object, err error) {
	lists := []string{t.key} // any other one would be in all pieces
	if t.key == "" {
		lists = []string{"input", "content", "documents", "texts"}
	}
	if err := CheckShared(body, lists...); err != nil {
		return 0, nil, err
	}
	if t.ranking {
		given, err := body.Decode("top_n", &t.top)
		if err != nil || given && (t.top < 0 || t.top > math.MaxInt32) {
			return 0, nil, httpkit.Invalid("top_n",
				"The field \"top_n\" must be a whole number from 0 to %d.", math.MaxInt32)
		}
	}
	if t.key == "" {
		return 1, func(int) rawjson.Object { return body }, nil
	}
	return len(t.groups), func(i int) rawjson.Object {
		edits := []rawjson.Edit{{Key: t.key, Value: rawjson.List(t.groups[i])}}
		if t.ranking {
			edits = append(edits, rawjson.Edit{Key: "top_n"})
		}
		piece, _ := rawjson.Scan(body.Apply(edits...)) // an edited object stays one
		return piece
	}, nil
}

// Merge makes one answer of those to the pieces. It reports false for what are no
// answers.
func (t *Texts) Merge(answers [][]byte) ([]byte, bool) {
	if len(answers) == 1 {
		return answers[0], true
	}
	where := "data"
	if t.ranking {
		where = "results"
	}
	all, used, ok := t.collect(answers, where)
	if !ok {
		return nil, false
	}
	if t.ranking {
		all = t.rank(all)
	}
	object, ok := rawjson.Scan(answers[0])
	if !ok { // llama-server's own form is the list alone
		return rawjson.List(all), true
	}
	edits := []rawjson.Edit{{Key: where, Value: rawjson.List(all)}}
	if usage, ok := object.Inner("usage"); ok {
		edits = append(edits, rawjson.Edit{Key: "usage", Value: usage.Apply(
			rawjson.Edit{Key: "prompt_tokens", Value: rawjson.Int(used)},
			rawjson.Edit{Key: "total_tokens", Value: rawjson.Int(used)})})
	}
	return object.Apply(edits...), true
}

// collect returns what the answers have of each text, which is their own or in a
// member, with its index among all, and the tokens that were read.
func (t *Texts) collect(answers [][]byte, where string) (all [][]byte, used int, ok bool) {
	begin := 0
	for i, answer := range answers {
		elements := answer
		if object, ok := rawjson.Scan(answer); ok {
			elements, _ = object.Raw(where)
			used += tally.PromptTokens(object)
		}
		for _, element := range rawjson.Elements(elements) {
			all = append(all, Shifted(element, begin))
		}
		begin += len(t.groups[i])
	}
	return all, used, len(all) == begin
}

// rank puts the best first and leaves out what is not asked for.
func (t *Texts) rank(all [][]byte) [][]byte {
	type ranked struct {
		text  []byte
		score float64
	}
	order := make([]ranked, len(all))
	for i, text := range all {
		order[i] = ranked{text, scoreOf(text)}
	}
	slices.SortStableFunc(order, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	if t.top >= 0 {
		order = order[:min(t.top, len(order))]
	}
	best := make([][]byte, len(order))
	for i, r := range order {
		best[i] = r.text
	}
	return best
}

// scoreOf returns how well a document fits; 0 if it is not told.
func scoreOf(text []byte) float64 {
	object, _ := rawjson.Scan(text)
	for _, key := range []string{"relevance_score", "score"} {
		if raw, ok := object.Raw(key); ok {
			score, _ := strconv.ParseFloat(string(raw), 64) // null, say, is 0 for llama-server, too
			return score
		}
	}
	return 0
}

const (
	// maxGroup and maxGroupBytes bound what one piece of a list of texts has: a
	// worker's slots are to have work, and who waits is not to wait for long.
	maxGroup      = 8
	maxGroupBytes = 16 << 10
)

// groups cuts a list of texts into pieces.
func groups(texts [][]byte) (all [][][]byte) {
	begin, size := 0, 0
	for i, text := range texts {
		if i > begin && (i-begin == maxGroup || size+len(text) > maxGroupBytes) {
			all = append(all, texts[begin:i])
			begin, size = i, 0
		}
		size += len(text)
	}
	return append(all, texts[begin:])
}
