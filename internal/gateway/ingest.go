package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/convert"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/source"
)

// sources gets adapters from where they are to a GGUF file, and checks such against the
// base: ingest.Sources. It has no state of its own but the fetcher's cache.
type sources struct {
	fetcher *source.Fetcher
	base    *gguf.Base
	path    string // of the base
	dir     string // for what is converted; exists
}

// newSources reads the base and opens the cache in dir.
func newSources(cfg *config.Config, dir string, log *slog.Logger) (*sources, error) {
	base, err := gguf.ReadBase(cfg.Model.Path)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	in := &sources{base: base, path: cfg.Model.Path, dir: filepath.Join(dir, "converted")}
	if err := source.Empty(in.dir); err != nil { // of what a killed gateway left
		return nil, err
	}
	s := cfg.Sources
	in.fetcher, err = source.New(source.Options{
		CacheDir: filepath.Join(dir, "cache"), CacheBytes: s.Cache, MaxBytes: s.MaxSize,
		HuggingFace: source.HuggingFaceOptions{Endpoint: s.HuggingFace.Endpoint, Token: s.HuggingFace.Token},
		S3:          source.S3Options{Endpoint: s.S3.Endpoint, Region: s.S3.Region, Insecure: s.S3.Insecure},
		Log:         log,
	})
	return in, err
}

// Fetch implements ingest.Sources.
func (in *sources) Fetch(ctx context.Context, from, digest string, progress func(done, total int64)) (
	string, func(), error,
) {
	a, err := in.fetcher.Fetch(ctx, from, digest, progress)
	if err != nil {
		return "", nil, sourceError(err)
	}
	return in.convert(ctx, a)
}

// Receive implements ingest.Sources.
func (in *sources) Receive(
	ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64),
) (string, func(), error) {
	a, err := in.fetcher.Receive(ctx, r, filename, digest, progress)
	if err != nil {
		return "", nil, sourceError(err)
	}
	return in.convert(ctx, a)
}

// convert turns a PEFT adapter into a GGUF file; one that is a GGUF file stays
// what it is.
func (in *sources) convert(ctx context.Context, a *source.Artifact) (string, func(), error) {
	if !a.PEFT {
		return a.Path, a.Release, nil
	}
	defer a.Release()
	dir, err := os.MkdirTemp(in.dir, "")
	if err != nil {
		return "", nil, err
	}
	out := filepath.Join(dir, "adapter.gguf")
	if err := convert.Convert(ctx, convert.Options{Dir: a.Path, Base: in.path, Out: out}); err != nil {
		os.RemoveAll(dir)
		return "", nil, refused(err)
	}
	return out, func() { os.RemoveAll(dir) }, nil
}

// Check implements ingest.Sources.
func (in *sources) Check(ctx context.Context, path string) (lora.Version, error) {
	info, err := in.base.Check(ctx, path)
	if err != nil {
		return lora.Version{}, refused(err)
	}
	return lora.Version{Architecture: info.Architecture, Rank: info.Rank, Alpha: info.Alpha}, nil
}

// refused tells an adapter that is at fault from a disk that is.
func refused(err error) error {
	var rejection *gguf.Rejection
	var unsupported *convert.Unsupported
	var malformed *convert.Malformed
	if errors.As(err, &rejection) || errors.As(err, &unsupported) || errors.As(err, &malformed) {
		return lora.Errorf(lora.Refused, "%s", err).Because(err)
	}
	return err
}

// sourceError puts the fetcher's errors into the words that all parts share.
func sourceError(err error) error {
	var e *source.Error
	if !errors.As(err, &e) {
		return err
	}
	code := lora.Refused
	switch {
	case e.Code == source.TooLarge:
		code = lora.TooLarge
	case e.Code == source.BadSource:
		code = lora.Invalid
	case e.Code == source.DiskFull:
		code = lora.Full
	case e.Temporary, e.Code == source.Disk, e.Code == source.NotFound, e.Code == source.Unauthorized:
		code = lora.Failed
	}
	return lora.Errorf(code, "%s", e.Message).Because(err)
}
