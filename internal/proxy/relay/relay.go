// Package relay takes a request to its whole answer or to one error: on one lease, on another if
// its worker fails before the client has had a byte, and piece by piece if it has several prompts.
package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/prefix"
	"github.com/loragate/loragate/internal/proxy/stream"
	"github.com/loragate/loragate/internal/proxy/suspect"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
)

// Relay runs requests. It is safe for concurrent use.
type Relay struct {
	Options

	quarantine suspect.Quarantine
}

// New returns a Relay.
func New(opts Options) *Relay { return &Relay{Options: opts} }

// Run blocks until the client has the answer to a request. What the answer takes is added to
// the account while it comes. The errors are the client's, who has not had them yet unless a
// stream had begun.
func (rl *Relay) Run(ctx context.Context, client Client, account *tally.Account, r *Request) error {
	c := call{&rl.Options, ctx, client, account, nil}
	switch {
	case r.Stream:
		return rl.stream(c, r)
	case len(r.Prompts) == 0:
		return rl.run(c, r)
	}
	return rl.runPieces(c, r)
}

// stream runs a request whose answer is a stream. An error is an event of it if its head has
// been sent.
func (rl *Relay) stream(c call, r *Request) error {
	c.out = stream.New(c.client, r.API.Alive, r.keepAlive(rl.KeepAlive))
	defer c.out.End()
	run := rl.run
	if len(r.Prompts) > 0 {
		run = rl.streamPieces
	}
	if err := run(c, r); err != nil {
		return c.out.Fail(err, func(e *httpkit.Error) []byte { return r.Failure(e, r.ID) })
	}
	return nil
}

// run takes a request to its whole answer or to one error. A request whose worker fails
// before the client got a byte runs again. If it had no answer from llama-server yet, and
// nobody ended the worker from outside, it may be what ends workers, and its second run
// is a trial: alone on a worker. A second worker that ends under it is the last one.
func (rl *Relay) run(c call, r *Request) error {
	arrived := time.Now()
	if !rl.quarantine.Empty() {
		if left := rl.quarantine.Left(r.digest(), arrived); left > 0 {
			return quarantined(left)
		}
	}
	place := r.Place
	place.PrefixHashes = prefix.Hashes(place.Namespace+"\x00"+r.API.Path, r.Body, r.API.Prompts)
	var so suspect.Runs
	for {
		lease, err := c.Pool.Acquire(c.ctx, place)
		if err != nil {
			return failure.FromPool(r.Model, err)
		}
		c.leased(lease)
		err = c.attempt(r, lease)
		var failed *workerError
		switch {
		case err == nil:
			return nil
		case c.ctx.Err() != nil:
			return failure.Ended(c.ctx, err)
		case !errors.As(err, &failed):
			return err
		}
		switch so.Failed(failed, lease, c.account.Begun, time.Now()) {
		case suspect.Convict:
			return rl.convicted(c, r, failed)
		case suspect.GiveUp:
			return failure.WorkerDied(failed)
		}
		c.Log.Warn("worker failed before the first byte, running the request again",
			"request_id", r.ID, "worker", lease.Member, "suspect", so.Suspect, "error", failed)
		place.Again, place.Suspect = arrived, so.Suspect
	}
}

// convicted refuses a body for a while, and says so with who asked.
func (rl *Relay) convicted(c call, r *Request, cause error) error {
	digest := r.digest()
	rl.quarantine.Add(digest, time.Now())
	c.Log.Error("a request ended two workers: its body is refused for a while",
		append(c.client.LogAttrs(), "model", r.Model, "body_digest", hex.EncodeToString(digest[:8]),
			"refused_for", suspect.Refused, "error", cause)...)
	return failure.WorkerDied(cause)
}

// quarantined refuses a request that ended workers before.
func quarantined(left time.Duration) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusUnprocessableEntity, Type: httpkit.TypeInvalid, Code: "request_quarantined",
		Message: "This request ended the model's process twice and is refused for some minutes.", RetryAfter: left,
	}
}

// runPieces runs a request with several prompts one by one and answers as
// llama-server answers all of them.
func (rl *Relay) runPieces(c call, r *Request) error {
	if err := pieces.CheckShared(r.Body, "prompt"); err != nil {
		return err
	}
	size, answers := 0, make([][]byte, len(r.Prompts))
	for i := range r.Prompts {
		piece := r.piece(i)
		piece.into = &answers[i]
		if err := rl.run(c, piece); err != nil {
			return err
		}
		c.account.Next()
		if size += len(answers[i]); size > whole.MaxAnswer {
			return whole.ErrTooLong
		}
	}
	text, ok := r.API.Merge(answers, r.answered())
	if !ok {
		return failure.WorkerDied(failure.ErrNotOfEndpoint)
	}
	return c.client.SendWhole(tally.WithUsage(text, c.account.Total())) // llama-server's own API tells none
}

// streamPieces runs a request with several prompts one by one and answers with one stream.
// llama-server's own has the same events, in another order: it begins with all prompts at
// once where it has the slots.
func (rl *Relay) streamPieces(c call, r *Request) error {
	if err := pieces.CheckShared(r.Body, "prompt"); err != nil {
		return err
	}
	for i := range r.Prompts {
		c.out.Next(i*r.Choices, i == len(r.Prompts)-1)
		piece := r.piece(i)
		piece.Piece = &c.out.Piece
		if err := rl.run(c, piece); err != nil {
			return err
		}
		c.account.Next()
	}
	return nil
}
