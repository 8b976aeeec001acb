package cost

import (
	"math"
	"testing"
	"time"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.1*want {
		t.Errorf("%s is %g, measured was %g", what, got, want)
	}
}

// TestAModelLearnsWhatItIsTold of a device whose steps take 2 ms, 0.5 ms more for each
// further request, and half as long again beside another busy worker.
func TestAModelLearnsWhatItIsTold(t *testing.T) {
	m := New(false)
	if m.Known() {
		t.Error("it knows before it was told")
	}
	step := func(n, others float64) float64 { return (0.0015 + 0.0005*n) * (1 + 0.5*others) }
	for i := range 400 {
		n, others := float64(1+i%8), float64(i%3)
		m.ObserveStep(n, others, step(n, others))
		m.ObserveFirst(100*(i%5), i%2 == 0, 0, 10*time.Millisecond+time.Duration(100*(i%5))*time.Millisecond/1000+time.Duration(1-i%2)*40*time.Millisecond)
		m.ObserveHeld(0.4)
	}
	near(t, "a step of 4", m.Step(4, 1), step(4, 0))
	near(t, "a step of 4 beside two", m.Step(4, 3), step(4, 2))
	near(t, "the rate of 4", m.Rate(4, 1), 4/step(4, 0))
	near(t, "a change of adapter", m.Swap().Seconds(), 0.040)
	near(t, "a turn of four requests", m.Turn().Seconds(), 1.6)
}

func TestTurnsAreBounded(t *testing.T) {
	m := New(true)
	for range 400 {
		m.ObserveHeld(60)
	}
	if m.Turn() != MostTurn {
		t.Errorf("a turn of %s where requests take a minute", m.Turn())
	}
	for range 2000 {
		m.ObserveHeld(0)
		m.ObserveFirst(0, true, 0, 0)
	}
	if m.Turn() < leastTurn || m.Turn() > 2*leastTurn {
		t.Errorf("a turn of %s where nothing takes time", m.Turn())
	}
}

func TestIntegral(t *testing.T) {
	g := NewIntegral(time.Second)
	g.At(3*time.Second, 2)
	if got := g.At(4*time.Second, 5); got != 9 || g.Sum() != 9 {
		t.Errorf("2 for 2 s and 5 for 1 s is %g", got)
	}
}
