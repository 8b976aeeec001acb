package calibrate

import (
	"reflect"
	"testing"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// arriving returns a result whose tokens came at these times, in ms.
func arriving(ms ...int) load.Result {
	var r load.Result
	for _, at := range ms {
		r.Arrivals = append(r.Arrivals, time.Duration(at)*time.Millisecond)
	}
	r.TTFT, r.Latency = r.Arrivals[0], r.Arrivals[len(ms)-1]
	return r
}

func TestStepTimesAreOfTheTimeTogether(t *testing.T) {
	// Together from 100 to 160; alone, each is faster.
	got := stepTimes([]load.Result{
		arriving(90, 95, 100, 120, 140, 160),
		arriving(100, 120, 140, 160, 165, 170),
	})
	if want := []float64{20, 20}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestStepTimesOfAnswersThatNeverMeet(t *testing.T) {
	got := stepTimes([]load.Result{arriving(0, 10, 20, 30), arriving(100, 130, 160, 190)})
	if want := []float64{10, 30}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}
