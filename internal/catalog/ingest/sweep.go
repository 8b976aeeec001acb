package ingest

import "time"

// sweep begins what becomes due, deletes bytes that nobody needs any more, every minute and
// when a model was removed, and tries sources of the configuration again that failed, every
// minute.
func (in *Ingest) sweep() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	signals := in.catalog.Signals()
	for {
		select {
		case <-signals.Due:
			in.start()
		case <-signals.Bytes:
			in.collect()
		case <-ticker.C:
			in.collect()
			in.catalog.Retry()
		case <-in.ctx.Done():
			return
		}
	}
}
