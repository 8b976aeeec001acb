package sim

import (
	"bytes"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestPresetsAreFitted: what the presets run on is what `bench simulate fit` makes
// of the calibration in the tree.
func TestPresetsAreFitted(t *testing.T) {
	file, err := os.Open("h200.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := Fit(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range Presets() {
		if !reflect.DeepEqual(o.Model, m) {
			t.Errorf("%s: the model is %+v, not %+v", name, o.Model, m)
		}
	}
}

// small is a calibration with round numbers.
const small = `{"version":1,"slots":4,"context_tokens":100,
"steps":[
 {"mode":"split","passes":1,"adapters":1,"requests":1,"ms":2},
 {"mode":"split","passes":1,"adapters":1,"requests":3,"ms":4},
 {"mode":"split","passes":1,"adapters":0,"requests":1,"ms":1},
 {"mode":"split","passes":2,"adapters":1,"requests":2,"scattered":true,"ms":8},
 {"mode":"unified","passes":1,"adapters":1,"requests":1,"scattered":true,"ms":3},
 {"mode":"unified","passes":1,"adapters":1,"requests":1,"scattered":true,"idle_tokens":1000,"ms":6}],
"first_tokens":[{"mode":"split","ms":10},{"mode":"split","changed":true,"ms":25},
 {"mode":"unified","ms":10},{"mode":"unified","changed":true,"ms":50}],
"prefills":[{"mode":"split","tokens":100,"ms":15},{"mode":"split","tokens":500,"ms":35},
 {"mode":"unified","tokens":100,"ms":25},{"mode":"unified","tokens":500,"ms":45},
 {"mode":"unified","tokens":8000,"ms":9000}],
"calls":[{"mode":"split","name":"apply","ms":0.5},{"mode":"split","name":"erase","ms":0.25}],
"shares":[{"servers":2,"requests":1,"alone_ms":3,"together_ms":5},
 {"servers":2,"mps":true,"requests":1,"alone_ms":3,"together_ms":4}]}`

func TestFit(t *testing.T) {
	m, err := Fit(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want Seconds }{
		"a step":                               {m.Split.Steps[1].Seconds, 0.004},
		"a pass":                               {m.Split.Pass, 0.005}, // 8 less the 3 of a step of two
		"the host's part of reading":           {m.Split.Reading, 0.010},
		"a token of a prompt":                  {m.Split.Token, 0.00005},
		"more than a batch is not on the line": {m.Unified.Reading, 0.020},
		"a change":                             {m.Split.Change, 0.015},
		"a call":                               {m.Split.Call, 0.0005},
		"an erase":                             {m.Split.Erase, 0.00025},
		"a token held":                         {m.Unified.Held, 0.000001},
		"a turn of another":                    {m.Turns[0].Seconds, 0.002},
		"another under MPS":                    {m.MPS[0].Seconds, 0.001},
		"a change in half the buffer":          {func() Seconds { c := m.costs(Unified, 200); return c.Change }(), 0.0275},
	} {
		if math.Abs(float64(c.got-c.want)) > 1e-9 {
			t.Errorf("%s takes %v s, not %v", name, c.got, c.want)
		}
	}
}

func TestFitNamesWhatIsMissing(t *testing.T) {
	for want, text := range map[string]string{
		"version 2":   strings.Replace(small, `"version":1`, `"version":2`, 1),
		"no step":     strings.ReplaceAll(small, `"mode":"split","passes"`, `"mode":"other","passes"`),
		"first token": strings.ReplaceAll(small, `"changed":true`, `"changed":false`),
		"two lengths": strings.ReplaceAll(small, `"tokens":500`, `"tokens":5000`),
		"calibration": `[]`,
	} {
		if _, err := Fit(bytes.NewReader([]byte(text))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
