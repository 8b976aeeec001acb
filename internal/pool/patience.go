package pool

import (
	"context"
	"errors"

	"github.com/loragate/loragate/internal/upstream"
)

// patiently makes one of the pool's own calls of a worker, and makes it again for as
// long as it fails because this process has no file left for a connection: a worker
// that was not asked is not at fault, and must not be ended for it. Each try has the
// call timeout, which the dial spends waiting; the pool's end is the last one's.
func (p calls) patiently(ctx context.Context, ask func(ctx context.Context) error) error {
	for {
		err := ask(ctx)
		if !errors.Is(err, upstream.ErrStarved) || p.ctx.Err() != nil {
			return err
		}
		p.opts.Log.Error("a worker cannot be called: no more files may be open (ulimit -n, LimitNOFILE); it is tried "+
			"again", "error", err)
		fresh, cancel := context.WithTimeout(p.ctx, p.opts.CallTimeout)
		defer cancel()
		ctx = fresh
	}
}
