package proxy

import (
	"strings"

	"github.com/labstack/echo/v4"
	openai "github.com/sashabaranov/go-openai"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/pool"
)

// modelObject is a model as GET /v1/models shows it: OpenAI's fields, and what
// is particular to adapters.
type modelObject struct {
	openai.Model
	Permission *struct{} `json:"permission,omitempty"` // not a thing here; hides the embedded one

	// Kind is "base", "adapter", "composition", "alias", "embedding" or "reranking"
	Kind string `json:"kind"`

	Base  string `json:"base"`                  // the base model's name
	About string `json:"description,omitempty"` // what it is good for, in its owner's words

	// Digest is the SHA-256 of the adapter's file; of a composition those of its parts, with their scales
	Digest string `json:"digest,omitempty"`

	// What clients look for to know how much they may send, as OpenRouter and vLLM
	// tell it, and what, as OpenRouter does. Not there until a worker has been up.
	Context      int           `json:"context_length,omitempty"` // tokens of prompt and answer
	MaxModelLen  int           `json:"max_model_len,omitempty"`  // the same
	Architecture *architecture `json:"architecture,omitempty"`
}

// architecture is what goes into a model and what comes out.
type architecture struct {
	Modality string   `json:"modality"` // such as "text+image->text"
	Inputs   []string `json:"input_modalities"`
	Outputs  []string `json:"output_modalities"`
}

// tell adds what workers tell of their model, which makes output.
func (o *modelObject) tell(f pool.Facts, output string) {
	if f.Context == 0 {
		return
	}
	o.Context, o.MaxModelLen = f.Context, f.Context
	o.Architecture = &architecture{
		Modality: strings.Join(f.Inputs, "+") + "->" + output, Inputs: f.Inputs, Outputs: []string{output},
	}
}

// models tells which models there are.
type models struct {
	gate      *gate
	names     *names
	answers   *answers
	facts     func() pool.Facts // of the base
	embedders *embedders
}

func (s *models) describe(m *catalog.Model, facts pool.Facts) modelObject {
	base := s.names.catalog.Base().Name
	o := modelObject{
		Model: openai.Model{
			ID: m.Name, Object: "model", CreatedAt: m.Created.Unix(), OwnedBy: "loragate",
			Root: m.Target,
		},
		Kind: string(m.Kind),
		Base: base, About: m.Description,
	}
	if m.Kind != lora.KindBase {
		o.Parent, o.Digest = base, m.Digest()
	}
	o.tell(facts, "text")
	return o
}

// list serves GET /v1/models.
func (s *models) list(c echo.Context) error {
	principal, err := s.gate.identify(c)
	if err != nil {
		return err
	}
	models, facts := s.names.catalog.Models(), s.facts()
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{"list", make([]modelObject, 0, len(models))}
	for _, m := range models {
		if principal.May(m.Name) || principal.May(m.Target) {
			list.Data = append(list.Data, s.describe(m, facts))
		}
	}
	for _, kind := range []EmbedderKind{Embedding, Reranking} {
		for _, name := range s.embedders.named(kind) {
			if principal.May(name) {
				list.Data = append(list.Data, s.describeEmbedder(name))
			}
		}
	}
	return s.answers.writeJSON(c, list)
}

// describeEmbedder is describe for a model that has nothing to do with the base.
func (s *models) describeEmbedder(name string) modelObject {
	e := s.embedders.all[name]
	o := modelObject{
		Model: openai.Model{ID: name, Object: "model", OwnedBy: "loragate", Root: name}, Kind: string(e.Kind),
		Base: name,
	}
	o.tell(e.Pool.Facts(), map[EmbedderKind]string{Embedding: "embeddings", Reranking: "scores"}[e.Kind])
	return o
}

// show serves GET /v1/models/{id}; ids may hold slashes.
func (s *models) show(c echo.Context) error {
	principal, err := s.gate.identify(c)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(c.Request().URL.Path, "/v1/models/")
	if e := s.embedders.all[name]; e != nil && principal.May(name) {
		return s.answers.writeJSON(c, s.describeEmbedder(name))
	}
	m, err := s.names.resolve(principal, name)
	if err != nil {
		return err
	}
	return s.answers.writeJSON(c, s.describe(m, s.facts()))
}
