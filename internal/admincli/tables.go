// Package admincli shows what the admin API answers to a person: tables,
// details, progress.
package admincli

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/terminal"
)

// none stands for what there is not, so that columns stay columns.
const none = "-"

// Adapters writes a table, a line for each.
func Adapters(w io.Writer, list []adminapi.Adapter, now time.Time) error {
	t := newTable(w, "NAME", "STATE", "VERSION", "DIGEST", "RANK", "SIZE", "LOADED", "APPLIED", "USED", "SOURCE")
	for _, a := range list {
		t.row(a.Name, state(a), number(a.Version), digest(a.Digest), number(a.Rank), size(a.Bytes),
			ids(a.LoadedOn), ids(a.AppliedOn), used(a.LastUsed, now), origin(a))
	}
	return t.Flush()
}

// state is an adapter's, with a mark if show has more to say.
func state(a adminapi.Adapter) string {
	if len(a.Warnings) > 0 {
		return a.State + ", warning"
	}
	return a.State
}

// origin says where an adapter comes from, and what is wrong with it.
func origin(a adminapi.Adapter) string {
	from := cmp.Or(a.Source, sum(a.Parts), "(upload)")
	switch {
	case a.Reason == "":
		return tail(from)
	case strings.HasPrefix(a.Reason, from):
		return a.Reason
	}
	return tail(from) + ": " + a.Reason
}

// tail keeps the end of a long source, which tells it from others.
func tail(source string) string {
	const limit = 60
	if text := []rune(source); len(text) > limit {
		return "…" + string(text[len(text)-limit+1:])
	}
	return source
}

func sum(parts []adminapi.Part) string {
	terms := make([]string, len(parts))
	for i, p := range parts {
		terms[i] = p.Adapter
		if p.Scale != nil {
			terms[i] += "@" + strconv.FormatFloat(*p.Scale, 'g', -1, 64)
		}
	}
	return strings.Join(terms, " + ")
}

// origins are the API's words in those of a sentence.
var origins = map[string]string{"directory": "the watched folder", "config": "the configuration",
	"api": "the admin API"}

// Adapter writes all that is known of one, a line for each thing.
func Adapter(w io.Writer, a adminapi.Adapter, now time.Time) error {
	t := newTable(w)
	t.row("name", a.Name)
	if a.Description != "" {
		t.row("description", a.Description)
	}
	t.row("aliases", strings.Join(a.Aliases, ", "))
	t.row("kind", a.Kind+", from "+origins[a.Origin])
	t.row("source", cmp.Or(a.Source, sum(a.Parts), "(upload)"))
	t.row("state", a.State)
	if a.Reason != "" {
		t.row("reason", a.Reason)
	}
	for _, warning := range a.Warnings {
		t.row("warning", warning)
	}
	t.row("scale, weight", fmt.Sprintf("%g, %g", a.Scale, a.Weight))
	t.row("requests at once", number(a.MaxConcurrency))
	t.row("pinned, preloaded", fmt.Sprintf("%t, %t", a.Pin, a.Preload))
	t.row("loaded on", ids(a.LoadedOn))
	t.row("applied on", ids(a.AppliedOn))
	t.row("used", used(a.LastUsed, now))
	if a.Staged != nil {
		t.row("waits to be loaded", fmt.Sprintf("version %d, %s", a.Staged.Version, a.Staged.Digest))
	}
	versions(t, a, now)
	return t.Flush()
}

// Warnings writes what an adapter that is served is warned of, a line for each thing.
func Warnings(w io.Writer, a adminapi.Adapter) (err error) {
	for _, warning := range a.Warnings {
		_, failed := fmt.Fprintln(w, "warning: "+terminal.Clean(warning))
		err = cmp.Or(err, failed)
	}
	return err
}

// versions writes those that are kept, oldest first.
func versions(t *table, a adminapi.Adapter, now time.Time) {
	for _, v := range a.Versions {
		note := ""
		if v.Active {
			note = ", answers"
		}
		t.row(fmt.Sprintf("version %d", v.Version), fmt.Sprintf("%s, rank %d, %s, %s%s",
			v.Digest, v.Rank, size(v.Bytes), humanize.RelTime(v.Created, now, "ago", "from now"), note))
	}
}

// Workers writes a table, a line for each.
func Workers(w io.Writer, list []adminapi.Worker) error {
	t := newTable(w, "ID", "STATE", "PID", "DEVICE", "APPLIED", "LOADED", "SLOTS", "RESTARTS")
	for _, x := range list {
		state := x.State
		if x.Drained && state != "drained" {
			state += ", drained"
		}
		t.row(strconv.Itoa(x.ID), state, number(x.PID), x.Device, x.Applied, strconv.Itoa(len(x.Loaded)),
			fmt.Sprintf("%d/%d", x.InFlight, x.Slots), strconv.Itoa(x.Restarts))
	}
	return t.Flush()
}

// table aligns columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer, titles ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(titles) > 0 {
		t.row(titles...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = cmp.Or(terminal.Clean(cell), none)
	}
	fmt.Fprintln(t, strings.Join(cells, "\t")) // fails at Flush
}

func number(n int) string {
	if n == 0 {
		return none
	}
	return strconv.Itoa(n)
}

// digest shortens one to what tells it from others.
func digest(hex string) string { return hex[:min(12, len(hex))] }

func size(bytes int64) string {
	if bytes == 0 {
		return none
	}
	return humanize.IBytes(uint64(bytes))
}

func ids(list []int) string {
	text := make([]string, len(list))
	for i, id := range list {
		text[i] = strconv.Itoa(id)
	}
	return strings.Join(text, ",")
}

func used(at *time.Time, now time.Time) string {
	if at == nil {
		return none
	}
	return humanize.RelTime(*at, now, "ago", "from now")
}
