package rawjson

import "bytes"

// Kind says what a Token is.
type Kind int

const (
	Open  Kind = iota // the beginning of an object or array
	Close             // its end
	Key               // of a member
	Value             // a string, number, true, false or null
)

// Token is one piece of a JSON text.
type Token struct {
	Kind Kind
	Raw  []byte // as it stands in the text: one bracket, a key's or string's quotes included
}

// Walk calls visit with the pieces of a value that is known to be valid JSON, in their
// order, until visit returns false. It goes over the text once, however deep it nests,
// and keeps nothing but a bit for each open bracket.
func Walk(text []byte, visit func(Token) bool) {
	s := scanner{text: text}
	var objects []bool // the open brackets: which are objects
	key := false       // the next string is one
	for {
		s.space()
		if s.pos >= len(s.text) {
			return
		}
		start, kind := s.pos, Value
		switch s.text[s.pos] {
		case '{', '[':
			kind = Open
			objects = append(objects, s.text[s.pos] == '{')
			key = s.text[s.pos] == '{'
			s.pos++
		case '}', ']':
			if len(objects) == 0 {
				return
			}
			kind = Close
			objects = objects[:len(objects)-1]
			key = false
			s.pos++
		case ',':
			key = len(objects) > 0 && objects[len(objects)-1]
			s.pos++
			continue
		case ':':
			s.pos++
			continue
		case '"':
			if key {
				kind, key = Key, false
			}
			if !s.string() {
				return
			}
		default:
			s.scalar()
		}
		if !visit(Token{kind, s.text[start:s.pos]}) {
			return
		}
	}
}

// Each calls visit with the elements of an array that is known to be valid JSON, as
// they stand in the text, and what follows each, until visit returns false. It reports
// whether the text is an array.
func Each(array []byte, visit func(element, rest []byte) bool) bool {
	s := scanner{text: array}
	if !s.take('[') {
		return false
	}
	for more := !s.take(']'); more; more = s.take(',') {
		s.space()
		start := s.pos
		if !s.skip() || !visit(array[start:s.pos], array[s.pos:]) {
			break
		}
	}
	return true
}

// Text is what a JSON string says, "" for any other value.
func Text(raw []byte) (s string) {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	_ = Unmarshal(raw, &s) // fails for what is no JSON only
	return s
}

// StringBytes returns how many bytes a JSON string has that are no white space, at
// least: an escape counts as one, whatever it stands for.
func StringBytes(raw []byte) (n int) {
	for i := 1; i < len(raw)-1; i++ {
		switch raw[i] {
		case ' ', '\t', '\r', '\n':
			continue
		case '\\':
			i++
			switch raw[i] {
			case 'n', 'r', 't', 'f':
				continue
			case 'u':
				i += 4
				if len(raw) > i && string(raw[i-3:i-1]) == "00" && raw[i-1] < '3' { // \u0000 to \u002f: some are white space
					continue
				}
			}
		}
		n++
	}
	return n
}
