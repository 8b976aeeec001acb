// Package report is what a benchmark ends in: tables for people and JSON for
// programs, of the same numbers.
package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table is the result of one benchmark.
type Table struct {
	Name    string   `json:"name"`            // of the benchmark, as on the command line
	About   string   `json:"about,omitempty"` // one line: what was compared under which conditions
	Labels  []string `json:"labels"`          // what tells rows apart, such as "concurrency"
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Column is one measured quantity.
type Column struct {
	Key  string `json:"key"`  // in Row.Values
	Unit string `json:"unit"` // "ms", "tokens/s", "" for counts and ratios
}

// Row is what was measured in one case.
type Row struct {
	Labels []string           `json:"labels"` // one for each of Table.Labels
	Values map[string]float64 `json:"values"` // a quantity that was not measured is not there
}

// Add appends a row.
func (t *Table) Add(labels []string, values map[string]float64) {
	t.Rows = append(t.Rows, Row{Labels: labels, Values: values})
}

// Write prints the table in Markdown, its columns aligned.
func (t *Table) Write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\n%s: %s\n\n", t.Name, t.About); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.AlignRight)
	heads, rules := append([]string(nil), t.Labels...), []string{}
	for _, c := range t.Columns {
		heads = append(heads, strings.TrimSpace(c.Key+" "+c.Unit))
	}
	for range heads {
		rules = append(rules, "---:")
	}
	line := func(cells []string) { fmt.Fprintf(tw, "|%s\t|\n", strings.Join(cells, "\t|")) }
	line(heads)
	line(rules)
	for _, r := range t.Rows {
		cells := append([]string(nil), r.Labels...)
		for _, c := range t.Columns {
			cells = append(cells, number(r.Values, c.Key))
		}
		line(cells)
	}
	return tw.Flush()
}

// number prints a value with about three digits, or a dash for none.
func number(values map[string]float64, key string) string {
	v, ok := values[key]
	switch size := math.Abs(v); {
	case !ok:
		return "-"
	case size >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
