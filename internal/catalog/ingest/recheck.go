package ingest

import (
	"context"
	"strings"
	"time"
)

// listed follows the files that the configuration names.
type listed struct {
	rescan, settle time.Duration // as Options have them
	catalog        interface {
		Configured() map[string]string
		Recheck(prints, before map[string]string) (waiting bool)
	}
}

// run looks every now and then whether files have changed, and again soon while one may not
// be complete, until ctx ends.
func (l *listed) run(ctx context.Context) {
	timer := time.NewTimer(l.rescan)
	defer timer.Stop()
	var before map[string]string
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		prints := make(map[string]string)
		for name, source := range l.catalog.Configured() {
			if print := sourcePrint(source); !strings.Contains(print, unsure) {
				prints[name] = print
			}
		}
		next := l.rescan
		if l.catalog.Recheck(prints, before) {
			next = min(next, l.settle)
		}
		before = prints
		timer.Reset(next)
	}
}
