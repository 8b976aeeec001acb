package fetch

import (
	"context"
	"sync"

	"github.com/loragate/loragate/internal/store"
)

// flights are the fetches under way, by source: several calls for one source
// share one.
type flights struct {
	blobs *store.Blobs

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
	blob    store.Blob // after done; held once for each of the waiters left
	err     error      // after done
}

// waiter is one call. Its progress may be nil.
type waiter struct{ progress reporter }

// run fetches a source. The blob that it returns is held.
type run func(ctx context.Context, report reporter) (store.Blob, error)

func newFlights(blobs *store.Blobs) *flights {
	return &flights{blobs: blobs, running: map[string]*flight{}}
}

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

// join waits for the fetch of a source, and starts it by run if there is none.
// The blob it returns is held. When ctx ends its error is ctx's.
func (s *flights) join(
	ctx context.Context, key, digest string, progress reporter, run run,
) (store.Blob, error) {
	for {
		if ctx.Err() != nil {
			return store.Blob{}, ctx.Err()
		}
		fl, w := s.board(key, digest, progress, run)
		select {
		case <-fl.done:
		case <-ctx.Done():
			s.leave(fl, w)
			return store.Blob{}, ctx.Err()
		}
		if w != nil {
			return fl.blob, fl.err
		}
		// That one was for another digest. Two at once would write to the
		// same partial file, so this call's begins only now.
	}
}

// board returns the flight for key, starting it if need be, and the caller's
// place in it: nil if that flight is for another digest.
func (s *flights) board(key, digest string, progress reporter, run run) (*flight, *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fl := s.running[key]
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
	s.running[key] = fl
	go func() {
		blob, err := run(ctx, func(done, total int64) { s.report(fl, done, total) })
		s.land(key, fl, blob, err)
	}()
	return fl, w
}

// land ends a flight and hands each waiter its hold of the blob.
func (s *flights) land(key string, fl *flight, blob store.Blob, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, key)
	fl.blob, fl.err = blob, err
	if err == nil {
		s.blobs.Hold(blob.Digest, len(fl.waiters))
		s.blobs.Release(blob.Digest)
	}
	fl.cancel()
	close(fl.done)
}

// leave gives up a waiter's place. Nobody left ends the flight.
func (s *flights) leave(fl *flight, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, aboard := fl.waiters[w]; !aboard {
		return
	}
	select {
	case <-fl.done:
		if fl.err == nil {
			s.blobs.Release(fl.blob.Digest)
		}
		return
	default:
	}
	delete(fl.waiters, w)
	if len(fl.waiters) == 0 {
		fl.cancel()
	}
}
