package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/loragate/loragate/bench/report"
)

// results holds the tables so far and keeps a file up to date with them, so
// that a run that is killed leaves what it had.
type results struct {
	file   string // "" for none
	tables []*report.Table
}

// save takes a table in, in place of an earlier one of its name, and writes the
// file.
func (r *results) save(t *report.Table) error {
	at := slices.IndexFunc(r.tables, func(other *report.Table) bool { return other.Name == t.Name })
	if at < 0 {
		r.tables = append(r.tables, t)
	} else {
		r.tables[at] = t
	}
	if r.file == "" {
		return nil
	}
	return writeJSON(r.file, r.tables)
}

// writeJSON replaces a file by way of another one: a reader or a kill never
// meets half of it.
func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	part := file + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// print writes all tables for people.
func (r *results) print(w io.Writer) error {
	for _, t := range r.tables {
		if err := t.Write(w); err != nil {
			return err
		}
	}
	return nil
}
