package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/convert"
	"github.com/loragate/loragate/internal/fetch"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// conversion counts the ways in which adapters have been converted: what an older one made
// is not taken for what this one would make.
const conversion = 1

// intake gets adapters from where they are to a GGUF file that has been checked
// against the base. It has no state of its own.
type intake struct {
	fetcher *fetch.Fetcher
	base    *gguf.Base
}

// newIntake reads the base.
func newIntake(cfg *config.Config, kept *store.Store, log *slog.Logger) (*intake, error) {
	base, err := gguf.ReadBase(cfg.Model.Path)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	info, err := os.Stat(cfg.Model.Path)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	s := cfg.Sources
	fetcher, err := fetch.New(fetch.Options{
		Store: kept, MaxBytes: s.MaxSize,
		HuggingFace: fetch.HuggingFaceOptions{Endpoint: s.HuggingFace.Endpoint, Token: s.HuggingFace.Token},
		S3:          fetch.S3Options{Endpoint: s.S3.Endpoint, Region: s.S3.Region, Insecure: s.S3.Insecure},
		Log:         log,
		Convert: func(ctx context.Context, dir, out string) error {
			return refused(convert.Convert(ctx, convert.Options{Dir: dir, Base: cfg.Model.Path, Out: out}))
		},
		Converter: fmt.Sprintf("%d for %s, %d bytes of %d",
			conversion, cfg.Model.Path, info.Size(), info.ModTime().UnixNano()),
	})
	return &intake{fetcher: fetcher, base: base}, err
}

// fetch is catalog.Options.Intake.
func (in *intake) fetch(
	ctx context.Context, from, digest string, progress func(done, total int64),
) (string, func(), error) {
	return toCatalog(in.fetcher.Fetch(ctx, from, digest, progress))
}

// receive is catalog.Options.Receive.
func (in *intake) receive(
	ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64),
) (string, func(), error) {
	return toCatalog(in.fetcher.Receive(ctx, r, filename, digest, progress))
}

// toCatalog puts what the fetcher returns into the catalog's words.
func toCatalog(path string, release func(), err error) (string, func(), error) {
	var e *lora.Error
	if errors.As(err, &e) {
		err = &catalog.Error{Code: catalog.Code(e.Code), Message: e.Message, Cause: err}
	}
	return path, release, err
}

// check is catalog.Options.Check.
func (in *intake) check(ctx context.Context, path string) (catalog.CheckInfo, error) {
	info, err := in.base.Check(ctx, path)
	if err != nil {
		return catalog.CheckInfo{}, refused(err)
	}
	return catalog.CheckInfo{Architecture: info.Architecture, Rank: info.Rank, Alpha: info.Alpha}, nil
}

// refused tells an adapter that is at fault from a disk that is.
func refused(err error) error {
	var rejection *gguf.Rejection
	var unsupported *convert.Unsupported
	var malformed *convert.Malformed
	if errors.As(err, &rejection) || errors.As(err, &unsupported) || errors.As(err, &malformed) {
		return &catalog.Error{Code: catalog.Refused, Message: err.Error(), Cause: err}
	}
	return err
}
