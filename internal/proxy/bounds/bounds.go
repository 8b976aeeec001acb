// Package bounds refuses what requests must not hold, before llama-server gets it: fields that
// would cost a worker its memory or its time, addresses of media, numbers that are no tokens,
// prompts that cannot fit, and more bodies at once than memory allows.
package bounds

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/loragate/loragate/internal/grammar"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/rawjson"
)

// Limits are of what llama-server makes of single fields: some size its memory, or its
// work for each token, and it takes them as they come. See docs/operations.md.
type Limits struct {
	Context int   // tokens of a slot; fields that count tokens of the past are bounded by it
	Grammar int64 // bytes of a grammar, and of a schema
	Fields  int64 // bytes of all fields together that are no text, tools, schema or grammar

	// RemoteMedia lets llama-server fetch pictures that requests name by address.
	RemoteMedia bool
}

// Checker checks requests. It remembers what it has found of grammars and schemas: those
// of tools come again with every turn of a conversation. It is safe for concurrent use.
type Checker struct {
	limits Limits

	mu      sync.Mutex // guards checked
	checked *lru.Set[[sha256.Size]byte, error]
}

// remembered is how many grammars and schemas are.
const remembered = 4096

// New returns a Checker.
func New(limits Limits) *Checker {
	return &Checker{limits: limits, checked: lru.New[[sha256.Size]byte, error](remembered)}
}

// Check refuses a request that could hurt a worker. The body must be what llama-server
// gets, after every change but for what the gateway adds of its own. The field ids is where
// numbers are tokens, which have a bound of their own.
func (c *Checker) Check(body rawjson.Object, ids string) error {
	if !c.limits.RemoteMedia {
		if err := checkMedia(body); err != nil {
			return err
		}
	}
	if err := countValues(body, ids); err != nil {
		return err
	}
	var rest int64
	largest, size := "", 0
	for _, f := range fieldsOf(body) {
		key, raw := f.key, f.raw
		if grammar.Depth(raw) > grammar.MaxDepth {
			return httpkit.Invalid(key, "The field %q is nested deeper than %d.", httpkit.Shorten(key),
				grammar.MaxDepth)
		}
		if string(raw) == "null" {
			continue
		}
		if check, ok := fieldChecks[key]; ok {
			if err := check(c, raw); err != nil {
				return refusal(key, err)
			}
		}
		if slices.Contains(largeFields, key) {
			continue
		}
		rest += int64(len(key) + len(raw))
		if len(raw) > size {
			largest, size = key, len(raw)
		}
	}
	if rest > c.limits.Fields {
		return httpkit.Invalid(largest,
			"The fields beside texts and tools take %d bytes, of which %q has %d; %d are allowed (limits.fields).",
			rest, httpkit.Shorten(largest), size, c.limits.Fields)
	}
	return nil
}

// inside is what is wrong within a field's value.
type inside struct {
	at   string // the path from the field on
	tool string // whose schema it is, if it is one's
	error
}

// refusal says what is wrong with a field, and where in it.
func refusal(key string, err error) error {
	var where *inside
	if !errors.As(err, &where) {
		return httpkit.Invalid(key, "The field %q %s.", key, err)
	}
	key += where.at
	if where.tool == "" {
		return httpkit.Invalid(key, "The field %q %s.", key, err)
	}
	return httpkit.Invalid(key, "The field %q, of the tool %q, %s.", key, httpkit.Shorten(where.tool), err)
}

// field is a member of a request.
type field struct {
	key string
	raw json.RawMessage
}

// fieldsOf returns a body's fields by their keys, of duplicates the last one. Each is looked at
// once: a body may have a hundred thousand.
func fieldsOf(body rawjson.Object) []field {
	var all []field
	for key, raw := range body.All() {
		all = append(all, field{key, raw})
	}
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b field) int { return strings.Compare(a.key, b.key) })
	return slices.CompactFunc(all, func(a, b field) bool { return a.key == b.key })
}

// maxValues bounds what a request consists of, duplicates of keys included: llama-server
// takes half a kilobyte and some microseconds for each string, key and bracket in it, and
// an eighth of that for a number.
const (
	maxValues   = 1 << 17
	numbersEach = 8
)

