package proxy

import (
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/tools"
	"github.com/loragate/loragate/internal/rawjson"
)

// decoder understands completion requests.
type decoder struct {
	names      *names
	checker    *bounds.Checker
	schemas    *bounds.Schemas
	facts      func() pool.Facts // of the base
	vocabulary bounds.Vocabulary // the base's
}

// decode takes in a body that came to an endpoint, and resolves its model.
func (d *decoder) decode(body rawjson.Object, e *endpoint, principal *auth.Principal) (r *request, err error) {
	r = &request{endpoint: e}
	r.Renamer.API, r.Body = e.API, body
	if err = d.names.asked(body, e.anonymous, &r.Model); err != nil {
		return nil, err
	}
	if r.model, err = d.names.resolve(principal, r.Model); err != nil {
		return nil, err
	}
	if rule := d.names.ruleFor(r.Model); rule != nil {
		r.Body = rule.apply(r.Body, e.path)
	}
	r.Functions = e.Tools && tools.Legacy(r.Body)
	if r.Body, err = e.Translate(r.Body); err != nil {
		return nil, err
	}
	if r.Body, err = d.schemas.Hold(r.Body, e.Format); err != nil {
		return nil, err
	}
	if err := d.checker.Check(r.Body, e.ids()); err != nil {
		return nil, err
	}
	if err := r.readFields(); err != nil {
		return nil, err
	}
	if !e.Parses {
		if err := d.vocabulary.CheckIDs(r.Body, "prompt"); err != nil {
			return nil, err
		}
	}
	r.place(principal)
	return r, d.vocabulary.CheckFits(r.Body, e.Prompts, r.Prompts != nil, d.facts().Context)
}
