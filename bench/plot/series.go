// Package plot draws the results of the benchmark "mixed" as a picture.
package plot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/bench/mixed"
	"github.com/loragate/loragate/bench/report"
)

// point is what was measured with a number of clients.
type point struct{ clients, value float64 }

// series is the points of one contestant, by their clients.
type series struct {
	name   string
	points []point
}

// last returns the value with the most clients.
func (s series) last() float64 { return s.points[len(s.points)-1].value }

// find returns mixed's table.
func find(tables []*report.Table) (*report.Table, error) {
	at := slices.IndexFunc(tables, func(t *report.Table) bool { return t.Name == "mixed" })
	if at < 0 {
		return nil, errors.New(`no table is called "mixed"`)
	}
	return tables[at], nil
}

// read returns a quantity of the traffic over all adapters, multiplied by
// factor, for each contestant: the bare servers first. What is missing in a
// table of a run that was cut is left out.
func read(t *report.Table, key string, factor float64) ([]series, error) {
	label := map[string]int{}
	for i, name := range t.Labels {
		label[name] = i
	}
	var all []series
	for _, row := range t.Rows {
		get := func(name string) string {
			if i, ok := label[name]; ok && i < len(row.Labels) {
				return row.Labels[i]
			}
			return ""
		}
		value, measured := row.Values[key]
		if get(mixed.LabelTraffic) != mixed.Zipf || !measured || value <= 0 {
			continue
		}
		clients, err := strconv.Atoi(get(mixed.LabelClients))
		if err != nil || clients < 1 {
			return nil, fmt.Errorf("%q is no number of clients", get(mixed.LabelClients))
		}
		name := get(mixed.LabelServer)
		at := slices.IndexFunc(all, func(s series) bool { return s.name == name })
		if at < 0 {
			at = len(all)
			all = append(all, series{name: name})
		}
		all[at].points = append(all[at].points, point{float64(clients), value * factor})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no row of %s traffic has %s", mixed.Zipf, key)
	}
	for _, s := range all {
		slices.SortFunc(s.points, func(a, b point) int { return cmp.Compare(a.clients, b.clients) })
	}
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(rank(a.name), rank(b.name)) })
	return all, nil
}

// rank orders contestants by name.
func rank(name string) int {
	switch {
	case name == mixed.Raw:
		return 0
	case name == mixed.RawTuned:
		return 1
	case strings.HasPrefix(name, mixed.Gateway):
		return 2
	}
	return 3
}
