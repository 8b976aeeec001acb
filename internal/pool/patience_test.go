package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/upstream"
)

// TestNoFileIsNobodysFault has no file left for a connection at first: the call is made
// again, and only what the worker itself does wrong is its fault.
func TestNoFileIsNobodysFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &Pool{ctx: ctx, opts: Options{CallTimeout: time.Hour, Log: slog.New(slog.DiscardHandler)}}
	starved, refused := fmt.Errorf("call: %w", upstream.ErrStarved), errors.New("refused")
	for _, want := range []error{nil, refused} {
		tries := 0
		err := calls{p}.patiently(ctx, func(ctx context.Context) error {
			if tries++; tries < 4 {
				return starved
			}
			return want
		})
		if err != want || tries != 4 {
			t.Errorf("%v after %d tries, want %v", err, tries, want)
		}
	}
	tries := 0
	err := calls{p}.patiently(ctx, func(context.Context) error {
		if tries++; tries == 3 {
			cancel()
		}
		return starved
	})
	if !errors.Is(err, upstream.ErrStarved) || tries != 3 {
		t.Errorf("at the end: %v after %d tries", err, tries)
	}
}
