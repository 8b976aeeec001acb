package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

const (
	muchBytes = 1 << 20 // an attempt that brought so many is no failure in a row
	logEvery  = 10 * time.Second
)

// transfer brings one file to path, in as many attempts as it takes.
type transfer struct {
	remote
	retry  *retrier
	stall  time.Duration // for how long nothing may come
	what   string        // the source, for people
	path   string
	limit  int64 // bytes that the file may have
	most   int64 // bytes that the adapter may have, for people
	report reporter
}

// received is what is known of a file that is there.
type received struct {
	bytes  int64
	sha256 string
	etag   string
}

// run downloads, and leaves the file at path. On an error that is worth trying
// again what is there of it stays if it can be gone on with, else it is removed.
func (t *transfer) run(ctx context.Context) (received, error) {
	log := t.retry.log.With("source", t.what, "file", t.name)
	p, err := store.OpenPartial(t.path, store.Sidecar{Source: t.what, SHA256: t.sha256})
	if err != nil {
		return received{}, failure.OnDisk(t.what, err)
	}
	log.Info("downloading", "resumed_at", p.Size)
	report, logged := t.report, time.Now()
	t.report = func(done, total int64) {
		report(done, total)
		if now := time.Now(); now.Sub(logged) >= logEvery {
			logged = now
			log.Info("downloading", "bytes", done, "of", max(total, 0))
		}
	}
	if err := t.complete(ctx, p); err != nil {
		if resumable(err) && p.CanGoOn() {
			_ = p.Close()
		} else {
			p.Discard()
		}
		if !errors.Is(err, errNotModified) {
			log.Warn("download failed", "bytes", p.Size, "error", err)
		}
		return received{}, err
	}
	log.Info("downloaded", "bytes", p.Size)
	return t.end(p)
}

// receive writes what r has to path, in one attempt.
func (t *transfer) receive(ctx context.Context, r io.Reader) (received, error) {
	p, err := store.OpenPartial(t.path, store.Sidecar{Source: t.what})
	if err != nil {
		return received{}, failure.OnDisk(t.what, err)
	}
	if err := t.copy(ctx, p, &stream{body: store.UntilDone(ctx, r), total: -1}, func() {}); err != nil {
		p.Discard()
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			err = failure.TooLarge.New("%s: larger than the %d bytes that an upload may have",
				t.what, large.Limit).Because(large)
		}
		return received{}, err
	}
	return t.end(p)
}

// end closes a file that is complete.
func (t *transfer) end(p *store.Partial) (received, error) {
	if err := p.Close(); err != nil {
		return received{}, failure.OnDisk(t.what, err)
	}
	return received{p.Size, p.Digest(), p.ETag}, nil
}

// resumable tells whether what is there of a failed download is worth keeping.
func resumable(err error) bool {
	var own *failure.Error
	return errors.As(err, &own) && (own.Temporary || own.Code == failure.Canceled)
}

// complete makes attempts until the file is whole and has the right digest.
func (t *transfer) complete(ctx context.Context, p *store.Partial) error {
	again := true
	return t.retry.persist(ctx, t.what, func() (bool, error) {
		before := p.Size
		err := t.attempt(ctx, p)
		if errors.Is(err, errRestart) {
			if err = t.reset(p); err == nil {
				err = t.attempt(ctx, p)
			}
		}
		if err != nil {
			p.Resumed = p.Size > 0
			return p.Size-before >= muchBytes, err
		}
		if t.sha256 == "" || p.Digest() == t.sha256 {
			return true, nil
		}
		bad := failure.Mismatch(t.what, p.Digest(), t.sha256)
		if !p.Resumed || !again {
			return false, bad
		}
		// What an earlier attempt left may have been of another version.
		again = false
		if err := t.reset(p); err != nil {
			return false, err
		}
		return false, bad.ForNow()
	})
}

// attempt asks for what is missing in p and writes it there.
func (t *transfer) attempt(parent context.Context, p *store.Partial) error {
	if p.Size > 0 && p.SHA256 != "" && p.Digest() == p.SHA256 {
		return nil // complete, and only not recorded as such
	}
	if p.Size > 0 && !p.CanGoOn() {
		if err := t.reset(p); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watch := time.AfterFunc(t.stall, func() { cancel(failure.ErrStalled) })
	defer watch.Stop()

	s, err := t.open(ctx, p.Size, p.ETag)
	if errors.Is(err, errRestart) || errors.Is(err, errNotModified) || errors.Is(err, errReplaced) {
		return err
	}
	if err != nil {
		return failure.Transfer(ctx, t.what, err)
	}
	defer func() { _ = s.close() }()
	if err := t.begin(p, s); err != nil {
		return err
	}
	return t.copy(ctx, p, s, func() { watch.Reset(t.stall) })
}

// reset throws away what is there.
func (t *transfer) reset(p *store.Partial) error {
	if err := p.Reset(); err != nil {
		return failure.OnDisk(t.what, err)
	}
	return nil
}

// begin checks what a server is going to send, before it does.
func (t *transfer) begin(p *store.Partial, s *stream) error {
	if s.from > 0 && (s.from != p.Size || !goesOn(p, s)) {
		return errRestart
	}
	if s.from == 0 {
		if err := t.reset(p); err != nil {
			return err
		}
	}
	if t.size >= 0 && s.total >= 0 && t.size != s.total {
		return failure.Cut.New("%s: the server announces %d bytes, but the file has %d; try again later",
			t.what, s.total, t.size).ForNow()
	}
	if max(t.size, s.total) > t.limit {
		return t.tooLarge()
	}
	if err := p.Describe(s.etag, s.total); err != nil {
		return failure.OnDisk(t.what, err)
	}
	return nil
}

// goesOn reports whether a server's bytes are of the version that is there in part. One that
// does not name its version, as it must, is believed only where the digest shows it at the end.
func goesOn(p *store.Partial, s *stream) bool {
	if p.Total >= 0 && s.total >= 0 && p.Total != s.total {
		return false
	}
	return s.etag == p.ETag || p.SHA256 != "" && (s.etag == "" || p.ETag == "")
}

func (t *transfer) tooLarge() *failure.Error {
	return failure.TooLarge.New("%s: larger than the %d bytes that an adapter may have", t.what, t.most)
}

// copy writes s to p, and calls alive whenever some bytes came.
func (t *transfer) copy(ctx context.Context, p *store.Partial, s *stream, alive func()) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := s.body.Read(buf)
		if n > 0 {
			alive()
			if p.Size+int64(n) > t.limit {
				return t.tooLarge()
			}
			if _, err := p.Write(buf[:n]); err != nil {
				return failure.OnDisk(t.what, err)
			}
			t.report(p.Size, s.total)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return failure.Transfer(ctx, t.what, err)
		}
	}
	if whole := max(s.total, t.size); whole >= 0 && p.Size != whole {
		return failure.Cut.New("%s: %d of %d bytes came", t.what, p.Size, whole).ForNow()
	}
	return nil
}
