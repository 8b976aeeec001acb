package tally

import (
	"strconv"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// counts reads token counts out of an object. Decoding it into a struct would cost
// more than all else that is done with an answer.
type counts struct {
	object rawjson.Object
	bad    bool // one is no whole number
}

// countsIn returns those of a member; ok says that it is an object.
func countsIn(o rawjson.Object, key string) (c counts, ok bool) {
	c.object, ok = o.Inner(key)
	return c, ok
}

// of returns a count, 0 if it is not there.
func (c *counts) of(key string) int {
	raw, ok := c.object.Raw(key)
	if !ok || string(raw) == "null" {
		return 0
	}
	n, err := strconv.Atoi(string(raw))
	c.bad = c.bad || err != nil
	return n
}

// inside is of for a count in an object of the object.
func (c *counts) inside(object, key string) int {
	inner, ok := countsIn(c.object, object)
	if !ok {
		return 0
	}
	n := inner.of(key)
	c.bad = c.bad || inner.bad
	return n
}

// took returns a duration that is told in milliseconds, 0 if it is not there, and at most
// an hour: it goes into sums.
func (c *counts) took(key string) time.Duration {
	raw, _ := c.object.Raw(key)
	ms, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(ms > 0) {
		return 0
	}
	return time.Duration(min(ms, 3.6e6) * float64(time.Millisecond))
}

// usage is a `usage`.
func (c *counts) usage() pool.Usage {
	return pool.Usage{
		Prompt: c.of("prompt_tokens"), Cached: c.inside("prompt_tokens_details", "cached_tokens"),
		Completion: c.of("completion_tokens"),
	}
}

// timings is a `timings`.
func (c *counts) timings() pool.Usage {
	cached := c.of("cache_n")
	return pool.Usage{Prompt: cached + c.of("prompt_n"), Cached: cached, Completion: c.of("predicted_n")}
}

// PromptTokens returns how many tokens of a prompt an answer tells in its usage, 0 if it tells
// none.
func PromptTokens(answer rawjson.Object) int {
	usage, _ := countsIn(answer, "usage")
	return usage.of("prompt_tokens")
}

// WithUsage puts the sum of all parts into an answer that has the usage of one.
func WithUsage(text []byte, u pool.Usage) []byte {
	answer, _ := rawjson.Scan(text)
	usage, ok := answer.Inner("usage")
	if !ok {
		return text
	}
	count := func(key string, n int) rawjson.Edit { return rawjson.Edit{Key: key, Value: rawjson.Int(n)} }
	edits := []rawjson.Edit{
		count("prompt_tokens", u.Prompt), count("completion_tokens", u.Completion),
		count("total_tokens", u.Prompt+u.Completion),
	}
	const detailsKey = "prompt_tokens_details"
	if details, ok := usage.Inner(detailsKey); ok {
		edits = append(edits, rawjson.Edit{Key: detailsKey, Value: details.Apply(count("cached_tokens", u.Cached))})
	}
	return answer.Apply(rawjson.Edit{Key: "usage", Value: usage.Apply(edits...)})
}
