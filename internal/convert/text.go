package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// readObject reads the configuration's JSON. What editors and Python put into such files
// that is no JSON has words of its own.
func readObject(text []byte) (keys map[string]json.RawMessage, err error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark, which Windows' editors write
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) ||
		bytes.IndexByte(text, 0) >= 0 {
		return nil, malformed("%s: it is not in UTF-8 but, by its first bytes, in UTF-16 or UTF-32: save it as UTF-8",
			configFile)
	}
	if !utf8.Valid(text) {
		return nil, malformed("%s: it is not in UTF-8: save it as UTF-8", configFile)
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, malformed("%s: %v%s", configFile, err, explain(text, err))
	}
	return keys, nil
}

// explain says where JSON ends to be such, and why.
func explain(text []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 1 || syntax.Offset > int64(len(text)) {
		return ""
	}
	at := int(syntax.Offset) - 1
	line := 1 + bytes.Count(text[:at], []byte("\n"))
	where := fmt.Sprintf(", in line %d", line)
	rest := text[at:]
	switch {
	case bytes.HasPrefix(rest, []byte("NaN")), bytes.HasPrefix(rest, []byte("Infinity")),
		bytes.HasPrefix(text[max(0, at-1):], []byte("-Infinity")):
		return where + ": JSON has no NaN and no infinity; write a number, or null"
	case rest[0] == '/' || rest[0] == '#':
		return where + ": JSON has no comments; take them out"
	case rest[0] == '\'':
		return where + `: JSON has texts in ", not in '`
	case rest[0] == '}' || rest[0] == ']':
		return where + ": there may be a comma too many before it"
	}
	return where
}
