package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// reason says in one sentence what was decided and why.
func reason(s Sizing, rooms []room) string {
	used := slices.DeleteFunc(slices.Clone(rooms), func(r room) bool { return r.workers == 0 })
	var b strings.Builder
	b.WriteString(where(used) + ": " + why(s, used))
	for _, r := range rooms {
		if r.workers == 0 {
			fmt.Fprintf(&b, "; %s has no room for one", r.name)
		}
	}
	return b.String()
}

// where tells the numbers: "3 workers on CUDA0", "5 workers, 3 on CUDA0 and 2 on CUDA1".
func where(rooms []room) string {
	total := 0
	var names, each []string
	for _, r := range rooms {
		total += r.workers
		names = append(names, r.place())
		each = append(each, fmt.Sprintf("%d on %s", r.workers, r.place()))
	}
	switch {
	case len(rooms) == 1:
		return fmt.Sprintf("%s on %s", count(total), names[0])
	case !slices.ContainsFunc(rooms, func(r room) bool { return r.workers != rooms[0].workers }):
		return fmt.Sprintf("%s, %d on each of %s", count(total), rooms[0].workers, and(names))
	default:
		return fmt.Sprintf("%s, %s", count(total), and(each))
	}
}

// place names a spot for people.
func (r room) place() string {
	if len(r.devices) < 2 {
		if r.name == "" && len(r.devices) == 1 {
			return r.devices[0].Name
		}
		return r.name
	}
	var names []string
	for _, d := range r.devices {
		names = append(names, d.Name)
	}
	return and(names) + " together"
}

// why tells what limits the numbers.
func why(s Sizing, rooms []room) string {
	first := rooms[0]
	full := func(r room) bool { return r.workers == r.most }
	if !slices.ContainsFunc(rooms, func(r room) bool { return !full(r) }) {
		return fmt.Sprintf("the first one took %s of %s GiB%s, %s", figure(first.took), figure(first.total), toLoad(s),
			most(first))
	}
	if len(rooms) == 1 && first.workers == 1 {
		return fmt.Sprintf("it takes %s of %s GiB%s, and what is left does not hold another beside a reserve of %s GiB",
			figure(first.took), figure(first.total), toLoad(s), figure(first.reserve))
	}
	var spaces, reserves []string
	limit := ""
	for _, r := range rooms {
		spaces = append(spaces, figure(r.space))
		reserves = append(reserves, figure(r.reserve))
		if full(r) {
			limit = ", and " + most(r)
		}
	}
	return fmt.Sprintf("each takes %s GiB%s, %s GiB are there for them after a reserve of %s GiB%s",
		figure(first.took), toLoad(s), and(spaces), and(reserves), limit)
}

// most tells the limit that a spot has reached.
func most(r room) string {
	if r.most == MostUnderMPS {
		return fmt.Sprintf("%d is the most under MPS", r.most)
	}
	return fmt.Sprintf("%d is the most without MPS", r.most)
}

func toLoad(s Sizing) string {
	if s.Adapters <= 0 {
		return ""
	}
	return fmt.Sprintf(" and has %s GiB of adapters to load", figure(s.Adapters))
}

func onProcessor(workers, cores int) string {
	if cores == 1 {
		return count(workers) + " on the processor: it has 1 core"
	}
	return fmt.Sprintf("%s on the processor: it has %d cores", count(workers), cores)
}

func count(workers int) string {
	if workers == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", workers)
}

// figure is bytes in GiB.
func figure(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/gib) }

// and joins words as people do.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
