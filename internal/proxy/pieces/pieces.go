// Package pieces cuts requests into pieces and puts the answers to them together.
//
// Work that llama-server cannot be told to stop, or does at one go though others
// wait, is cut into pieces that it runs one by one. Each has a lease of its own: the
// scheduler gives others their turn between them, and of a request that its client
// left no further piece runs.
package pieces

import (
	"bytes"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// maxShared bounds what each piece of a request has of it: it is sent with all of them,
// and the query of a ranking is cut into tokens for each document.
const maxShared = 512 << 10

// CheckShared refuses a request in pieces that has more beside the lists that are cut.
func CheckShared(body rawjson.Object, lists ...string) error {
	size, largest, most := 0, "", 0
	for key, raw := range body.All() {
		if slices.Contains(lists, key) {
			continue
		}
		if size += len(key) + len(raw); len(raw) > most {
			largest, most = key, len(raw)
		}
	}
	if size > maxShared {
		return httpkit.Invalid(largest,
			"The fields beside the list take %d bytes, of which %q has %d; %d are allowed.", size,
			httpkit.Shorten(largest), most, maxShared)
	}
	return nil
}

// elementsOrOne returns the elements of an array, or what is none as the only one.
func elementsOrOne(text []byte) [][]byte {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); bytes.HasPrefix(trimmed, []byte{'['}) {
		return rawjson.Elements(trimmed)
	}
	return [][]byte{text}
}

// severalTexts returns the elements of a list of texts, each a string, an array of
// tokens or an object; nil if it is one text, or no more than one.
func severalTexts(raw []byte) [][]byte {
	texts := elementsOrOne(raw)
	if len(texts) < 2 ||
		slices.ContainsFunc(texts, func(text []byte) bool { return bytes.IndexByte([]byte(`"[{`), text[0]) < 0 }) {
		return nil // numbers are tokens, and strings beside them text, of one prompt
	}
	return texts
}

// Shifted adds to the index of an object, if it has one.
func Shifted(text []byte, by int) []byte {
	object, ok := rawjson.Scan(text)
	raw, has := object.Raw("index")
	if !ok || !has || by == 0 {
		return text
	}
	return object.Apply(rawjson.Edit{Key: "index", Value: rawjson.Int(rawjson.Count(raw) + by)})
}
