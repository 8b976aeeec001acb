package proxy

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
)

// identify tells whose request it is.
func (p *Proxy) identify(c echo.Context) (*auth.Principal, error) {
	if p.opts.Auth == nil {
		return &auth.Principal{}, nil
	}
	principal, err := p.opts.Auth.Authenticate(c.Request())
	if err != nil {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="gateway"`)
		return nil, fromAuth(err)
	}
	rec := recordOf(c)
	rec.tenant, rec.key = principal.Namespace(), principal.KeyID
	return principal, nil
}

// keyless reports whether no keys are asked for.
func (p *Proxy) keyless() bool { return p.opts.Auth == nil || !p.opts.Auth.Required() }

// admitted serves requests that count against their tenant's limits, until the
// gateway stops.
func (p *Proxy) admitted(serve func(c echo.Context, principal *auth.Principal) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		if p.draining.Load() {
			return stopping()
		}
		principal, leave, err := p.enter(c)
		if err != nil {
			return err
		}
		defer leave()
		return serve(c, principal)
	}
}

// accounted is admitted for requests that generate, or cost as if they did: also
// those that are refused are in the metrics of completions.
func (p *Proxy) accounted(serve func(c echo.Context, principal *auth.Principal) error) echo.HandlerFunc {
	admitted := p.admitted(serve)
	return func(c echo.Context) error {
		recordOf(c).completion = true
		return admitted(c)
	}
}

// enter is identify for a request that counts against limits. leave must be called
// when it has ended.
func (p *Proxy) enter(c echo.Context) (principal *auth.Principal, leave func(), err error) {
	if principal, err = p.identify(c); err != nil {
		return nil, nil, err
	}
	admission, err := principal.Admit()
	if err != nil {
		e := fromAuth(err)
		if e.Code == quotaCode {
			c.Response().Header().Set("X-Should-Retry", "false") // OpenAI's SDKs would, in vain
		}
		return nil, nil, e
	}
	admission.SetHeaders(c.Response().Header())
	return principal, func() {
		u := recordOf(c).usage()
		admission.End(u.Prompt + u.Completion)
	}, nil
}

// resolve returns the model that a tenant means by a name. One that it may not use
// does not exist for it.
func (p *Proxy) resolve(principal *auth.Principal, asked string) (*catalog.Model, error) {
	name := principal.Name(asked, p.opts.Alias)
	m, err := p.opts.Catalog.Resolve(name)
	if lora.CodeOf(err) == lora.NotFound {
		if rule := p.ruleFor(asked); rule != nil && rule.Model != "" {
			name = principal.Name(rule.Model, p.opts.Alias)
			m, err = p.opts.Catalog.Resolve(name)
		}
	}
	switch {
	case err == nil && m.Adhoc && m.NearBase() && !principal.May(p.opts.Alias): // "chat@0" is the base by another name
	case err == nil && (principal.May(asked) || principal.May(name) || principal.May(m.Target)):
		return m, nil
	case err != nil && principal.May(name):
		return nil, fromCatalog(asked, err)
	}
	return nil, modelNotFound(asked)
}

// fromAuth turns a refusal into OpenAI's words.
func fromAuth(err error) *apiError {
	var refusal *auth.Refusal
	if !errors.As(err, &refusal) {
		return &apiError{Status: http.StatusInternalServerError, Type: typeServer, Message: "Internal error.", Cause: err}
	}
	e := &apiError{
		Status: http.StatusTooManyRequests, Type: string(refusal.Reason), Code: "rate_limit_exceeded",
		Message: refusal.Message, RetryAfter: refusal.RetryAfter,
	}
	switch refusal.Reason {
	case auth.NoKey, auth.BadKey:
		e.Status, e.Type, e.Code = http.StatusUnauthorized, typeInvalid, "invalid_api_key"
	case auth.Concurrency:
		e.Type = string(auth.Requests)
	case auth.Budget:
		e.Type, e.Code = quotaCode, quotaCode
	}
	return e
}

const quotaCode = "insufficient_quota"
