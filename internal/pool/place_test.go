package pool_test

import (
	"context"
	"slices"
	"testing"

	"github.com/loragate/loragate/internal/pool"
)

// TestPlaceSaysHowManyWorkersThereAre: one starts, is measured, and then the others are.
func TestPlaceSaysHowManyWorkersThereAre(t *testing.T) {
	r, measured := newRig(t, 3), 0
	r.opts.Spares, r.opts.Devices = 1, []string{"GPU0"}
	r.opts.Place = func(context.Context) []string {
		measured++
		return []string{"GPU0", "GPU1", "GPU0"}
	}
	r.open()
	var devices []string
	for _, w := range r.Stats().Workers {
		devices = append(devices, w.Device)
	}
	if measured != 1 || len(devices) != 4 || !slices.Equal(devices[:3], []string{"GPU0", "GPU1", "GPU0"}) {
		t.Errorf("measured %d times, workers and a spare on %q", measured, devices)
	}
	if last := r.Stats().Workers[3]; last.Health != pool.Spare {
		t.Errorf("the last is %s, not the spare", last.Health)
	}
}
