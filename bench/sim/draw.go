package sim

import (
	"bufio"
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	drawWidth  = 900
	drawLeft   = 74 // for the rows' names
	drawRight  = 12
	slotHeight = 9
	serverGap  = 5
	queueHigh  = 26 // of the count of waiting requests
)

// palette tells adapters apart on light and dark grounds, also for the colour
// blind; it repeats after its end.
var palette = []string{"#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#b5a800", "#8f7ee7"}

const drawStyle = `<style>
text{font:11px system-ui,sans-serif;fill:#333}
.head{font-weight:600}.small{font-size:10px;fill:#666}
.row{fill:#8883}.drain{fill:url(#drain)}.hatch{stroke:#555}.swap{fill:#d00000}
.axis{stroke:#8888}.queue{fill:#8886;stroke:#777}
@media(prefers-color-scheme:dark){
text{fill:#ddd}.small{fill:#aaa}.hatch{stroke:#ccc}.swap{fill:#ff6b6b}.queue{stroke:#aaa}}
</style>
<defs><pattern id="drain" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<line class="hatch" y2="5"/></pattern></defs>
`

// drawing is an SVG that grows downwards.
type drawing struct {
	out     *bufio.Writer
	y       int
	scale   float64 // pixels a second
	seconds float64
	colours map[string]string
	longest int // of the queues
}

// DrawTimelines draws runs as a self-contained SVG for light and dark pages, one below
// the other on one scale: a row for each slot, its requests coloured by adapter, swaps
// and drains of servers, and how many requests wait. The runs must have been made with
// Options.Timeline.
func DrawTimelines(w io.Writer, runs []*Result) error {
	var list []*Timeline
	for _, r := range runs {
		if r.Timeline == nil {
			return errors.New("a run without Options.Timeline cannot be drawn")
		}
		list = append(list, r.Timeline)
	}
	if len(list) == 0 {
		return errors.New("there is no run to draw")
	}
	d := &drawing{out: bufio.NewWriter(w), colours: map[string]string{}}
	names := adapters(list)
	for i, name := range names {
		d.colours[name] = palette[i%len(palette)]
	}
	height := 30 // legend and axis
	for _, t := range list {
		d.seconds = max(d.seconds, t.Seconds)
		d.longest = max(d.longest, longestQueue(t))
		height += t.height()
	}
	if d.seconds <= 0 {
		return errors.New("a run of no time cannot be drawn")
	}
	d.scale = (drawWidth - drawLeft - drawRight) / d.seconds
	fmt.Fprintf(d.out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" `+
		`aria-label="Which adapter ran on which worker when">`+"\n", drawWidth, height)
	d.out.WriteString(drawStyle)
	d.legend(names)
	for _, t := range list {
		d.run(t)
	}
	d.axis()
	d.out.WriteString("</svg>\n")
	return d.out.Flush()
}

func longestQueue(t *Timeline) int {
	if len(t.Waiting) == 0 {
		return 0
	}
	return slices.MaxFunc(t.Waiting, func(a, b Sample) int { return a.Waiting - b.Waiting }).Waiting
}

// height is what run draws.
func (t *Timeline) height() int {
	h := 16 + queueHigh + 6
	for _, slots := range t.Rows {
		h += slots*slotHeight + serverGap
	}
	return h
}

func (d *drawing) x(seconds float64) float64 { return drawLeft + seconds*d.scale }

func (d *drawing) text(class string, x float64, y int, s string) {
	fmt.Fprintf(d.out, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n", class, x, y, html.EscapeString(s))
}

func (d *drawing) rect(attributes string, from, to float64, y, height int, title string) {
	fmt.Fprintf(d.out, `<rect %s x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`+"\n",
		attributes, d.x(from), y, max(0.8, (to-from)*d.scale), height, html.EscapeString(title))
}

func (d *drawing) legend(names []string) {
	x := float64(drawLeft)
	entry := func(mark, name string) {
		fmt.Fprintf(d.out, `<rect %s x="%.1f" y="3" width="10" height="10"/>`+"\n", mark, x)
		d.text("small", x+14, 12, name)
		x += 30 + 6*float64(len(name))
	}
	for _, name := range names[:min(len(names), len(palette))] {
		entry(`fill="`+d.colours[name]+`"`, name)
	}
	entry(`class="swap"`, "swap")
	entry(`class="drain"`, "drain")
	d.y = 16
}

// run draws one run: its name, its servers' slots, its queue.
func (d *drawing) run(t *Timeline) {
	d.text("head", 2, d.y+12, t.Policy)
	d.y += 16
	tops := make([]int, len(t.Rows))
	for i, slots := range t.Rows {
		tops[i] = d.y
		d.text("small", 2, d.y+slots*slotHeight/2+4, fmt.Sprint(serverNoun(t), " ", i))
		for s := range slots {
			d.rect(`class="row"`, 0, t.Seconds, d.y+s*slotHeight, slotHeight-1, "")
		}
		d.y += slots*slotHeight + serverGap
	}
	for _, s := range t.Drains {
		d.rect(`class="drain"`, s.From, s.To, tops[s.Server], t.Rows[s.Server]*slotHeight-1, "drains for "+s.Adapter)
	}
	for _, s := range t.Spans {
		title := fmt.Sprintf("%s, %.2f to %.2f s", s.Adapter, s.From, s.To)
		d.rect(`fill="`+d.colours[s.Adapter]+`"`, s.From, s.To, tops[s.Server]+s.Slot*slotHeight, slotHeight-1, title)
	}
	for _, s := range t.Swaps {
		d.rect(`class="swap"`, s.From, s.To, tops[s.Server], t.Rows[s.Server]*slotHeight-1, "swap to "+s.Adapter)
	}
	d.queue(t)
}

func serverNoun(t *Timeline) string {
	if t.Policy == Raw || t.Policy == RawTuned {
		return "raw server"
	}
	return "worker"
}

// queue draws how many requests wait in front of the servers.
func (d *drawing) queue(t *Timeline) {
	base := d.y + queueHigh
	level := func(n int) int {
		return base - n*(queueHigh-4)/max(1, d.longest)
	}
	var path strings.Builder
	fmt.Fprintf(&path, "M%.1f %d", d.x(0), base)
	for _, s := range t.Waiting {
		fmt.Fprintf(&path, "H%.1fV%d", d.x(s.At), level(s.Waiting))
	}
	fmt.Fprintf(&path, "H%.1fV%dZ", d.x(t.Seconds), base)
	fmt.Fprintf(d.out, `<path class="queue" d="%s"/>`+"\n", path.String())
	d.text("small", 2, base, fmt.Sprintf("waiting ≤ %d", longestQueue(t)))
	d.y = base + 6
}

// axis draws the seconds, about a dozen of them.
func (d *drawing) axis() {
	every := 1.0
	for _, e := range []float64{1, 2, 5, 10, 20, 60, 120, 300, 600, 3600} {
		every = e
		if d.seconds/e <= 13 {
			break
		}
	}
	for s := 0.0; s <= d.seconds; s += every {
		fmt.Fprintf(d.out, `<line class="axis" x1="%.1f" y1="16" x2="%.1f" y2="%d"/>`+"\n", d.x(s), d.x(s), d.y)
		d.text("small", d.x(s)-6, d.y+11, fmt.Sprintf("%g s", s))
	}
}
