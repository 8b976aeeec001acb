package ingest

import (
	"strings"
	"time"
)

// recheck looks every now and then whether files that the configuration names have changed,
// and again soon while one may not be complete.
func (in *Ingest) recheck() {
	timer := time.NewTimer(in.opts.Rescan)
	defer timer.Stop()
	var before map[string]string
	for {
		select {
		case <-timer.C:
		case <-in.ctx.Done():
			return
		}
		prints := make(map[string]string)
		for name, source := range in.catalog.Configured() {
			if print := sourcePrint(source); !strings.Contains(print, unsure) {
				prints[name] = print
			}
		}
		next := in.opts.Rescan
		if in.catalog.Recheck(prints, before) {
			next = min(next, in.folder.settle)
		}
		before = prints
		timer.Reset(next)
	}
}
