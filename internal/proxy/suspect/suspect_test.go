package suspect

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/worker"
)

// TestQuarantineForgets bounds what is remembered of bodies.
func TestQuarantineForgets(t *testing.T) {
	var q Quarantine
	begin := time.Unix(1000, 0)
	body := func(i int) Digest {
		object, _ := rawjson.Parse(fmt.Appendf(nil, `{"prompt":"%d"}`, i))
		return DigestOf("/completion", "", object)
	}
	if !q.Empty() {
		t.Error("it begins with something")
	}
	for i := range most + 1 {
		q.Add(body(i), begin.Add(time.Duration(i)))
	}
	if q.Left(body(0), begin) != 0 || q.Left(body(1), begin) == 0 {
		t.Error("not the oldest made room")
	}
	if late := begin.Add(Refused + time.Second); q.Left(body(1), late) != 0 {
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
		want    []Verdict
		suspect bool
	}{
		"ends two workers":       {[]run{{crash, false, 0}, {crash, false, 0}}, []Verdict{RunAgain, Convict}, true},
		"ends two in mid-answer": {[]run{{crash, true, 0}, {crash, true, 0}}, []Verdict{RunAgain, Convict}, false},
		"workers ended from outside": {[]run{{outside, false, 0}, {outside, true, 0}, {outside, false, 0},
			{outside, false, 0}}, []Verdict{RunAgain, RunAgain, RunAgain, GiveUp}, false},
		"a suspect meets an operator": {[]run{{crash, false, 0}, {outside, false, 0}, {crash, false, 0}},
			[]Verdict{RunAgain, RunAgain, Convict}, true},
		"taken along twice, then alone": {
			[]run{{crash, true, 1}, {crash, true, 2}, {crash, true, 3}, {crash, true, 4 * time.Minute}},
			[]Verdict{RunAgain, RunAgain, RunAgain, Convict}, false,
		},
		"answers that are none": {[]run{{broken, false, 0}, {broken, false, 0}, {broken, false, 0}, {broken, false, 0}},
			[]Verdict{RunAgain, RunAgain, RunAgain, GiveUp}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var so Runs
			for i, r := range test.runs {
				lease := &pool.Lease{SharedFate: r.born != 0, Since: begin.Add(r.born)}
				now := begin.Add(time.Duration(i+1) * time.Minute)
				if got := so.Failed(r.cause, lease, r.begun, now); got != test.want[i] {
					t.Errorf("after run %d: %v, want %v", i+1, got, test.want[i])
				}
			}
			if so.Suspect != test.suspect {
				t.Errorf("suspect: %v", so.Suspect)
			}
		})
	}
}
