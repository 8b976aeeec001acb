package source

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"
)

const (
	maxFailures = 6       // in a row
	muchBytes   = 1 << 20 // an attempt that brought so many is no failure in a row
	firstDelay  = 500 * time.Millisecond
	maxDelay    = 30 * time.Second
	maxPatience = 2 * time.Minute // the longest Retry-After that is kept to
	logEvery    = 10 * time.Second
)

// transfer downloads one remote file to path, in as many attempts as it takes.
type transfer struct {
	remote
	fetcher *Fetcher
	what    string // the source, for people
	path    string
	limit   int64 // bytes
	report  func(done, total int64)
	logged  time.Time
}

// received is what is known of a downloaded file.
type received struct {
	bytes  int64
	sha256 string
	etag   string
}

// errRestart is returned by a remote that cannot go on with a part: the file
// has changed since.
var errRestart = errors.New("the file has changed")

// errReplaced is returned by a remote whose plan is out of date.
var errReplaced = errors.New("the file was replaced by another")

// run downloads, and leaves the part at path. On an error that is worth trying
// again the part stays, else it is removed.
func (t *transfer) run(ctx context.Context) (received, error) {
	p, err := openPart(t.path, sidecar{Source: t.what, SHA256: t.sha256}, t.fetcher.openFile)
	if err != nil {
		return received{}, diskError(t.what, err)
	}
	t.logged = time.Now()
	t.fetcher.log.Info("downloading", "source", t.what, "file", t.name, "resumed_at", p.size)
	err = t.complete(ctx, p)
	if err != nil {
		_ = p.file.Close()
		if !resumable(err) {
			_ = os.Remove(t.path)
			_ = os.Remove(t.path + ".json")
		}
		if !errors.Is(err, errNotModified) {
			t.fetcher.log.Warn("download failed", "source", t.what, "file", t.name, "bytes", p.size, "error", err)
		}
		return received{}, err
	}
	if err := p.finish(); err != nil {
		return received{}, diskError(t.what, err)
	}
	t.fetcher.log.Info("downloaded", "source", t.what, "file", t.name, "bytes", p.size)
	return received{p.size, p.digest(), p.ETag}, nil
}

// complete makes attempts until the part is whole and has the right digest.
func (t *transfer) complete(ctx context.Context, p *part) error {
	again := true
	return t.fetcher.persist(ctx, t.what, func() (bool, error) {
		before := p.size
		err := t.attempt(ctx, p)
		if errors.Is(err, errRestart) {
			if err := p.reset(); err != nil {
				return false, diskError(t.what, err)
			}
			err = t.attempt(ctx, p)
		}
		if err != nil {
			p.resumed = p.size > 0
			return p.size-before >= muchBytes, err
		}
		if t.sha256 == "" || p.digest() == t.sha256 {
			return true, nil
		}
		bad := mismatch(t.what, p.digest(), t.sha256)
		if !p.resumed || !again {
			return false, bad
		}
		// What an earlier attempt left may have been of another version.
		again = false
		if err := p.reset(); err != nil {
			return false, diskError(t.what, err)
		}
		return false, bad.temporary()
	})
}

// persist calls try until it succeeds, fails for good, or has failed too often
// in a row. Failures of which try says that they brought much do not count.
func (f *Fetcher) persist(ctx context.Context, what string, try func() (bool, error)) error {
	for failures := 0; ; {
		much, err := try()
		var own *Error
		if err == nil || !errors.As(err, &own) || !own.Temporary {
			return err
		}
		if ctx.Err() != nil {
			return canceled(ctx, what)
		}
		if much {
			failures = 0
		}
		if failures++; failures >= maxFailures || own.retryAfter > maxPatience {
			return err
		}
		wait := delay(failures, own.retryAfter)
		f.log.Info("trying again", "source", what, "after", wait, "error", err)
		if f.sleep(ctx, wait) != nil {
			return canceled(ctx, what)
		}
	}
}

// delay is how long to wait after so many failures in a row: doubling, with
// jitter so that many clients do not come back at once, and what the server
// asked for at least.
func delay(failures int, asked time.Duration) time.Duration {
	d := min(firstDelay<<(failures-1), maxDelay)
	return max(d/2+rand.N(d/2), asked)
}

// attempt asks for what is missing in p and writes it there.
func (t *transfer) attempt(parent context.Context, p *part) error {
	if p.size > 0 && p.SHA256 != "" && p.digest() == p.SHA256 {
		return nil // complete, and only not recorded as such
	}
	if p.size > 0 && !p.canGoOn() {
		if err := p.reset(); err != nil {
			return diskError(t.what, err)
		}
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watch := time.AfterFunc(t.fetcher.stall, func() { cancel(errStalled) })
	defer watch.Stop()

	s, err := t.open(ctx, p.size, p.ETag)
	if errors.Is(err, errRestart) || errors.Is(err, errNotModified) || errors.Is(err, errReplaced) {
		return err
	}
	if err != nil {
		return transferError(ctx, t.what, err)
	}
	defer func() { _ = s.close() }()
	if err := t.begin(p, s); err != nil {
		return err
	}
	return t.copy(ctx, p, s, watch)
}

// begin checks what a server is going to send, before it does.
func (t *transfer) begin(p *part, s *stream) error {
	changed := s.from > 0 && p.ETag != "" && s.etag != "" && s.etag != p.ETag
	if changed || s.from != 0 && s.from != p.size {
		return errRestart
	}
	if s.from == 0 {
		if err := p.reset(); err != nil {
			return diskError(t.what, err)
		}
	}
	if t.size >= 0 && s.total >= 0 && t.size != s.total {
		return fail(Cut, "%s: the server announces %d bytes, but the file has %d; try again later", t.what, s.total, t.size).temporary()
	}
	if max(t.size, s.total) > t.limit {
		return t.tooLarge()
	}
	if err := p.describe(s.etag, s.total); err != nil {
		return diskError(t.what, err)
	}
	t.fetcher.cache.makeRoom(max(s.total, 0))
	return nil
}

func (t *transfer) tooLarge() *Error {
	return fail(TooLarge, "%s: larger than the %d bytes that an adapter may have", t.what, t.fetcher.options.MaxBytes)
}

// copy writes s to p. Each byte that comes sets the watch back.
func (t *transfer) copy(ctx context.Context, p *part, s *stream, watch *time.Timer) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := s.body.Read(buf)
		if n > 0 {
			watch.Reset(t.fetcher.stall)
			if p.size+int64(n) > t.limit {
				return t.tooLarge()
			}
			if _, err := p.Write(buf[:n]); err != nil {
				return diskError(t.what, err)
			}
			t.report(p.size, s.total)
			t.logProgress(p.size, s.total)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return transferError(ctx, t.what, err)
		}
	}
	if whole := max(s.total, t.size); whole >= 0 && p.size != whole {
		return fail(Cut, "%s: %d of %d bytes came", t.what, p.size, whole).temporary()
	}
	return nil
}

func (t *transfer) logProgress(done, total int64) {
	if now := time.Now(); now.Sub(t.logged) >= logEvery {
		t.logged = now
		t.fetcher.log.LogAttrs(context.Background(), slog.LevelInfo, "downloading",
			slog.String("source", t.what), slog.String("file", t.name), slog.Int64("bytes", done), slog.Int64("of", max(total, 0)))
	}
}
