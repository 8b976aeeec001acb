package plot

import (
	"math"
	"slices"
	"strconv"
)

// axis maps values to a span of the picture.
type axis struct {
	from, to   float64 // of the picture
	low, high  float64 // of the values
	log        bool
	ticks      []float64
	tickLabels []string
}

// at returns where a value lies.
func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	if high == low {
		return (a.from + a.to) / 2
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// clientsAxis has a tick at each number of clients that was measured, evenly
// spaced for each doubling.
func clientsAxis(from, to float64, all []series) axis {
	a := axis{from: from, to: to, log: true}
	for _, s := range all {
		for _, p := range s.points {
			if !slices.Contains(a.ticks, p.clients) {
				a.ticks = append(a.ticks, p.clients)
			}
		}
	}
	slices.Sort(a.ticks)
	a.low, a.high = a.ticks[0], a.ticks[len(a.ticks)-1]
	return a.labelled()
}

// linearAxis begins at 0 and has up to six round ticks.
func linearAxis(from, to float64, all []series) axis {
	_, most := limits(all)
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{0.1, 0.2, 0.25, 0.5, 1, 2} {
		if most/(step*part) <= 5 {
			step *= part
			break
		}
	}
	a := axis{from: from, to: to, high: step * math.Ceil(most/step)}
	for i := 0; float64(i)*step <= a.high*1.001; i++ {
		a.ticks = append(a.ticks, float64(i)*step)
	}
	return a.labelled()
}

// logAxis has ticks at 1, 3, 10, 30 and so on around the values.
func logAxis(from, to float64, all []series) axis {
	least, most := limits(all)
	a := axis{from: from, to: to, log: true}
	for decade := math.Floor(math.Log10(least)); ; decade++ {
		for _, digit := range []float64{1, 3} {
			// Rounded, or 3 * 10^-1 would be labelled 0.30000000000000004.
			tick, _ := strconv.ParseFloat(strconv.FormatFloat(digit*math.Pow(10, decade), 'g', 3, 64), 64)
			if tick <= least {
				a.ticks = nil // only the last one below is of use
			}
			a.ticks = append(a.ticks, tick)
			if tick >= most {
				a.low, a.high = a.ticks[0], tick
				return a.labelled()
			}
		}
	}
}

func (a axis) labelled() axis {
	for _, tick := range a.ticks {
		a.tickLabels = append(a.tickLabels, number(tick))
	}
	return a
}

// number writes a value with three digits at most, thousands apart.
func number(v float64) string {
	if v < 1000 {
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
		return strconv.FormatFloat(rounded, 'f', -1, 64)
	}
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func limits(all []series) (least, most float64) {
	least = math.Inf(1)
	for _, s := range all {
		for _, p := range s.points {
			least, most = min(least, p.value), max(most, p.value)
		}
	}
	return least, most
}

// spread moves positions apart until neighbours are at least gap from each
// other, keeping their order and as near as possible to where they were, and
// within the bounds if there is room.
func spread(at []float64, gap, low, high float64) []float64 {
	order := make([]int, len(at))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case at[a] < at[b]:
			return -1
		case at[a] > at[b]:
			return 1
		}
		return 0
	})
	out := slices.Clone(at)
	for range 100 { // each round settles the neighbours a little more
		for i := 1; i < len(order); i++ {
			above, below := order[i-1], order[i]
			if short := gap - (out[below] - out[above]); short > 0 {
				out[above] -= short / 2
				out[below] += short / 2
			}
		}
		for i, o := range order {
			out[o] = min(max(out[o], low+float64(i)*gap), high-float64(len(order)-1-i)*gap)
		}
	}
	return out
}
