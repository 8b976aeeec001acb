package proxy

import (
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// What llama-server makes a grammar of is bounded: it walks through it recursively,
// and ends with a segmentation fault, or takes gigabytes, where that goes too deep.
const (
	maxGrammar = 64 << 10 // bytes
	maxDepth   = 128      // of parentheses in a grammar, of brackets and braces in a schema
)

// checkGrammar refuses requests whose grammar or schemas could end a worker, and
// triggers of grammars: they are regular expressions that can run for ever.
func checkGrammar(body rawjson.Object) error {
	if raw, ok := body.Raw("grammar"); ok && (len(raw) > maxGrammar || depth(raw, "(", ")") > maxDepth) {
		return invalid("grammar", "The grammar is longer than %d bytes or nested deeper than %d.", maxGrammar, maxDepth)
	}
	for _, key := range []string{"json_schema", "response_format", "text", "output_config", "tools"} {
		if raw, ok := body.Raw(key); ok && depth(raw, "[{", "]}") > maxDepth {
			return invalid(key, "The field %q is nested deeper than %d.", key, maxDepth)
		}
	}
	if raw, ok := body.Raw("grammar_triggers"); ok && string(raw) != "null" && string(raw) != "[]" {
		return invalid("grammar_triggers", "The field \"grammar_triggers\" is not served: tools bring their own.")
	}
	return nil
}

// depth is how deep brackets nest, those in strings included.
func depth(text []byte, opening, closing string) (deepest int) {
	now := 0
	for _, b := range text {
		switch {
		case strings.IndexByte(opening, b) >= 0:
			now++
			deepest = max(deepest, now)
		case strings.IndexByte(closing, b) >= 0:
			now--
		}
	}
	return deepest
}
