package proxy

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/rawjson"
)

// names knows what clients' names of models stand for. It is safe for concurrent use.
type names struct {
	catalog  *catalog.Catalog
	alias    string // of the base
	fallback string // is meant by requests that name none; "" refuses them
	rules    atomic.Pointer[rules]
}

// rules are replaced as a whole.
type rules struct{ list []*Rule }

// setRules replaces the rules; requests that have been read keep theirs.
func (n *names) setRules(list []*Rule) { n.rules.Store(&rules{list}) }

// ruleFor returns the first rule that fits a name, or nil.
func (n *names) ruleFor(name string) *Rule {
	for _, r := range n.rules.Load().list {
		if auth.Match(r.Match, name) {
			return r
		}
	}
	return nil
}

// asked stores the name that a body has. Without one the default is meant, if there
// is one, or, in llama-server's own API, which knows only one, the base: its requests may be
// anonymous.
func (n *names) asked(body rawjson.Object, anonymous bool, name *string) error {
	given, err := body.Decode("model", name)
	switch {
	case err != nil:
		return httpkit.Invalid("model", "The field \"model\" must be a string.")
	case given && *name != "":
	case n.fallback != "":
		*name = n.fallback
	case anonymous:
		*name = n.alias
	default:
		return httpkit.Invalid("model", "The field \"model\" is missing: name a model, as GET /v1/models lists them.")
	}
	return nil
}

// resolve returns the model that a tenant means by a name. One that it may not use
// does not exist for it.
func (n *names) resolve(principal *auth.Principal, asked string) (*catalog.Model, error) {
	name := principal.Name(asked, n.alias)
	m, err := n.catalog.Resolve(name)
	if lora.CodeOf(err) == lora.NotFound {
		if rule := n.ruleFor(asked); rule != nil && rule.Model != "" {
			name = principal.Name(rule.Model, n.alias)
			m, err = n.catalog.Resolve(name)
		}
	}
	switch {
	case err == nil && m.Adhoc && m.NearBase() && !principal.May(n.alias): // "chat@0" is the base by another name
	case err == nil && (principal.May(asked) || principal.May(name) || principal.May(m.Target)):
		return m, nil
	case err != nil && principal.May(name):
		return nil, fromCatalog(asked, err)
	}
	return nil, modelNotFound(asked)
}

// fromCatalog turns a name that stands for nothing into an answer.
func fromCatalog(name string, err error) *httpkit.Error {
	switch lora.CodeOf(err) {
	case lora.InQuarantine:
		return failure.Unavailable(name, err)
	case lora.Invalid:
		return httpkit.Invalid("model", "The model %q makes no sense: %s.", httpkit.Shorten(name), err)
	default:
		return modelNotFound(name)
	}
}

func modelNotFound(name string) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusNotFound, Type: httpkit.TypeInvalid, Code: "model_not_found", Param: "model",
		Message: fmt.Sprintf("The model %q does not exist.", httpkit.Shorten(name)),
	}
}
