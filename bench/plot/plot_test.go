package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/bench/report"
)

// table returns mixed's table with the rows of labels and two values each.
func table(rows ...report.Row) []*report.Table {
	return []*report.Table{{Name: "other"}, {Name: "mixed", Labels: []string{"traffic", "clients", "server"}, Rows: rows}}
}

func row(traffic, clients, server string, output, p99 float64) report.Row {
	return report.Row{Labels: []string{traffic, clients, server},
		Values: map[string]float64{"output": output, "ttft_p99": p99}}
}

var full = table(
	row("zipf", "32", "raw", 250, 20000), row("zipf", "32", "gateway", 1200, 560),
	row("zipf", "32", "raw-tuned", 646, 15400),
	row("zipf", "8", "gateway", 800, 140), row("zipf", "8", "raw", 257, 11200),
	row("single", "32", "gateway", 1700, 450), row("zipf", "8", "gateway kv=<split>", 700, 200),
)

// texts parses a picture strictly and returns all texts in it.
func texts(t *testing.T, picture []byte) []string {
	t.Helper()
	var all []string
	d := xml.NewDecoder(strings.NewReader(string(picture)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, picture)
		}
		if text, ok := token.(xml.CharData); ok && strings.TrimSpace(string(text)) != "" {
			all = append(all, string(text))
		}
	}
}

func TestPictureIsWellFormedAndNamesEveryLine(t *testing.T) {
	picture, err := SVG(full, "A & B")
	if err != nil {
		t.Fatal(err)
	}
	got := texts(t, picture)
	for _, want := range []string{"A & B", "Tokens per second", "raw 250", "raw-tuned 646", "gateway 1,200",
		"kv=<split> 700",
		"raw 20 s", "gateway 0.56 s", "8", "32", "clients"} {
		if !slices.Contains(got, want) {
			t.Errorf("no text is %q: %q", want, got)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "1,700"} {
		if strings.Contains(string(picture), bad) {
			t.Errorf("there is %s in it", bad)
		}
	}
}

func TestPictureOfARunThatWasCut(t *testing.T) {
	picture, err := SVG(table(row("zipf", "8", "gateway", 800, 140)), "")
	if err != nil {
		t.Fatal(err)
	}
	texts(t, picture)
	if strings.Contains(string(picture), "NaN") {
		t.Error("one point has no place")
	}
}

func TestLongNamesFit(t *testing.T) {
	for name, want := range map[string]int{"raw 250": 12, "workers=16 kv=unified mps=auto 1,250 s": 7,
		strings.Repeat("x", 200): 7} {
		if got := fontSize(name); got != want {
			t.Errorf("%q is written at size %d, not %d", name, got, want)
		}
	}
}

func TestTablesThatCannotBeDrawn(t *testing.T) {
	for want, tables := range map[string][]*report.Table{
		`called "mixed"`:          {{Name: "overhead"}},
		"no row of zipf":          table(row("single", "8", "gateway", 1, 1)),
		`"many" is no number`:     table(row("zipf", "many", "gateway", 1, 1)),
		"zipf traffic has output": table(report.Row{Labels: []string{"zipf", "8", "raw"}}),
	} {
		if _, err := SVG(tables, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, not %q", err, want)
		}
	}
}

func TestSeriesAreInOrder(t *testing.T) {
	all, err := read(full[1], "output", 2)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	if want := []string{"raw", "raw-tuned", "gateway", "gateway kv=<split>"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	if want := []point{{8, 514}, {32, 500}}; !reflect.DeepEqual(all[0].points, want) {
		t.Errorf("raw's points are %v", all[0].points)
	}
}

func TestAxes(t *testing.T) {
	of := func(values ...float64) []series {
		var s series
		for i, v := range values {
			s.points = append(s.points, point{float64(int(8) << i), v})
		}
		return []series{s}
	}
	for _, c := range []struct {
		axis axis
		want []float64
	}{
		{linearAxis(0, 100, of(257, 1468)), []float64{0, 500, 1000, 1500}},
		{linearAxis(0, 100, of(9, 31)), []float64{0, 10, 20, 30, 40}},
		{linearAxis(0, 100, of(100)), []float64{0, 20, 40, 60, 80, 100}},
		{logAxis(0, 100, of(0.14, 30.5)), []float64{0.1, 0.3, 1, 3, 10, 30, 100}},
		{logAxis(0, 100, of(2)), []float64{1, 3}},
		{logAxis(0, 100, of(1, 10)), []float64{1, 3, 10}},
		{clientsAxis(0, 100, of(1, 1, 1)), []float64{8, 16, 32}},
	} {
		if !slices.Equal(c.axis.ticks, c.want) {
			t.Errorf("the ticks are %v, not %v", c.axis.ticks, c.want)
		}
	}
	if at := clientsAxis(0, 100, of(1, 1, 1)).at(16); math.Abs(at-50) > 1e-9 {
		t.Errorf("16 of 8 to 32 lies at %v", at)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.3: "0.3", 1.1499: "1.15", 263.4: "263", 999: "999",
		1468.2: "1,468", 1234567: "1,234,567"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s, not %s", v, got, want)
		}
	}
}

func TestNamesDoNotOverlap(t *testing.T) {
	got := spread([]float64{100, 104, 300, 102, 318}, 17, 78, 322)
	order := []int{0, 3, 1, 2, 4}
	for i := 1; i < len(order); i++ {
		if d := got[order[i]] - got[order[i-1]]; d < 17-1e-6 {
			t.Errorf("%v: two are %v apart", got, d)
		}
	}
	for _, y := range got {
		if y < 78 || y > 322 {
			t.Errorf("%v: one lies outside", got)
		}
	}
	if got := spread([]float64{80}, 17, 78, 322); got[0] != 80 {
		t.Errorf("a single name is moved to %v", got[0])
	}
}
