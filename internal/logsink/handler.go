package logsink

import (
	"context"
	"log/slog"
)

// handler has warnings and errors written at once: they are what tells why a program
// ended, should it end badly.
type handler struct {
	slog.Handler
	sink *Sink
}

// Handler returns a handler like h, which writes to the sink.
func (s *Sink) Handler(h slog.Handler) slog.Handler { return handler{h, s} }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.sink.Flush()
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.sink}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.sink}
}
