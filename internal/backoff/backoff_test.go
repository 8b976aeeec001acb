package backoff

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := Backoff{
		First: 100 * time.Millisecond, Max: 30 * time.Second, HalfLife: 30 * time.Second,
		Jitter: func() float64 { return 0 },
	}
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{100, 200, 400, 800} {
		if got := b.Fail(now).Round(time.Millisecond); got != want*time.Millisecond {
			t.Errorf("failure %d: pause %s, want %dms", i+1, got, want)
		}
	}
	for range 20 {
		b.Fail(now)
	}
	if got := b.Fail(now); got != b.Max {
		t.Errorf("pause %s, want the longest", got)
	}
	now = now.Add(time.Hour)
	if got := b.Fail(now).Round(time.Millisecond); got != 100*time.Millisecond {
		t.Errorf("after an hour: pause %s, want as if it were the first", got)
	}
	b.Jitter = func() float64 { return 0.999 }
	if got := b.Fail(now); got > 110*time.Millisecond {
		t.Errorf("jitter takes off nearly half of 200ms, got %s", got)
	}
}

// TestNothingIsForgotten counts on until it is told that all is well.
func TestNothingIsForgotten(t *testing.T) {
	b := Backoff{First: time.Second, Max: time.Minute, Jitter: func() float64 { return 0 }}
	now := time.Unix(0, 0)
	b.Fail(now)
	if got := b.Fail(now.Add(time.Hour)); got != 2*time.Second {
		t.Errorf("after an hour: pause %s, want 2s", got)
	}
	b.Reset()
	if got := b.Fail(now.Add(time.Hour)); got != time.Second {
		t.Errorf("after a success: pause %s, want 1s", got)
	}
}
