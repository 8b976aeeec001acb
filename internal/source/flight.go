package source

import (
	"context"
	"sync"
)

// flights are the fetches under way, by source: several calls for one source
// share one.
type flights struct {
	mu      sync.Mutex
	running map[string]*flight
}

// flight is one fetch that any number of calls wait for. flights.mu guards it
// all, but for done and cancel.
type flight struct {
	digest  string
	waiters map[*waiter]struct{}
	cancel  context.CancelFunc
	done    chan struct{}
	entry   *entry // after done; holds one use for each of the waiters left
	err     error  // after done
}

type waiter struct{ progress func(done, total int64) }

// report tells all waiters how far the fetch is.
func (s *flights) report(f *flight, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range f.waiters {
		if w.progress != nil {
			w.progress(done, total)
		}
	}
}

// join waits for the fetch of r, and starts it if there is none. The entry it
// returns is in use.
func (f *Fetcher) join(ctx context.Context, r Ref, digest string, progress func(done, total int64)) (*entry, error) {
	key := cacheKey(r)
	for {
		if ctx.Err() != nil {
			return nil, canceled(ctx, r.String())
		}
		fl, w := f.board(key, r, digest, progress)
		select {
		case <-fl.done:
		case <-ctx.Done():
			f.leave(fl, w)
			return nil, canceled(ctx, r.String())
		}
		if w != nil {
			return fl.entry, fl.err
		}
		// That one was for another digest. Two at once would write to the
		// same partial file, so this call's begins only now.
	}
}

// board returns the flight for key, starting it if need be, and the caller's
// place in it: nil if that flight is for another digest.
func (f *Fetcher) board(key string, r Ref, digest string, progress func(done, total int64)) (*flight, *waiter) {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	fl := f.flights.running[key]
	if fl != nil && (fl.digest != digest || len(fl.waiters) == 0) {
		return fl, nil
	}
	w := &waiter{progress}
	if fl != nil {
		fl.waiters[w] = struct{}{}
		return fl, w
	}
	// The flight outlives the call that started it if others wait, too.
	ctx, cancel := context.WithCancel(context.Background())
	fl = &flight{digest: digest, waiters: map[*waiter]struct{}{w: {}}, cancel: cancel, done: make(chan struct{})}
	f.flights.running[key] = fl
	go func() {
		e, err := f.fetch(ctx, r, key, digest, func(done, total int64) { f.flights.report(fl, done, total) })
		f.land(key, fl, e, err)
	}()
	return fl, w
}

// land ends a flight and hands each waiter its use of e.
func (f *Fetcher) land(key string, fl *flight, e *entry, err error) {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	delete(f.flights.running, key)
	fl.entry, fl.err = e, err
	if e != nil {
		f.cache.use(e, len(fl.waiters))
		f.cache.release(e)
	}
	fl.cancel()
	close(fl.done)
}

// leave gives up a waiter's place. Nobody left ends the flight.
func (f *Fetcher) leave(fl *flight, w *waiter) {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	if _, aboard := fl.waiters[w]; !aboard {
		return
	}
	select {
	case <-fl.done:
		if fl.entry != nil {
			f.cache.release(fl.entry)
		}
		return
	default:
	}
	delete(fl.waiters, w)
	if len(fl.waiters) == 0 {
		fl.cancel()
	}
}
