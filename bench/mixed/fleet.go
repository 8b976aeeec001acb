package mixed

import (
	"context"
	"maps"
	"slices"
	"time"
)

// fleet keeps servers running from their first use to their last one, so that
// each is started and warmed up once. S is *load.Server. It has one owner, the
// bench.
type fleet[S interface{ Stop() }] struct {
	keep    bool // false starts a server for each use
	start   func(context.Context, server) (S, error)
	say     func(format string, args ...any)
	running map[server]S
	// starting is how long each server last took to start.
	starting map[server]time.Duration
}

// get returns a server, started if it does not run, and what to do with it
// after its use. It blocks until the server is ready. One that does not start
// beside the others, for lack of memory perhaps, is tried again without them.
func (f *fleet[S]) get(ctx context.Context, want server) (s S, release func(), err error) {
	if s, ok := f.running[want]; ok {
		return s, func() {}, nil
	}
	if want.alone() {
		f.stopAll()
	}
	begun := time.Now()
	s, err = f.start(ctx, want)
	if err != nil && len(f.running) > 0 && ctx.Err() == nil {
		f.say("cannot start beside %d other servers, so they are stopped: %v", len(f.running), err)
		f.stopAll()
		s, err = f.start(ctx, want)
	}
	if err != nil {
		return s, nil, err
	}
	f.starting[want] = time.Since(begun)
	if !f.keep {
		return s, s.Stop, nil
	}
	f.running[want] = s
	return s, func() {}, nil
}

// wait returns how long get will probably take.
func (f *fleet[S]) wait(want server) time.Duration {
	if _, ok := f.running[want]; ok {
		return 0
	}
	return f.starting[want]
}

// retire stops the servers that none of the steps uses.
func (f *fleet[S]) retire(left []step) {
	for _, s := range slices.Collect(maps.Keys(f.running)) {
		if !needed(s, left) {
			f.running[s].Stop()
			delete(f.running, s)
		}
	}
}

func (f *fleet[S]) stopAll() { f.retire(nil) }
