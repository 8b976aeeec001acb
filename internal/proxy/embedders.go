package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/fields"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/proxy/whole"
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
	Vocabulary bounds.Vocabulary
}

// embedderPaths are the endpoints of each kind, OpenAI's and those that llama-server has beside it, of
// which /embeddings has answers of its own.
var embedderPaths = map[string]EmbedderKind{
	"/v1/embeddings": Embedding, "/embeddings": Embedding, "/embedding": Embedding,
	"/v1/rerank": Reranking, "/v1/reranking": Reranking,
}

// embedders serves the endpoints for embeddings and rankings.
type embedders struct {
	all     map[string]*Embedder // by name
	gate    *gate
	names   *names // has the rules
	checker *bounds.Checker
	limit   int64 // bytes of a body
}

// embedding is a request for embeddings or a ranking.
type embedding struct {
	*record
	dialect.Renamer
	body     rawjson.Object
	embedder *Embedder

	dimensions pieces.Dimensions
}

// serve returns the handler of one.
func (s *embedders) serve(path string) echo.HandlerFunc {
	return s.gate.accounted(s.limit, func(rec *record, principal *auth.Principal, body rawjson.Object) error {
		if err := s.checker.Check(body, ""); err != nil {
			return err
		}
		body = fields.Plain(body)
		asked, name, err := s.resolve(body, principal, embedderPaths[path])
		if err != nil {
			return err
		}
		if rule := s.names.ruleFor(asked); rule != nil {
			body = rule.apply(body, path)
		}
		rename := dialect.Renamer{API: &dialect.API{Path: path}, Model: asked}
		e := embedding{record: rec, Renamer: rename, body: body, embedder: s.all[name]}
		if e.embedder.Kind == Embedding {
			if err := fields.Encoding(body); err != nil {
				return err
			}
			if e.dimensions, err = pieces.DimensionsOf(body); err != nil {
				return err
			}
		}
		if err := e.embedder.Vocabulary.CheckIDs(body, "input", "content", "documents", "texts"); err != nil {
			return err
		}
		e.model, e.target = asked, name
		return e.run()
	})
}

// resolve returns the name that a body has, and that of the embedder that it means: the only one
// of its kind, if it names none, or what a rule makes of the name.
func (s *embedders) resolve(body rawjson.Object, principal *auth.Principal, kind EmbedderKind) (
	asked, name string, err error) {
	names := s.named(kind)
	usable := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !principal.May(name) })
	if len(names) == 0 {
		return "", "", &httpkit.Error{
			Status: http.StatusNotImplemented, Type: httpkit.TypeInvalid, Code: "not_implemented",
			Message: fmt.Sprintf("This gateway has no model for %s.", kind),
		}
	}
	_, err = body.Decode("model", &asked)
	switch {
	case err != nil:
		return "", "", httpkit.Invalid("model", "The field \"model\" must be a string.")
	case asked == "" && len(usable) == 1:
		return usable[0], usable[0], nil
	case asked == "" && len(usable) == 0:
		return "", "", &httpkit.Error{
			Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "model_not_allowed", Param: "model",
			Message: fmt.Sprintf("This key may use no model for %s.", kind),
		}
	case asked == "":
		return "", "", httpkit.Invalid("model", "The field \"model\" is missing: name one of %v.", usable)
	}
	name = asked
	if rule := s.names.ruleFor(asked); !slices.Contains(names, name) && rule != nil {
		name = rule.Model
	}
	if !slices.Contains(names, name) || !principal.May(name) && !principal.May(asked) {
		return "", "", modelNotFound(asked)
	}
	return asked, name, nil
}

// named returns the names of those of a kind.
func (s *embedders) named(kind EmbedderKind) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		if s.all[name].Kind == kind {
			names = append(names, name)
		}
	}
	return names
}

// run answers, in pieces if it has many texts.
func (e *embedding) run() error {
	list := pieces.TextsOf(e.body, e.embedder.Kind == Reranking)
	n, piece, err := list.Bodies(e.body)
	if err != nil {
		return err
	}
	answers, size := make([][]byte, n), 0
	for i := range answers {
		if answers[i], err = e.ask(piece(i)); err != nil {
			return err
		}
		e.account.Next()
		if size += len(answers[i]); size > whole.MaxAnswer {
			return whole.ErrTooLong
		}
	}
	text, ok := list.Merge(answers)
	if !ok {
		return failure.WorkerDied(failure.ErrNotOfEndpoint)
	}
	if text, err = e.dimensions.Cut(text); err != nil {
		return err
	}
	return e.write(text)
}

// ask runs one piece, with a lease of its own. The KV of one is nothing to
// another: there are no adapters, and llama-server picks the slot.
func (e *embedding) ask(body rawjson.Object) ([]byte, error) {
	ctx := e.Request().Context()
	lease, err := e.embedder.Pool.Acquire(ctx, pool.Request{Target: pool.Target{Identity: pool.Base}})
	if err != nil {
		return nil, failure.FromPool(e.Model, err)
	}
	outcome := pool.Cut
	defer func() { lease.Release(outcome, e.account.Usage()) }()
	resp, err := lease.Worker.Forward(ctx, e.API.Path,
		body.Apply(rawjson.Edit{Key: "model", Value: rawjson.String(e.Model)}))
	if err != nil {
		outcome = pool.Failed
		return nil, e.failed(err)
	}
	defer resp.Body.Close()
	text, err := relay.ReadAnswer(resp)
	if err != nil {
		outcome = pool.Failed
		return nil, e.failed(err)
	}
	if resp.Status != http.StatusOK {
		return nil, failure.FromWorker(e.API.Asked(e.body), resp.Status, text)
	}
	outcome = pool.Done
	text, ok := e.RenameAll(&e.account.Tally, text)
	if !ok {
		return nil, failure.WorkerDied(failure.ErrNotOfEndpoint)
	}
	return text, nil
}

func (e *embedding) failed(err error) error {
	if e.Request().Context().Err() != nil {
		return failure.Ended(e.Request().Context(), err)
	}
	return failure.WorkerDied(err)
}
