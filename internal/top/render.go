package top

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
)

// unlimited is a height for output that is not a screen.
const unlimited = math.MaxInt

// mapWidth is how many slots of a worker are drawn.
const mapWidth = 32

// render returns one frame: lines of at most width characters, at most height
// of them. Rates are what changed from prev to cur over elapsed. Names come from
// the network and are stripped of what could steer a terminal.
func render(prev, cur adminapi.State, elapsed time.Duration, width, height int) string {
	lines := header(prev, cur, elapsed)
	lines = append(lines, "")
	lines = append(lines, workerTable(cur.Workers)...)
	if len(cur.Devices) > 0 {
		lines = append(lines, "")
		lines = append(lines, deviceTable(cur.Devices)...)
	}
	lines = append(lines, "")
	lines = append(lines, modelTable(prev, cur, elapsed)...)
	if hidden := len(lines) - max(height, 1); hidden > 0 {
		lines = lines[:max(height, 1)]
		lines[len(lines)-1] = fmt.Sprintf("… %d lines more", hidden+1)
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(fit(line, width))
		b.WriteByte('\n')
	}
	return b.String()
}

// header sums up the whole gateway.
func header(prev, cur adminapi.State, elapsed time.Duration) []string {
	a, b := prev.Totals, cur.Totals
	queue := fmt.Sprintf("queue %d", cur.Queue.Waiting)
	if cur.Queue.Waiting > 0 {
		queue += fmt.Sprintf(" (oldest %s)", seconds(cur.Queue.OldestWaitSeconds))
	}
	over := "last " + seconds(elapsed.Seconds())
	if prev.Time.Equal(cur.Started) {
		over = "average since start"
	}
	hits, misses := grown(a.WarmHits, b.WarmHits), grown(a.WarmMisses, b.WarmMisses)
	counts := window(prev.TTFT, cur.TTFT)
	return []string{
		fmt.Sprintf("loragate  up %s  %s", uptime(cur.Time.Sub(cur.Started)), over),
		fmt.Sprintf("%s requests/s  %s tokens/s out, %s in  %s errors/s  %s rejected/s",
			rate(a.Requests, b.Requests, elapsed), rate(a.CompletionTokens, b.CompletionTokens, elapsed),
			rate(a.PromptTokens, b.PromptTokens, elapsed), rate(a.Errors, b.Errors, elapsed),
			rate(a.Rejected, b.Rejected, elapsed)),
		fmt.Sprintf("%s  swaps %s/s  warm %s  KV kept %s, lost %s tokens/s",
			queue, rate(a.Swaps, b.Swaps, elapsed), share(hits, hits+misses),
			rate(a.KVTokensKept, b.KVTokensKept, elapsed), rate(a.KVTokensLost, b.KVTokensLost, elapsed)),
		fmt.Sprintf("first token p50 %s  p99 %s", quantile(counts, 0.5), quantile(counts, 0.99)),
	}
}

// workerTable has a line for each worker. In the map of its slots a full block
// is at work, a shaded one holds a model's KV, a dot is empty.
func workerTable(workers []adminapi.Worker) []string {
	rows := [][]string{{"WORKER", "STATE", "APPLIED", "BUSY", "SLOTS", "RESTARTS", "OWNERS"}}
	for _, w := range workers {
		rows = append(rows, []string{
			fmt.Sprint(w.ID), name(w.State), name(w.Applied), fmt.Sprintf("%d/%d", w.InFlight, w.Slots),
			slotMap(w), fmt.Sprint(w.Restarts), owners(w.SlotOwners),
		})
	}
	return align("lllrlrl", rows)
}

// deviceTable has a line for each device: what a step takes with one request and with
// eight, with another busy worker beside, and what a change of adapter and a turn take.
func deviceTable(devices []adminapi.Device) []string {
	rows := [][]string{{"DEVICE", "STEP", "OF 8", "WITH ANOTHER", "CHANGE", "TURN"}}
	for _, d := range devices {
		step := func(s float64) string {
			if !d.Measured {
				return nothing
			}
			return millis(s)
		}
		rows = append(rows, []string{
			cmp.Or(name(d.Name), nothing), step(d.Step), step(d.Step + 7*d.StepRequest), step(d.Step + d.StepWorker),
			millis(d.Swap), seconds(d.Turn),
		})
	}
	return align("lrrrrr", rows)
}

func slotMap(w adminapi.Worker) string {
	var b strings.Builder
	for slot := range min(w.Slots, mapWidth) {
		switch {
		case slot >= len(w.SlotOwners):
			b.WriteRune('·')
		case w.SlotOwners[slot].Busy:
			b.WriteRune('█')
		case w.SlotOwners[slot].Model != "":
			b.WriteRune('▒')
		default:
			b.WriteRune('·')
		}
	}
	if w.Slots > mapWidth {
		b.WriteRune('…')
	}
	return b.String()
}

// owners lists whose KV the slots hold, the most slots first.
func owners(slots []adminapi.Slot) string {
	count := map[string]int{}
	for _, s := range slots {
		if s.Model != "" {
			count[s.Model]++
		}
	}
	models := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})
	for i, model := range models {
		models[i] = fmt.Sprintf("%s %d", name(model), count[model])
	}
	return strings.Join(models, ", ")
}

// modelTable has the busiest models first: by tokens, then by requests, then by
// who waits.
func modelTable(prev, cur adminapi.State, elapsed time.Duration) []string {
	before := make(map[string]adminapi.Model, len(prev.Models))
	for _, m := range prev.Models {
		before[m.Name] = m
	}
	models := slices.Clone(cur.Models)
	tokens := func(m adminapi.Model) uint64 { return grown(before[m.Name].CompletionTokens, m.CompletionTokens) }
	requests := func(m adminapi.Model) uint64 { return grown(before[m.Name].Requests, m.Requests) }
	slices.SortStableFunc(models, func(a, b adminapi.Model) int {
		return cmp.Or(
			cmp.Compare(tokens(b), tokens(a)), cmp.Compare(requests(b), requests(a)),
			cmp.Compare(b.Waiting, a.Waiting), strings.Compare(a.Name, b.Name))
	})
	rows := [][]string{{"MODEL", "REQUESTS/S", "TOKENS/S", "CACHED", "WAITING"}}
	for _, m := range models {
		old := before[m.Name]
		rows = append(rows, []string{
			name(m.Name),
			rate(old.Requests, m.Requests, elapsed),
			rate(old.CompletionTokens, m.CompletionTokens, elapsed),
			share(grown(old.CachedTokens, m.CachedTokens), grown(old.PromptTokens, m.PromptTokens)),
			fmt.Sprint(m.Waiting),
		})
	}
	return align("lrrrr", rows)
}
