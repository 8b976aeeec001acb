// Package rawjson reads and edits the top-level members of a JSON object
// without decoding it: whatever an edit does not name keeps its bytes, order and
// white space, so that unknown fields, zeros and big numbers survive a proxy.
package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Object is a JSON object's text and where its top-level members lie in it. It
// keeps the text that it was parsed from, which must not be changed.
type Object struct {
	text    []byte
	members []member
	end     int // of the closing brace
}

// member is one key and its value; positions are offsets into the text. They are
// short because members are most of what an Object takes of memory.
type member struct {
	start, behind uint32 // of the key's opening quote, and behind the closing one
	value, end    uint32 // of the value
	key           string // what the key stands for, if it has escapes
}

// key returns what a member's key stands for.
func (o Object) key(m *member) string {
	if m.key != "" {
		return m.key
	}
	return string(o.text[m.start+1 : m.behind-1])
}

// is reports whether a member has the key. Unlike comparing with what key returns it
// makes no string.
func (o Object) is(m *member, key string) bool {
	if m.key != "" {
		return m.key == key
	}
	return string(o.text[m.start+1:m.behind-1]) == key
}

// ErrNotObject is returned for valid JSON that is not an object.
var ErrNotObject = errors.New("must be a JSON object")

// Parse validates text and finds its members. It returns a *json.SyntaxError
// with the offset for text that is not JSON, and ErrNotObject.
func Parse(text []byte) (Object, error) {
	if !json.Valid(text) {
		var v any
		err := json.Unmarshal(text, &v) // again, for its message
		if err == nil {
			err = errors.New("not valid JSON")
		}
		return Object{}, err
	}
	o, ok := Scan(text)
	if !ok {
		return Object{}, ErrNotObject
	}
	return o, nil
}

// Scan finds the members of an object that is known to be valid JSON, as from a
// worker. It reports false when text is not an object; for text that is not
// JSON it may report either, but it never reads outside of it. More than 4 GiB are no
// object.
func Scan(text []byte) (Object, bool) {
	s := scanner{text: text}
	if uint64(len(text)) > math.MaxUint32 || !s.take('{') {
		return Object{}, false
	}
	o := Object{text: text, members: make([]member, 0, 8)}
	if s.take('}') {
		o.end = s.pos - 1
		return o, true
	}
	for {
		m, ok := s.member()
		if !ok {
			return Object{}, false
		}
		o.members = append(o.members, m)
		if s.take('}') {
			o.end = s.pos - 1
			return o, true
		}
		if !s.take(',') {
			return Object{}, false
		}
	}
}

// Raw returns the value of key as it stands in the text. Of duplicate keys the
// last one counts, as it does for llama-server.
func (o Object) Raw(key string) (json.RawMessage, bool) {
	for i := len(o.members) - 1; i >= 0; i-- {
		if m := &o.members[i]; o.is(m, key) {
			return json.RawMessage(o.text[m.value:m.end]), true
		}
	}
	return nil, false
}

// Given reports whether key is there and says more than its default does.
func (o Object) Given(key string) bool {
	raw, _ := o.Raw(key)
	return !slices.Contains([]string{"", "null", "false", "0", "[]", `""`}, string(raw))
}

// Inner returns the object that is the value of key. It reports false for any other value.
func (o Object) Inner(key string) (Object, bool) {
	raw, _ := o.Raw(key)
	return Scan(raw)
}

// Empty reports whether the object is the zero value or has no members.
func (o Object) Empty() bool { return len(o.members) == 0 }

// Path returns the value that a path of keys leads to, through objects only.
func (o Object) Path(keys ...string) (json.RawMessage, bool) {
	for ok := true; ok && len(keys) > 0; keys = keys[1:] {
		var raw json.RawMessage
		if raw, ok = o.Raw(keys[0]); ok && len(keys) == 1 {
			return raw, true
		}
		o, ok = Scan(raw)
	}
	return nil, false
}

// Decode stores the value of key in v. It reports whether the key is there and
// returns an error if it has another type; null is as if it were not there.
func (o Object) Decode(key string, v any) (bool, error) {
	raw, ok := o.Raw(key)
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if plain(raw, v) {
		return true, nil
	}
	if err := Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("%s: %w", key, err)
	}
	return true, nil
}

// plain decodes what needs no decoder, as most names and switches, and reports whether
// it did.
func plain(raw json.RawMessage, v any) bool {
	switch v := v.(type) {
	case *bool:
		if yes := string(raw) == "true"; yes || string(raw) == "false" {
			*v = yes
			return true
		}
	case *string:
		if raw[0] != '"' || bytes.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) {
			return false
		}
		*v = string(raw[1 : len(raw)-1])
		return true
	}
	return false
}

// Keys returns the keys in the order of the text, duplicates included.
func (o Object) Keys() []string {
	keys := make([]string, len(o.members))
	for i := range o.members {
		keys[i] = o.key(&o.members[i])
	}
	return keys
}

// All yields the members in the order of the text, duplicates included.
func (o Object) All() iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		for i := range o.members {
			m := &o.members[i]
			if !yield(o.key(m), json.RawMessage(o.text[m.value:m.end])) {
				return
			}
		}
	}
}

