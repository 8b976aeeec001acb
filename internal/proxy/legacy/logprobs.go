package legacy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/loragate/loragate/internal/rawjson"
)

// entry is what llama-server tells of one token.
type entry struct {
	name    []byte // what it says, a JSON string
	bytes   []byte // the same, as it is
	logprob []byte // a JSON number
}

// readEntry reads one.
func readEntry(raw []byte) (e entry, object rawjson.Object) {
	object, _ = rawjson.Scan(raw)
	e.name, _ = object.Raw("token")
	list, _ := object.Raw("bytes")
	for _, b := range rawjson.Elements(list) {
		e.bytes = append(e.bytes, byte(rawjson.Count(b)))
	}
	if len(rawjson.Text(e.name)) != len(e.bytes) { // it is a part of a character: so OpenAI called those
		var name strings.Builder
		name.WriteString("bytes:")
		for _, b := range e.bytes {
			fmt.Fprintf(&name, `\x%02x`, b)
		}
		e.name = rawjson.String(name.String())
	}
	var told bool
	if e.logprob, told = object.Raw("logprob"); !told { // post_sampling_probs
		prob, _ := object.Raw("prob")
		p, _ := strconv.ParseFloat(string(prob), 64)
		e.logprob = strconv.AppendFloat(nil, max(math.Log(p), -9999), 'g', -1, 64)
	}
	return e, object
}

// listOf puts a list together.
type listOf struct{ text []byte }

func (l *listOf) add(element []byte) {
	separator := byte(',')
	if len(l.text) == 0 {
		separator = '['
	}
	l.text = append(append(l.text, separator), element...)
}

func (l *listOf) end() []byte {
	if len(l.text) == 0 {
		return []byte("[]")
	}
	return append(l.text, ']')
}

// place is where in a text the next token begins, in characters.
type place struct {
	at   int
	part []byte // of a character that is not whole yet
}

// pass goes on behind a token.
func (p *place) pass(token []byte) {
	p.part = append(p.part, token...)
	for len(p.part) > 0 && utf8.FullRune(p.part) {
		_, size := utf8.DecodeRune(p.part)
		p.part = p.part[size:]
		p.at++
	}
}

// older returns the entries of a list, as llama-server tells them, in the older form. With top
// at 0 only the tokens themselves are told.
func older(content []byte, top int, at *place) []byte {
	var tokens, logprobs, tops, offsets listOf
	for _, element := range rawjson.Elements(content) {
		e, object := readEntry(element)
		tokens.add(e.name)
		logprobs.add(e.logprob)
		tops.add(topOf(e, object, top))
		offsets.add(rawjson.Int(at.at))
		at.pass(e.bytes)
	}
	w := rawjson.Builder{}
	w.Member("tokens", tokens.end())
	w.Member("token_logprobs", logprobs.end())
	w.Member("top_logprobs", tops.end())
	w.Member("text_offset", offsets.end())
	return w.End()
}

// topOf returns the likeliest ones in a token's place, and that token, by their names.
func topOf(e entry, object rawjson.Object, top int) []byte {
	list, told := object.Raw("top_logprobs")
	if !told {
		list, _ = object.Raw("top_probs")
	}
	named := map[string]bool{}
	w := rawjson.Builder{}
	put := func(e entry) {
		if len(e.name) < 2 || named[string(e.name)] {
			return
		}
		named[string(e.name)] = true
		w.Member(string(rawjson.Inside(e.name)), e.logprob)
	}
	n := 0
	rawjson.Each(list, func(element, _ []byte) bool {
		if n++; n <= top {
			other, _ := readEntry(element)
			put(other)
		}
		return n < top
	})
	put(e)
	return w.End()
}

// mean is how likely a list's tokens are in the mean; the least for none.
func mean(content []byte) float64 {
	sum, n := 0.0, 0
	for _, element := range rawjson.Elements(content) {
		e, _ := readEntry(element)
		p, err := strconv.ParseFloat(string(e.logprob), 64)
		if err != nil {
			continue
		}
		sum += p
		n++
	}
	if n == 0 {
		return math.Inf(-1)
	}
	return sum / float64(n)
}
