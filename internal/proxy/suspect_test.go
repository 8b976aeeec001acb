package proxy

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/pool"
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
	begin := time.Unix(1000, 0)
	crash := &worker.ExitError{Status: "signal: aborted"}
	outside := &worker.ExitError{Status: "signal: killed", Outside: true}
	broken := errors.New("the answer is no JSON")
	type run struct {
		cause error
		begun bool
		born  time.Duration // when its worker was ready; under shared fate, if not 0
	}
	for name, test := range map[string]struct {
		runs    []run
		want    []verdict
		suspect bool
	}{
		"ends two workers":            {[]run{{crash, false, 0}, {crash, false, 0}}, []verdict{runAgain, convict}, true},
		"ends two in mid-answer":      {[]run{{crash, true, 0}, {crash, true, 0}}, []verdict{runAgain, convict}, false},
		"workers ended from outside":  {[]run{{outside, false, 0}, {outside, true, 0}, {outside, false, 0}, {outside, false, 0}}, []verdict{runAgain, runAgain, runAgain, giveUp}, false},
		"a suspect meets an operator": {[]run{{crash, false, 0}, {outside, false, 0}, {crash, false, 0}}, []verdict{runAgain, runAgain, convict}, true},
		"taken along twice, then alone": {
			[]run{{crash, true, 1}, {crash, true, 2}, {crash, true, 3}, {crash, true, 4 * time.Minute}},
			[]verdict{runAgain, runAgain, runAgain, convict}, false,
		},
		"answers that are none": {[]run{{broken, false, 0}, {broken, false, 0}, {broken, false, 0}, {broken, false, 0}}, []verdict{runAgain, runAgain, runAgain, giveUp}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var so runs
			for i, r := range test.runs {
				lease := &pool.Lease{SharedFate: r.born != 0, Since: begin.Add(r.born)}
				now := begin.Add(time.Duration(i+1) * time.Minute)
				if got := so.failed(r.cause, lease, r.begun, now); got != test.want[i] {
					t.Errorf("after run %d: %v, want %v", i+1, got, test.want[i])
				}
			}
			if so.suspect != test.suspect {
				t.Errorf("suspect: %v", so.suspect)
			}
		})
	}
}
