package top

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/terminal"
)

// nothing stands where there was nothing to measure.
const nothing = "-"

// maxName keeps one long name from pushing everything else off the screen.
const maxName = 28

// grown is how much a counter has grown; one that shrank began anew.
func grown(prev, cur uint64) uint64 {
	if cur < prev {
		return cur
	}
	return cur - prev
}

func rate(prev, cur uint64, elapsed time.Duration) string {
	if elapsed <= 0 {
		return nothing
	}
	switch r := float64(grown(prev, cur)) / elapsed.Seconds(); {
	case r >= 99_950:
		return fmt.Sprintf("%.0fk", r/1000)
	case r >= 99.95:
		return fmt.Sprintf("%.0f", r)
	case r == 0:
		return "0"
	case r < 0.0005:
		return "<0.001"
	case r < 0.1:
		return fmt.Sprintf("%.3f", r)
	default:
		return fmt.Sprintf("%.1f", r)
	}
}

func share(part, whole uint64) string {
	if whole == 0 {
		return nothing
	}
	return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(whole))
}

func seconds(s float64) string {
	switch {
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 99.95:
		return fmt.Sprintf("%.1f s", s)
	default:
		return fmt.Sprintf("%.0f s", s)
	}
}

// millis is for what may take less than a millisecond.
func millis(s float64) string { return fmt.Sprintf("%.1f ms", s*1000) }

func uptime(d time.Duration) string {
	d = d.Truncate(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%dd%s", days, (d % (24 * time.Hour)).Truncate(time.Minute))
	}
	return d.String()
}

// window is what came into a histogram between two looks.
func window(prev, cur adminapi.Histogram) adminapi.Histogram {
	if len(prev.Counts) != len(cur.Counts) || prev.Count > cur.Count {
		prev = adminapi.Histogram{Counts: make([]uint64, len(cur.Counts))}
	}
	w := adminapi.Histogram{Bounds: cur.Bounds, Counts: make([]uint64, len(cur.Counts)), Count: cur.Count - prev.Count}
	for i := range cur.Counts {
		w.Counts[i] = grown(prev.Counts[i], cur.Counts[i])
	}
	return w
}

// quantile is the duration that the share q was below, taken to be spread
// evenly within a bucket, as Prometheus does it.
func quantile(h adminapi.Histogram, q float64) string {
	n := min(len(h.Bounds), len(h.Counts)) // they come from the network
	if h.Count == 0 || n == 0 {
		return nothing
	}
	rank := q * float64(h.Count)
	lower, below := 0.0, uint64(0)
	for i := range n {
		if float64(h.Counts[i]) >= rank && h.Counts[i] > below {
			in := (rank - float64(below)) / float64(h.Counts[i]-below)
			return seconds(lower + in*(h.Bounds[i]-lower))
		}
		lower, below = h.Bounds[i], h.Counts[i]
	}
	return "over " + seconds(h.Bounds[n-1])
}

// align makes columns of the rows, the first of which is the heading. Columns
// are l for text, which begins at the left, or r for numbers.
func align(columns string, rows [][]string) []string {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for r, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i] == 'r' {
				cells[i] = pad + cell
			} else {
				cells[i] = cell + pad
			}
		}
		lines[r] = strings.TrimRight(strings.Join(cells, "  "), " ")
	}
	return lines
}

// fit cuts a line that is too long.
func fit(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	if width < 1 {
		return ""
	}
	return string([]rune(line)[:width-1]) + "…"
}

// name makes a name safe to show.
func name(s string) string { return fit(terminal.Clean(s), maxName) }
