package relay

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/suspect"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// Options says what a Relay runs requests with.
type Options struct {
	Pool       Pool
	Alias      string        // what workers call the model
	Generation time.Duration // for the whole of an answer, once it runs; 0 is no bound
	Observer   Observer
	Log        *slog.Logger
}

// Pool lends workers; *pool.Pool is the real one.
type Pool interface {
	Acquire(ctx context.Context, req pool.Request) (*pool.Lease, error)
}

// Observer is told of the time between two events of a stream. It must be quick, and safe for
// concurrent use.
type Observer interface {
	Chunk(gap time.Duration)
}

// Client is who gets an answer. One goroutine uses it.
type Client interface {
	// Leased is told of each lease that the request gets, before it runs.
	Leased(l *pool.Lease)
	// SendWhole sends a whole answer.
	SendWhole(text []byte) error
	// BeginStream sends the head of a stream of events and returns what sends these.
	BeginStream() *sse.Sender
	// LogAttrs are what the log says of who asked what.
	LogAttrs() []any
}

// call is what belongs to one request and all of its pieces.
type call struct {
	*Options
	ctx     context.Context
	client  Client
	account *tally.Account
}

// Request is what is to be run.
type Request struct {
	dialect.Renamer

	ID       string
	Place    pool.Request   // what the pool is asked for, but for the prefixes
	Target   string         // the name of what is to answer
	Body     rawjson.Object // as llama-server gets it, but for the lease
	Prompts  [][]byte       // if there are several, each a JSON string or an array of tokens
	Choices  int            // that each prompt gets
	Stream   bool
	Gathers  bool     // the answer is whole, and had as a stream
	Progress bool     // llama-server tells how far it is with the prompt, and the client did not ask
	Fields   []string // of llama-server's own answer that the client asks for; none is all

	// into is where the answer goes if the request is a piece of one, and onto the stream
	// that its own is a piece of.
	into *[]byte
	onto *joined
}

// streams reports whether the worker's answer comes as a stream, which tells of each
// part.
func (r *Request) streams() bool { return r.Stream || r.Gathers }

// calls reports whether the answer may call tools.
func (r *Request) calls() bool {
	choice, _ := r.Body.Raw("tool_choice")
	return r.API.Parses && string(choice) != `"none"` && r.Body.Given("tools")
}

// asText returns the request for an answer that calls nothing: its text is the same, as far as
// no grammar has a part in it.
func (r *Request) asText() *Request {
	plain := *r
	plain.Body, _ = rawjson.Scan(r.Body.Apply(rawjson.Edit{Key: "tool_choice", Value: []byte(`"none"`)}))
	return &plain
}

// digest is of what llama-server would get and where.
func (r *Request) digest() suspect.Digest { return suspect.DigestOf(r.API.Path, r.Target, r.Body) }

// piece returns the request for one of several prompts.
func (r *Request) piece(i int) *Request {
	piece := *r
	piece.Prompts, piece.Body = nil, pieces.Prompt(r.Body, r.Prompts[i])
	return &piece
}

// forWorker returns the body as llama-server gets it on the lease's worker:
// with the adapter and the slot that the lease stands for, whatever the client
// wrote there.
func (r *Request) forWorker(l *pool.Lease, alias string) ([]byte, error) {
	lora, err := l.Worker.LoRA(l.Target.Parts)
	if err != nil {
		return nil, err
	}
	slot := rawjson.Edit{Key: "id_slot"} // a whole worker's slots are llama-server's to pick
	if l.Slot != pool.NoSlot {
		slot.Value = []byte(strconv.Itoa(l.Slot))
	}
	edits := []rawjson.Edit{{Key: "model", Value: rawjson.String(alias)}, {Key: "lora", Value: lora}, slot}
	if r.Gathers {
		edits = append(edits, r.API.AsStream(r.Body)...)
	}
	if r.API.Messages && r.Body.Given("stop") {
		edits = append(edits, whole.Verbose) // tells which word ended the answer
	}
	if r.Progress {
		edits = append(edits, rawjson.Edit{Key: "return_progress", Value: []byte("true")})
	}
	return r.Body.Apply(edits...), nil
}

// joined is one stream to a client that those of several pieces make up, one after the
// other. The request's handler owns it.
type joined struct {
	pieces.Numbering // of the piece that runs

	out  *sse.Sender // nil until something of the first piece has come
	last bool        // no piece follows the one that runs
	told bool        // the client has had an error event
}

// begin returns what writes to the client. The first piece that has something for it
// begins the answer.
func (j *joined) begin(client Client) *sse.Sender {
	if j.out == nil {
		j.out = client.BeginStream()
	} else {
		j.out.Pause() // the wait for a turn is no gap between two events
	}
	return j.out
}

// failed tells the client of an error, if it has events already and not that one.
func (j *joined) failed(r *Request, err error) error {
	e := failure.Of(err)
	if j.out == nil || j.told || e.Status == failure.StatusClientClosed {
		return err
	}
	if err := j.out.Send(r.API.Failure(e, r.ID), true); err != nil {
		return failure.ClientLeft(err)
	}
	return err
}