// countValues refuses a request of too many. Where the field ids has no objects, its
// numbers do not count.
func countValues(body rawjson.Object, ids string) error {
	left := maxValues * numbersEach
	for key, raw := range body.All() {
		free := key == ids && bytes.IndexByte(raw, '{') < 0
		left -= numbersEach
		rawjson.Walk(raw, func(t rawjson.Token) bool {
			switch {
			case t.Kind == rawjson.Close:
			case t.Kind != rawjson.Value || t.Raw[0] == '"':
				left -= numbersEach
			case !free:
				left--
			}
			return left >= 0
		})
		if left < 0 {
			return httpkit.Invalid(key,
				"The request has too many values, up to the field %q: %d are allowed, of numbers %d times as many.",
				httpkit.Shorten(key), maxValues, numbersEach)
		}
	}
	return nil
}

// largeFields hold what models read, or have bounds of their own.
var largeFields = []string{
	"messages", "prompt", "input", "instructions", "system", "content", "tokens", "documents", "texts", "query",
	"input_prefix", "input_suffix", "input_extra", "suffix", "prediction", "generation_prompt",
	"tools", "functions", "grammar", "json_schema", "response_format", "text", "stop",
}

// fieldCheck returns what is wrong with a field's value, in words that follow its name.
type fieldCheck func(c *Checker, raw []byte) error

// fieldChecks are by field. Those that are not here neither size anything nor take work.
var fieldChecks = map[string]fieldCheck{
	"repeat_last_n":      ofContext,
	"dry_penalty_last_n": ofContext,

	"n_probs":  atMost(maxProbabilities),
	"logprobs": atMost(maxProbabilities), // top_logprobs have a bound of OpenAI's, in package fields

	"stop":                      listOf(256, 64<<10),
	"dry_sequence_breakers":     listOf(64, 4<<10),
	"samplers":                  listOf(32, 1<<10),
	"logit_bias":                listOf(4096, 64<<10),
	"preserved_tokens":          listOf(256, 16<<10),
	"response_fields":           listOf(256, 16<<10),
	"message_delimiters":        listOf(64, 16<<10),
	"reasoning_budget_end_tags": listOf(64, 4<<10),
	"reasoning_budget_end_tag":  listOf(64, 4<<10),
	"input_extra":               listOf(1024, 0),
	"input":                     listOf(maxInputs, 0),
	"messages":                  messages,
	"documents":                 listOf(maxInputs, 0),
	"texts":                     listOf(maxInputs, 0),
	"tools":                     (*Checker).tools,

	"grammar":         (*Checker).grammar,
	"json_schema":     (*Checker).schema,
	"response_format": (*Checker).format,

	"grammar_triggers": notServed("tools bring their own"),
	"chat_parser":      notServed("it is llama-server's own"),
}

// maxProbabilities is of tokens that are told with each token of an answer. llama-server
// keeps them all until its end: of a vocabulary of 4,000 tokens 4.5 MB for each token.
const maxProbabilities = 128

// maxInputs is of texts to embed, or to rank, in one request; each is a task.
const maxInputs = 2048

// ofContext bounds a number of tokens by the context: no more of them are ever there.
func ofContext(c *Checker, raw []byte) error {
	return atMost(float64(c.limits.Context))(c, raw)
}

// maxMessages is of messages whatever the context: what llama-server does with them
// before it counts their tokens takes 12 s and more for 40,000.
const maxMessages = 8192

// messages bounds their number: each is a token at least.
func messages(c *Checker, raw []byte) error {
	return listOf(min(c.limits.Context, maxMessages), 0)(c, raw)
}

func atMost(most float64) fieldCheck {
	return func(_ *Checker, raw []byte) error {
		if first := raw[0]; first != '-' && (first < '0' || first > '9') {
			return nil // llama-server refuses it, or it is a switch
		}
		if n, err := strconv.ParseFloat(string(raw), 64); err != nil || n > most {
			return fmt.Errorf("must be at most %.0f", most)
		}
		return nil
	}
}

