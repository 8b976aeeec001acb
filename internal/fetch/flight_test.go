package fetch

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
)

// wire is a transport without a network, so that tests can tell when everyone
// waits, and time is theirs. Its answers begin when it is told to go on.
type wire struct {
	goOn     chan struct{}
	body     func() io.Reader
	size     int
	requests int
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests++
	select {
	case <-w.goOn:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"v1"`}},
		ContentLength: int64(w.size), Body: io.NopCloser(w.body()),
	}, nil
}

func newWire(data []byte, pause time.Duration) *wire {
	return &wire{goOn: make(chan struct{}), size: len(data), body: func() io.Reader { return &slow{data, pause} }}
}

// slow brings a kilobyte after each pause.
type slow struct {
	left  []byte
	pause time.Duration
}

func (s *slow) Read(b []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	n := copy(b, s.left[:min(1000, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}

const wireURL = "https://h.example/x.gguf"

func TestSameSourceAtOnceIsOneDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := someGGUF(1, 5000)
		w := newWire(data, 0)
		f := newFetcher(t, Options{Client: &http.Client{Transport: w}})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				reported := false
				a, err := got(f.Fetch(t.Context(), wireURL, "", func(int64, int64) { reported = true }))
				if err != nil || !reported {
					t.Errorf("%v, progress %v", err, reported)
					return
				}
				wantFile(t, a, data)
				a.Release()
				a.Release()
			})
		}
		synctest.Wait()
		// One that wants other bytes waits its turn, and then fails alone.
		wg.Go(func() {
			_, _, err := f.Fetch(t.Context(), wireURL, digestOf(nil), nil)
			wantError(t, err, failure.DigestMismatch)
		})
		synctest.Wait()
		if w.requests != 1 {
			t.Errorf("%d requests, want 1", w.requests)
		}
		close(w.goOn)
		wg.Wait()
		err := f.store.Blobs.Delete(digestOf(data))
		if err != nil || f.store.Blobs.Has(digestOf(data), int64(len(data))) {
			t.Errorf("somebody still holds it: %v", err)
		}
	})
}

func TestCancelOneOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := someGGUF(1, 5000)
		w := newWire(data, 0)
		f := newFetcher(t, Options{Client: &http.Client{Transport: w}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := f.Fetch(ctx, wireURL, "", nil)
			wantError(t, err, failure.Canceled, "given up")
		})
		synctest.Wait()
		wg.Go(func() {
			if a, err := got(f.Fetch(t.Context(), wireURL, "", nil)); err != nil {
				t.Error(err)
			} else {
				wantFile(t, a, data)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(w.goOn)
		wg.Wait()
		if w.requests != 1 {
			t.Errorf("%d requests, want 1", w.requests)
		}
	})
}

// A download may take any time, as long as something comes.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := someGGUF(1, 20_000)
		w := newWire(data, 40*time.Second)
		close(w.goOn)
		f := newFetcher(t, Options{Client: &http.Client{Transport: w}})
		wantFile(t, mustFetch(t, f, wireURL, ""), data)
		if w.requests != 1 {
			t.Errorf("%d requests, want 1", w.requests)
		}
	})
}