// Members is All with keys that nobody may keep, for which no string is made.
func (o Object) Members() iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		for i := range o.members {
			m := &o.members[i]
			key := o.text[m.start+1 : m.behind-1]
			if m.key != "" {
				key = []byte(m.key)
			}
			if !yield(key, json.RawMessage(o.text[m.value:m.end])) {
				return
			}
		}
	}
}

// Edit is one change: the key gets the value, or goes if the value is nil.
type Edit struct {
	Key   string
	Value json.RawMessage // valid JSON
}

// Apply returns a new text with the edits made. An edited key stands once
// afterwards, where it first stood or else at the end; keys that no edit names
// are left alone, also where they are duplicates.
func (o Object) Apply(edits ...Edit) []byte {
	grow := 0
	for _, e := range edits {
		grow += len(e.Key) + len(e.Value) + 8
	}
	out := bytes.NewBuffer(make([]byte, 0, len(o.text)+grow))
	w := writer{out: out}
	written := make([]bool, len(edits))

	open := bytes.IndexByte(o.text, '{')
	out.Write(o.text[:open+1])
	from := uint32(open + 1) // what is between members goes with the one behind it
	for n := range o.members {
		m := &o.members[n]
		i := o.find(edits, m)
		switch {
		case i < 0:
			w.member(o.text[from:m.start], o.text[m.start:m.end])
		case edits[i].Value != nil && !written[i]:
			written[i] = true
			w.member(o.text[from:m.start], o.text[m.start:m.value], edits[i].Value)
		}
		from = m.end
	}
	for i, e := range edits {
		if e.Value != nil && !written[i] {
			w.member(nil, String(e.Key), []byte{':'}, e.Value)
		}
	}
	out.Write(o.text[from:])
	return out.Bytes()
}

// find returns the first edit of a member, or -1.
func (o Object) find(edits []Edit, m *member) int {
	for i := range edits {
		if o.is(m, edits[i].Key) {
			return i
		}
	}
	return -1
}

// String returns s as a JSON string.
func String(s string) json.RawMessage {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// writer puts members behind one another with commas between them.
type writer struct {
	out   *bytes.Buffer
	begun bool
}

// member writes what stood before a member, less its comma, and the member.
func (w *writer) member(before []byte, parts ...[]byte) {
	if w.begun {
		w.out.WriteByte(',')
	}
	w.begun = true
	for _, b := range before {
		if b != ',' {
			w.out.WriteByte(b)
		}
	}
	for _, p := range parts {
		w.out.Write(p)
	}
}

// scanner walks over JSON that is valid, or stops early.
type scanner struct {
	text []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// take skips white space and then b, if it is next.
func (s *scanner) take(b byte) bool {
	s.space()
	if s.pos >= len(s.text) || s.text[s.pos] != b {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) member() (member, bool) {
	s.space()
	m := member{start: uint32(s.pos)}
	if !s.string() {
		return m, false
	}
	m.behind = uint32(s.pos)
	if raw := s.text[m.start:s.pos]; bytes.IndexByte(raw, '\\') >= 0 {
		var key string // not m.key: every member would be allocated for it
		if json.Unmarshal(raw, &key) != nil {
			return m, false
		}
		m.key = key
	}
	if !s.take(':') {
		return m, false
	}
	s.space()
	m.value = uint32(s.pos)
	if !s.skip() {
		return m, false
	}
	m.end = uint32(s.pos)
	return m, true
}

// string moves behind the string that begins here.
func (s *scanner) string() bool {
	if s.pos >= len(s.text) || s.text[s.pos] != '"' {
		return false
	}
	for i := s.pos + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			s.pos = i + 1
			return true
		}
	}
	return false
}

// skip moves behind the value that begins here. It counts brackets rather than
// recursing: depth costs nothing.
func (s *scanner) skip() bool {
	depth := 0
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case '"':
			if !s.string() {
				return false
			}
		case '{', '[':
			depth++
			s.pos++
			continue
		case '}', ']':
			if depth == 0 {
				return false
			}
			depth--
			s.pos++
		case ' ', '\t', '\r', '\n', ',', ':':
			if depth == 0 {
				return false
			}
			s.pos++
			continue
		default:
			s.scalar()
		}
		if depth == 0 {
			return true
		}
	}
	return false
}

// scalar moves behind a number, true, false or null.
func (s *scanner) scalar() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ',', ':', '}', ']', '{', '[', '"', ' ', '\t', '\r', '\n':
			return
		}
		s.pos++
	}
}

// Elements returns the elements of an array that is known to be valid JSON, each
// as it stands in the text; nil if it is no array.
func Elements(array []byte) [][]byte {
	s := scanner{text: array}
	if !s.take('[') || s.take(']') {
		return nil
	}
	var all [][]byte
	for {
		s.space()
		start := s.pos
		if !s.skip() {
			return nil
		}
		all = append(all, array[start:s.pos])
		if !s.take(',') {
			return all
		}
	}
}
