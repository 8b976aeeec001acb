package cost

import (
	"math"
	"testing"
)

// TestAFitKeepsItsProportionsWhereNothingVaries: of one kind of load only the size is
// learnt.
func TestAFitKeepsItsProportionsWhereNothingVaries(t *testing.T) {
	f := newFit(true, 1, 0.1, 1, 0.1)
	for range 200 {
		f.observe(loadOf(5, 0), 0.030)
	}
	if got := f.at(loadOf(5, 0)); math.Abs(got-0.030) > 0.002 {
		t.Errorf("measured 30 ms, estimated %.1f", 1e3*got)
	}
	if got := f.at(loadOf(5, 1)) / f.at(loadOf(5, 0)); got < 1.6 || got > 2.4 {
		t.Errorf("a second worker was expected to cost twice as much: %.2f", got)
	}
	f.observe(loadOf(5, 0), 100) // something stood still
	if got := f.at(loadOf(5, 0)); got > 0.04 {
		t.Errorf("one odd measurement made %.1f ms of 30", 1e3*got)
	}
}
