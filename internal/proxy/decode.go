package proxy

import (
	"sync/atomic"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/fields"
	"github.com/loragate/loragate/internal/proxy/legacy"
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
	most       *atomic.Int64     // tokens of answers to requests that bound theirs by no name; 0 is no bound
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
	if most := d.most.Load(); most > 0 && !gives(r.Body, e.path, tokensField) {
		r.change(rawjson.Edit{Key: nameAt(e.path, tokensField), Value: rawjson.Int(int(most))})
	}
	r.Functions = e.Tools && tools.Legacy(r.Body)
	if r.Body, r.Responded, err = e.Translate(r.Body); err != nil {
		return nil, err
	}
	if err := d.check(r, principal); err != nil {
		return nil, e.InItsWords(err)
	}
	return r, nil
}

// check takes in a body as llama-server gets it.
func (d *decoder) check(r *request, principal *auth.Principal) (err error) {
	e := r.endpoint
	if r.Body, err = d.schemas.Hold(r.Body, e.Names["response_format"]); err != nil {
		return err
	}
	if err := d.checker.Check(r.Body, e.ids()); err != nil {
		return err
	}
	facts := d.facts()
	if err := d.checkFields(r, facts); err != nil {
		return err
	}
	if err := r.readFields(); err != nil {
		return err
	}
	if e.Parses {
		r.Body = tools.Forced(r.Body)
	} else if err := d.vocabulary.CheckIDs(r.Body, "prompt"); err != nil {
		return err
	}
	r.place(principal)
	return d.vocabulary.CheckFits(r.Body, r.API.Prompts, r.Prompts != nil, facts.Context)
}

// checkFields refuses what fields must not be, and takes in what an API promises beside
// llama-server's.
func (d *decoder) checkFields(r *request, facts pool.Facts) (err error) {
	if r.Body, err = fields.Check(r.Body, d.vocabulary.Tokens); err != nil {
		return err
	}
	switch r.API {
	case dialect.Chat:
		if r.Body, err = fields.Messages(r.Body, readerOf(facts)); err != nil {
			return err
		}
		return r.readLogprobs()
	case dialect.Text:
		if r.Legacy, r.Body, err = legacy.Read(r.Body); err == nil && r.Legacy != nil && r.Legacy.Middle {
			r.API = dialect.Middle
		}
	}
	return err
}

// readerOf is what reads messages, by what workers tell of it.
func readerOf(f pool.Facts) fields.Model { return fields.Model{Inputs: f.Inputs, Template: f.Template} }
