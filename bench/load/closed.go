package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Closed runs the requests in a closed loop: each of so many clients takes the
// next request as soon as its last one has ended. It blocks until all have
// ended and returns their results, in the order of the requests, and the time
// from the first request to the last answer.
func Closed(ctx context.Context, s *Server, requests []Request, clients int) ([]Result, time.Duration) {
	results := make([]Result, len(requests))
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range min(clients, len(requests)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(requests)); i = next.Add(1) - 1 {
				if err := ctx.Err(); err != nil {
					results[i].Err = err
					continue
				}
				results[i] = s.Chat(ctx, requests[i])
			}
		})
	}
	wg.Wait()
	return results, time.Since(begun)
}

// Send is a request and where it goes.
type Send struct {
	Server  *Server
	Request Request
}

// AtOnce sends all requests at once and blocks until all answers have ended.
func AtOnce(ctx context.Context, sends []Send) []Result {
	results := make([]Result, len(sends))
	var wg sync.WaitGroup
	for i, s := range sends {
		wg.Go(func() { results[i] = s.Server.Chat(ctx, s.Request) })
	}
	wg.Wait()
	return results
}
