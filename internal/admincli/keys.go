package admincli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/loragate/loragate/internal/adminapi"
)

// Keys writes a table, a line for each.
func Keys(w io.Writer, list []adminapi.Key, now time.Time) error {
	t := newTable(w, "ID", "TENANT", "LABEL", "CREATED", "EXPIRES")
	for _, k := range list {
		expires := "never"
		if k.Expires != nil {
			expires = humanize.RelTime(*k.Expires, now, "ago", "from now")
		}
		t.row(k.ID, k.Tenant, k.Label, humanize.RelTime(k.Created, now, "ago", "from now"), expires)
	}
	return t.Flush()
}

// NewKey writes a key that was just made, alone on a line for scripts; what it is
// called goes to notes.
func NewKey(w, notes io.Writer, k adminapi.NewKey) error {
	fmt.Fprintf(notes, "%s, for %s; it is not shown again:\n", k.Key.ID, k.Key.Tenant)
	_, err := fmt.Fprintln(w, k.Secret)
	return err
}

// Usage writes a table, a line for each group.
func Usage(w io.Writer, u adminapi.UsageAnswer) error {
	titles := make([]string, len(u.By))
	for i, by := range u.By {
		titles[i] = strings.ToUpper(by)
	}
	t := newTable(w, append(titles, "REQUESTS", "PROMPT", "CACHED", "COMPLETION", "QUEUED", "SWAPPED", "GENERATED")...)
	n := func(i int64) string { return strconv.FormatInt(i, 10) }
	seconds := func(s float64) string {
		return time.Duration(s * float64(time.Second)).Round(time.Second / 10).String()
	}
	for _, s := range u.Sums {
		t.row(append(append([]string{}, s.Group...), n(s.Requests), n(s.PromptTokens), n(s.CachedTokens),
			n(s.CompletionTokens),
			seconds(s.QueueSeconds), seconds(s.SwapSeconds), seconds(s.GenerationSecond))...)
	}
	return t.Flush()
}
