package proxy

import (
	"io"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
)

// utilities are endpoints of llama-server that use no slot and no adapter: any
// worker answers them at once.
var utilities = []string{
	"/tokenize", "/detokenize", "/apply-template",
	"/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/chat/completions/input_tokens",
}

const (
	// maxUtility bounds their bodies: they are answered beside what is scheduled,
	// llama-server cannot be told to stop, and cuts 1 to 3 MB into tokens a second.
	maxUtility = 2 << 20
	// maxBeside bounds how many run at once, on all workers together.
	maxBeside = 4
)

// utilityLimit is how long the body for one of them may be.
func (p *Proxy) utilityLimit(path string) int64 {
	limit := min(p.opts.MaxBody, maxUtility)
	if p.opts.MaxText > 0 && slices.Contains(utilities[:3], path) { // the others may have pictures
		limit = min(limit, p.opts.MaxText)
	}
	return limit
}

// utility serves one of them. A model that the client names must exist.
func (p *Proxy) utility(path string) echo.HandlerFunc {
	return p.accounted(func(c echo.Context, principal *auth.Principal) error {
		body, err := p.readObject(c, p.utilityLimit(path))
		if err != nil {
			return err
		}
		if err := p.checkBody(body, ""); err != nil {
			return err
		}
		r := &request{endpoint: &endpoint{path: path, anonymous: true}, body: body}
		if err := r.readModel(p.opts.DefaultModel, p.opts.Alias); err != nil {
			return err
		}
		if err := p.checkUtility(r); err != nil {
			return err
		}
		rec := recordOf(c)
		rec.model, rec.target = r.asked, p.opts.Alias
		if _, given := body.Raw("model"); given {
			model, err := p.resolve(principal, r.asked)
			if err != nil {
				return err
			}
			rec.target, rec.adhoc = model.Target, model.Adhoc
		}
		select {
		case p.beside <- struct{}{}:
			defer func() { <-p.beside }()
		case <-c.Request().Context().Done():
			return clientLeft(c.Request().Context().Err())
		}
		return p.askAny(c, r)
	})
}

// checkUtility refuses numbers that are no tokens.
func (p *Proxy) checkUtility(r *request) error {
	switch r.endpoint.path {
	case "/detokenize":
		return r.checkTokens(p.opts.Vocabulary, "tokens")
	case "/tokenize":
		return r.checkIDs(p.opts.Vocabulary, "content")
	}
	return nil
}

// askAny passes a request on to whichever worker is up.
func (p *Proxy) askAny(c echo.Context, r *request) error {
	worker, err := p.opts.Pool.Any()
	if err != nil {
		return fromPool(r.asked, err)
	}
	resp, err := worker.Forward(c.Request().Context(), r.endpoint.at(), r.body.Apply())
	if err != nil {
		return workerDied(err)
	}
	defer resp.Body.Close()
	answer, err := readAll(io.LimitReader(resp.Body, maxAnswer), resp.ContentLength)
	switch {
	case c.Request().Context().Err() != nil:
		return ended(c.Request().Context(), err)
	case err != nil:
		return workerDied(err)
	case resp.Status != http.StatusOK:
		return fromWorker(r, resp.Status, answer)
	}
	return p.write(c, http.StatusOK, answer)
}
