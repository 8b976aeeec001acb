package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/rawjson"
)

// Work that llama-server cannot be told to stop, or does at one go though others
// wait, is cut into pieces that it runs one by one. Each has a lease of its own: the
// scheduler gives others their turn between them, and of a request that its client
// left no further piece runs.

// runPieces runs a request with several prompts one by one and answers as
// llama-server answers all of them.
func (p *Proxy) runPieces(c echo.Context, r *request) error {
	if err := checkShared(r.body, "prompt"); err != nil {
		return err
	}
	rec, size := recordOf(c), 0
	answers := make([][]byte, len(r.prompts))
	for i := range r.prompts {
		if err := p.run(c, r.piece(i, &answers[i])); err != nil {
			return err
		}
		rec.settle()
		if size += len(answers[i]); size > maxAnswer {
			return errAnswerTooLong
		}
	}
	text, ok := r.endpoint.shape.(merger).merge(answers, r.choices)
	if !ok {
		return workerDied(errNotOfEndpoint)
	}
	if _, isText := r.endpoint.shape.(textShape); isText {
		text = withUsage(text, rec.usage())
	}
	rec.first = time.Since(rec.start)
	return p.write(c, http.StatusOK, text)
}

// piece returns the request for one of several prompts, whose answer goes into into.
func (r *request) piece(i int, into *[]byte) *request {
	piece := *r
	piece.prompts, piece.into = nil, into
	prompt := r.prompts[i]
	if prompt[0] == '[' { // in a list of its own it means what it does beside others
		prompt = list(r.prompts[i : i+1])
	}
	piece.body, _ = rawjson.Scan(r.body.Apply(rawjson.Edit{Key: "prompt", Value: prompt})) // an edited object stays one
	return &piece
}

// merger is a shape whose requests have prompts.
type merger interface {
	// merge makes one answer of those to each prompt, with so many choices each. It
	// reports false for what are no answers. The usage stays that of the first.
	merge(answers [][]byte, choices int) ([]byte, bool)
}

func (textShape) merge(answers [][]byte, choices int) ([]byte, bool) {
	var all [][]byte
	for i, answer := range answers {
		object, ok := rawjson.Scan(answer)
		if !ok {
			return nil, false
		}
		raw, _ := object.Raw("choices")
		for _, choice := range rawjson.Elements(raw) {
			all = append(all, shifted(choice, i*choices))
		}
	}
	first, _ := rawjson.Scan(answers[0])
	return first.Apply(rawjson.Edit{Key: "choices", Value: list(all)}), true
}

func (nativeShape) merge(answers [][]byte, choices int) ([]byte, bool) {
	var all [][]byte
	for i, answer := range answers {
		for _, element := range elementsOrOne(answer) {
			all = append(all, shifted(element, i*choices))
		}
	}
	return list(all), true
}

// elementsOrOne returns the elements of an array, or what is none as the only one.
func elementsOrOne(text []byte) [][]byte {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); bytes.HasPrefix(trimmed, []byte{'['}) {
		return rawjson.Elements(trimmed)
	}
	return [][]byte{text}
}

// shifted adds to the index of an object, if it has one.
func shifted(text []byte, by int) []byte {
	object, ok := rawjson.Scan(text)
	raw, has := object.Raw("index")
	if !ok || !has || by == 0 {
		return text
	}
	return object.Apply(rawjson.Edit{Key: "index", Value: decimal(number(raw) + by)})
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

// severalTexts returns the elements of a list of texts, each a string, an array of
// tokens or an object; nil if it is one text, or no more than one.
func severalTexts(raw []byte) [][]byte {
	texts := elementsOrOne(raw)
	if len(texts) < 2 || slices.ContainsFunc(texts, func(text []byte) bool { return bytes.IndexByte([]byte(`"[{`), text[0]) < 0 }) {
		return nil // numbers are tokens, and strings beside them text, of one prompt
	}
	return texts
}
