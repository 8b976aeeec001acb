package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/convert"
	"github.com/loragate/loragate/internal/fetch"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// conversion counts the ways in which adapters have been converted: what an older one made
// is not taken for what this one would make.
const conversion = 2

// sources gets adapters from where they are to a GGUF file, and checks such against the
// base: ingest.Sources. It has no state of its own.
type sources struct {
	*fetch.Fetcher
	base *gguf.Base
}

// newSources reads the base.
func newSources(cfg *config.Config, kept *store.Store, log *slog.Logger) (*sources, error) {
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
	return &sources{Fetcher: fetcher, base: base}, err
}

// Check implements ingest.Sources.
func (in *sources) Check(ctx context.Context, path string) (lora.Version, error) {
	info, err := in.base.Check(ctx, path)
	if err != nil {
		return lora.Version{}, refused(err)
	}
	return lora.Version{
		Architecture: info.Architecture, Rank: info.Rank, Alpha: info.Alpha, Warnings: info.Warnings,
	}, nil
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
