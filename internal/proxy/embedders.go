package proxy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// EmbedderKind is what an embedder is for.
type EmbedderKind string

const (
	Embedding EmbedderKind = "embedding"
	Reranking EmbedderKind = "reranking"
)

// Embedder is a model of its own for embeddings or reranking, on workers of its
// own.
type Embedder struct {
	Kind       EmbedderKind
	Pool       Pool
	Vocabulary Vocabulary
}

// embedderPaths are the endpoints of each kind; the second is llama-server's own
// name for the first.
var embedderPaths = map[string]EmbedderKind{
	"/v1/embeddings": Embedding, "/v1/rerank": Reranking, "/v1/reranking": Reranking,
}

// embed serves one of them.
func (p *Proxy) embed(path string) echo.HandlerFunc {
	return p.accounted(func(c echo.Context, principal *auth.Principal) error {
		body, err := p.readObject(c, p.opts.MaxBody)
		if err != nil {
			return err
		}
		if err := p.checkBody(body, ""); err != nil {
			return err
		}
		r := &request{endpoint: &endpoint{path: path}, body: body, principal: principal}
		embedder, err := p.embedderFor(r)
		if err != nil {
			return err
		}
		if err := r.checkIDs(embedder.Vocabulary, "input", "content", "documents", "texts"); err != nil {
			return err
		}
		rec := recordOf(c)
		rec.model, rec.target = r.asked, r.asked
		return p.askEmbedder(c, r, embedder)
	})
}

// embedderFor returns the embedder that a request means: the only one of its kind,
// if it names none.
func (p *Proxy) embedderFor(r *request) (*Embedder, error) {
	kind := embedderPaths[r.endpoint.path]
	names := p.embedders(r.principal, kind)
	if len(names) == 0 {
		return nil, &apiError{
			Status: http.StatusNotImplemented, Type: typeInvalid, Code: "not_implemented",
			Message: fmt.Sprintf("This gateway has no model for %s.", kind),
		}
	}
	given, err := r.body.Decode("model", &r.asked)
	switch {
	case err != nil:
		return nil, invalid("model", "The field \"model\" must be a string.")
	case !given && len(names) == 1:
		r.asked = names[0]
	case !given:
		return nil, invalid("model", "The field \"model\" is missing: name one of %v.", names)
	case !slices.Contains(names, r.asked):
		return nil, modelNotFound(r.asked)
	}
	return p.opts.Embedders[r.asked], nil
}

// embedders returns the names of those of a kind that a tenant may use.
func (p *Proxy) embedders(principal *auth.Principal, kind EmbedderKind) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(p.opts.Embedders)) {
		if p.opts.Embedders[name].Kind == kind && principal.May(name) {
			names = append(names, name)
		}
	}
	return names
}

// askEmbedder runs a request, in pieces if it has many texts.
func (p *Proxy) askEmbedder(c echo.Context, r *request, e *Embedder) error {
	list := textsOf(r.body, e.Kind)
	pieces, err := list.pieces(r.body)
	if err != nil {
		return err
	}
	answers, size := make([][]byte, len(pieces)), 0
	for i, piece := range pieces {
		if answers[i], err = p.askPiece(c, r, e, piece); err != nil {
			return err
		}
		recordOf(c).settle()
		if size += len(answers[i]); size > maxAnswer {
			return errAnswerTooLong
		}
	}
	text, ok := list.merge(answers)
	if !ok {
		return workerDied(errNotOfEndpoint)
	}
	return p.write(c, http.StatusOK, text)
}

// askPiece runs one piece, with a lease of its own. The KV of one is nothing to
// another: there are no adapters, and llama-server picks the slot.
func (p *Proxy) askPiece(c echo.Context, r *request, e *Embedder, body rawjson.Object) ([]byte, error) {
	ctx := c.Request().Context()
	lease, err := e.Pool.Acquire(ctx, pool.Request{Target: pool.Target{Identity: pool.Base}})
	if err != nil {
		return nil, fromPool(r.asked, err)
	}
	outcome := pool.Cut
	defer func() { lease.Release(outcome, recordOf(c).tally.usage()) }()
	resp, err := lease.Worker.Forward(ctx, r.endpoint.path, body.Apply(rawjson.Edit{Key: "model", Value: rawjson.String(r.asked)}))
	if err != nil {
		outcome = pool.Failed
		return nil, p.embedderFailed(c, err)
	}
	defer resp.Body.Close()
	text, err := readAll(io.LimitReader(resp.Body, maxAnswer), resp.ContentLength)
	if err != nil {
		outcome = pool.Failed
		return nil, p.embedderFailed(c, err)
	}
	if resp.Status != http.StatusOK {
		return nil, fromWorker(r, resp.Status, text)
	}
	outcome = pool.Done
	text, ok := r.renameAll(recordOf(c), text)
	if !ok {
		return nil, workerDied(errNotOfEndpoint)
	}
	return text, nil
}

func (p *Proxy) embedderFailed(c echo.Context, err error) error {
	if c.Request().Context().Err() != nil {
		return ended(c.Request().Context(), err)
	}
	return workerDied(err)
}
