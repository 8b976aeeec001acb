package relay

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/stream"
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
	KeepAlive  time.Duration // without anything sent, after which a stream has a sign of life; 0 is never
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

// Client is who gets an answer. One goroutine at a time uses it.
type Client interface {
	stream.Client
	// SendWhole sends a whole answer.
	SendWhole(text []byte) error
	// LogAttrs are what the log says of who asked what.
	LogAttrs() []any
}

// call is what belongs to one request and all of its pieces.
type call struct {
	*Options
	ctx     context.Context
	client  Client
	account *tally.Account
	out     *stream.Stream // nil if the answer is whole
}

// leased tells the client of a lease.
func (c call) leased(l *pool.Lease) {
	if c.out != nil {
		c.out.Leased(l)
		return
	}
	c.client.Leased(l)
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

	// KeepAlive is after how long without anything sent a stream has a sign of life; 0 is
	// the relay's own, negative is never.
	KeepAlive time.Duration

	TellsUsage bool // a stream tells at its end what the whole request took

	into *[]byte // where the answer goes if the request is a piece of one
}

// keepAlive is after how long without anything sent the request's stream has a sign of life; 0 is
// never.
func (r *Request) keepAlive(usual time.Duration) time.Duration {
	if r.KeepAlive == 0 {
		return usual
	}
	return max(0, r.KeepAlive)
}

// streams reports whether the worker's answer comes as a stream, which tells of each
// part.
func (r *Request) streams() bool { return r.Stream || r.Gathers }

// calls reports whether the answer may call tools.
func (r *Request) calls() bool {
	choice, _ := r.Body.Raw("tool_choice")
	return r.API.Parses && string(choice) != `"none"` && r.Body.Given("tools")
}

// steady returns the request with a seed, if it has none, or -1 for any, and may have to be asked for once more:
// the client may have a part of its answer, and both are to be of one length.
func (r *Request) steady() *Request {
	seed, _ := r.Body.Raw("seed")
	if own := len(seed) > 0 && string(seed) != "null" && string(seed) != "-1"; own || !r.calls() {
		return r
	}
	steady := *r
	steady.Body, _ = rawjson.Scan(r.Body.Apply(rawjson.Edit{Key: "seed", Value: rawjson.Int(rand.IntN(math.MaxInt32))}))
	return &steady
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

// answered is how many choices the client gets of each prompt.
func (r *Request) answered() int {
	if r.Legacy != nil {
		return r.Legacy.Choices
	}
	return r.Choices
}

// piece returns the request for one of several prompts.
func (r *Request) piece(i int) *Request {
	piece := *r
	piece.Prompts, piece.Body = nil, pieces.Prompt(r.Body, r.Prompts[i])
	piece.Legacy = r.Legacy.Of(i)
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
