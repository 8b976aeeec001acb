package proxy

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/worker"
)

// TestQuarantineForgets bounds what is remembered of bodies.
func TestQuarantineForgets(t *testing.T) {
	var q quarantine
	begin := time.Unix(1000, 0)
	body := func(i int) *request {
		object, _ := rawjson.Parse(fmt.Appendf(nil, `{"prompt":"%d"}`, i))
		return &request{endpoint: &endpoint{path: "/completion"}, model: &catalog.Model{}, body: object}
	}
	for i := range quarantineSize + 1 {
		q.add(body(i), begin.Add(time.Duration(i)))
	}
	if q.left(body(0), begin) != 0 || q.left(body(1), begin) == 0 {
		t.Error("not the oldest made room")
	}
	if late := begin.Add(quarantineTime + time.Second); q.left(body(1), late) != 0 {
		t.Error("it is refused for ever")
	}
}

func TestVerdicts(t *testing.T) {
	crash := &worker.ExitError{Status: "signal: aborted"}
	outside := &worker.ExitError{Status: "signal: killed", Outside: true}
	broken := errors.New("the answer is no JSON")
	type run struct {
		cause error
		begun bool
	}
	for name, test := range map[string]struct {
		runs    []run
		want    []verdict
		suspect bool
	}{
		"ends two workers":            {[]run{{crash, false}, {crash, false}}, []verdict{runAgain, convict}, true},
		"ends two in mid-answer":      {[]run{{crash, true}, {crash, true}}, []verdict{runAgain, convict}, false},
		"workers ended from outside":  {[]run{{outside, false}, {outside, true}, {outside, false}, {outside, false}}, []verdict{runAgain, runAgain, runAgain, giveUp}, false},
		"a suspect meets an operator": {[]run{{crash, false}, {outside, false}, {crash, false}}, []verdict{runAgain, runAgain, convict}, true},
		"answers that are none":       {[]run{{broken, false}, {broken, false}, {broken, false}, {broken, false}}, []verdict{runAgain, runAgain, runAgain, giveUp}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var so runs
			for i, r := range test.runs {
				if got := so.failed(r.cause, r.begun); got != test.want[i] {
					t.Errorf("after run %d: %v, want %v", i+1, got, test.want[i])
				}
			}
			if so.suspect != test.suspect {
				t.Errorf("suspect: %v", so.suspect)
			}
		})
	}
}
