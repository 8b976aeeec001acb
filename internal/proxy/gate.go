package proxy

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/rawjson"
)

// gate lets requests in: it knows whose they are, and whether any are served. It is safe for
// concurrent use.
type gate struct {
	auth     *auth.Auth // nil lets everybody do everything
	bodies   *bodies
	draining atomic.Bool // new requests are refused
}

// identify tells whose request it is.
func (g *gate) identify(c echo.Context) (*auth.Principal, error) {
	if g.auth == nil {
		return &auth.Principal{}, nil
	}
	principal, err := g.auth.Authenticate(c.Request())
	if err != nil {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="gateway"`)
		return nil, fromAuth(err)
	}
	rec := recordOf(c)
	rec.tenant, rec.key = principal.Namespace(), principal.KeyID
	return principal, nil
}

// keyless reports whether no keys are asked for.
func (g *gate) keyless() bool { return g.auth == nil || !g.auth.Required() }

// open returns why no new request is served, or nil.
func (g *gate) open() error {
	if g.draining.Load() {
		return failure.Stopping()
	}
	return nil
}

// handler answers a request from its body.
type handler func(rec *record, principal *auth.Principal, body rawjson.Object) error

// accounted serves requests that generate, or cost as if they did, until the gateway stops:
// they count against their tenant's limits, and also those that are refused are in the
// metrics of completions. Their bodies have at most so many bytes.
func (g *gate) accounted(limit int64, serve handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		recordOf(c).completion = true
		if err := g.open(); err != nil {
			return err
		}
		principal, leave, err := g.enter(c)
		if err != nil {
			return err
		}
		defer leave()
		body, err := g.bodies.readObject(c, limit)
		if err != nil {
			return err
		}
		return serve(recordOf(c), principal, body)
	}
}

// enter is identify for a request that counts against limits. leave must be called
// when it has ended.
func (g *gate) enter(c echo.Context) (principal *auth.Principal, leave func(), err error) {
	if principal, err = g.identify(c); err != nil {
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
		u := recordOf(c).account.Cost()
		admission.End(u.Prompt + u.Completion)
	}, nil
}

// fromAuth turns a refusal into OpenAI's words.
func fromAuth(err error) *httpkit.Error {
	var refusal *auth.Refusal
	if !errors.As(err, &refusal) {
		return failure.Internal(err)
	}
	e := &httpkit.Error{
		Status: http.StatusTooManyRequests, Type: string(refusal.Reason), Code: "rate_limit_exceeded",
		Message: refusal.Message, RetryAfter: refusal.RetryAfter,
	}
	switch refusal.Reason {
	case auth.NoKey, auth.BadKey:
		e.Status, e.Type, e.Code = http.StatusUnauthorized, httpkit.TypeInvalid, "invalid_api_key"
	case auth.Concurrency:
		e.Type = string(auth.Requests)
	case auth.Budget:
		e.Type, e.Code = quotaCode, quotaCode
	}
	return e
}

const quotaCode = "insufficient_quota"
