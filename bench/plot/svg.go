package plot

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/loragate/loragate/bench/mixed"
	"github.com/loragate/loragate/bench/report"
)

// The picture's measures in pixels. It has a background of its own, so that it
// can be read on light and dark pages.
const (
	width, height  = 1000, 380
	top, bottom    = 78, 322 // of the panels
	labelGap       = 17      // between the lines' names
	background     = "#ffffff"
	border         = "#d0d7de"
	ink, faint     = "#24292f", "#57606a"
	grid           = "#e6e9ec"
	fonts          = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
	firstGateway   = 2 // in colours
	markRadius     = 4
	lineWidth      = 2.5
	panelLeft      = 64
	panelWidth     = 250
	panelDistance  = 490
	labelSpace     = 12 // from a line's end to its name
	axisTitleBelow = 38
)

// colours are of raw, raw-tuned and the gateway with different settings.
var colours = []string{"#6e7781", "#2f6fd0", "#d1480c", "#8250df", "#1a7f37", "#9a6700"}

// panel is one of the pictures side by side.
type panel struct {
	title, key string
	factor     float64 // from the table's unit to the picture's
	unit       string  // after the number at a line's end
	axis       func(from, to float64, all []series) axis
}

var panels = []panel{
	{"Tokens per second", mixed.Output, 1, "", linearAxis},
	{"First token, 99th percentile, in seconds (log)", mixed.TTFTP99, 0.001, " s", logAxis},
}

// SVG draws tokens per second and the 99th percentile of the first token over
// the number of clients, of the traffic over all adapters in mixed's table.
// The title stands above.
func SVG(tables []*report.Table, title string) ([]byte, error) {
	t, err := find(tables)
	if err != nil {
		return nil, err
	}
	d := &drawing{}
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="%s">`,
		width, height, width, height, fonts)
	d.add(`<title>%s</title>`, html.EscapeString(title))
	d.add(`<rect x="0.5" y="0.5" width="%d" height="%d" rx="8" fill="%s" stroke="%s"/>`, width-1, height-1, background,
		border)
	d.text(24, 30, 15, ink, "start", `font-weight="600"`, title)
	for i, p := range panels {
		all, err := read(t, p.key, p.factor)
		if err != nil {
			return nil, err
		}
		d.panel(float64(panelLeft+i*panelDistance), p, all)
	}
	d.add(`</svg>`)
	return d.Bytes(), nil
}

// drawing is the text of a picture.
type drawing struct{ bytes.Buffer }

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// text adds a text, whose more are further attributes.
func (d *drawing) text(x, y float64, size int, colour, anchor, more, text string) {
	d.add(`<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s" %s>%s</text>`, x, y, size, colour, anchor,
		more, html.EscapeString(text))
}

// panel draws a panel whose vertical axis is at left.
func (d *drawing) panel(left float64, p panel, all []series) {
	x := clientsAxis(left+18, left+panelWidth, all)
	y := p.axis(bottom, top, all)
	d.text(left-40, top-22, 13, ink, "start", `font-weight="600"`, p.title)
	for i, tick := range y.ticks {
		d.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s"/>`, left, x.to+6, y.at(tick), y.at(tick), grid)
		d.text(left-8, y.at(tick)+4, 12, faint, "end", "", y.tickLabels[i])
	}
	for i, tick := range x.ticks {
		d.text(x.at(tick), bottom+20, 12, faint, "middle", "", x.tickLabels[i])
	}
	d.text((x.from+x.to)/2, bottom+axisTitleBelow, 12, faint, "middle", "", "clients")
	var ends []float64
	for _, s := range all {
		ends = append(ends, y.at(s.last()))
	}
	names := spread(ends, labelGap, top, bottom)
	gateways := 0
	for i, s := range all {
		colour := colours[min(rank(s.name), firstGateway)]
		if rank(s.name) >= firstGateway {
			colour = colours[firstGateway+gateways%(len(colours)-firstGateway)]
			gateways++
		}
		d.line(x, y, s, colour)
		// Settings name the gateway well enough, and leave room for the number.
		name := strings.TrimPrefix(s.name, mixed.Gateway+" ") + " " + number(s.last()) + p.unit
		d.text(x.to+labelSpace, names[i]+4, fontSize(name), colour, "start", `font-weight="600"`, name)
	}
}

// fontSize returns the size at which a line's name fits beside its panel.
func fontSize(name string) int {
	const (
		largest, smallest = 12, 7
		room              = width - panelLeft - panelDistance - panelWidth - 2*labelSpace
		bold              = 0.6 // width of a letter of this font size
	)
	fits := int(room / (bold * float64(len(name))))
	return min(largest, max(smallest, fits))
}

// line draws a series with a mark at each point.
func (d *drawing) line(x, y axis, s series, colour string) {
	var path []string
	for _, p := range s.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p.clients), y.at(p.value)))
	}
	d.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-linejoin="round" stroke-linecap="round"/>`,
		strings.Join(path, " "), colour, lineWidth)
	for _, p := range s.points {
		d.add(`<circle cx="%.1f" cy="%.1f" r="%d" fill="%s" stroke="%s" stroke-width="1.5"/>`, x.at(p.clients),
			y.at(p.value), markRadius, colour, background)
	}
}