// listOf bounds a list, an object or a string by its entries and its bytes; 0 is no
// bound. A string counts as one entry.
func listOf(entries, size int) fieldCheck {
	return func(_ *Checker, raw []byte) error {
		n := 1
		switch raw[0] {
		case '[':
			n = 0
			rawjson.Each(raw, func(_, _ []byte) bool { n++; return n <= entries })
		case '{':
			o, _ := rawjson.Scan(raw)
			n = len(o.Keys())
		}
		if n > entries {
			return fmt.Errorf("has more than %d entries", entries)
		}
		if size > 0 && len(raw) > size {
			return fmt.Errorf("has %d bytes, more than %d", len(raw), size)
		}
		return nil
	}
}

func notServed(why string) fieldCheck {
	return func(_ *Checker, raw []byte) error {
		if string(raw) == "[]" || string(raw) == `""` {
			return nil
		}
		return fmt.Errorf("is not served: %s", why)
	}
}

func (c *Checker) grammar(raw []byte) error {
	var text string
	if rawjson.Unmarshal(raw, &text) != nil {
		return errors.New("must be a string")
	}
	return c.remember(raw, func() error { return grammar.Check(text) })
}

func (c *Checker) schema(raw []byte) error {
	return c.remember(raw, func() error { return grammar.CheckSchema(raw) })
}

// remember returns what a check says of a text, from memory if it can.
func (c *Checker) remember(raw []byte, check func() error) error {
	if int64(len(raw)) > c.limits.Grammar {
		return fmt.Errorf("has %d bytes, more than %d (limits.grammar)", len(raw), c.limits.Grammar)
	}
	key := sha256.Sum256(raw)
	c.mu.Lock()
	known, ok := c.checked.Get(key)
	c.mu.Unlock()
	if ok {
		return known
	}
	err := check() // two may check the same at once
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.checked.Put(key, err) // fails only where all entries are pinned, and none is
	return err
}

// format finds the schemas of a response_format: one for each of its types.
func (c *Checker) format(raw []byte) error {
	o, _ := rawjson.Scan(raw)
	if schema, ok := o.Raw("schema"); ok {
		if err := c.schema(schema); err != nil {
			return &inside{at: ".schema", error: err}
		}
	}
	inner, _ := o.Inner("json_schema")
	if schema, ok := inner.Raw("schema"); ok {
		if err := c.schema(schema); err != nil {
			return &inside{at: ".json_schema.schema", error: err}
		}
	}
	return nil
}

// maxTools is more than any API allows.
const maxTools = 512

// tools looks at the schemas of tools, wherever one of the APIs has them.
func (c *Checker) tools(raw []byte) error {
	list := rawjson.Elements(raw)
	if len(list) > maxTools {
		return fmt.Errorf("has %d entries, more than %d", len(list), maxTools)
	}
	if total := int64(len(raw)); total > toolsFactor*c.limits.Grammar {
		return fmt.Errorf("has %d bytes, more than %d (%d times limits.grammar)", total, toolsFactor*c.limits.Grammar,
			toolsFactor)
	}
	for i, one := range list {
		if err := c.tool(one); err != nil {
			err.at = fmt.Sprintf("[%d]%s", i, err.at)
			return err
		}
	}
	return nil
}

// toolsFactor is how much larger all tools may be than one schema.
const toolsFactor = 16

func (c *Checker) tool(raw []byte) *inside {
	o, ok := rawjson.Scan(raw)
	if !ok {
		return nil
	}
	function, _ := o.Inner("function")
	if parameters, ok := function.Raw("parameters"); ok {
		if err := c.schema(parameters); err != nil {
			name, _ := function.Raw("name")
			return &inside{at: ".function.parameters", tool: rawjson.Text(name), error: err}
		}
	}
	for _, key := range []string{"parameters", "input_schema"} {
		if parameters, ok := o.Raw(key); ok && !bytes.Equal(parameters, []byte("null")) {
			if err := c.schema(parameters); err != nil {
				name, _ := o.Raw("name")
				return &inside{at: "." + key, tool: rawjson.Text(name), error: err}
			}
		}
	}
	return nil
}
