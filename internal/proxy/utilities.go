package proxy

import (
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
)

// utilities are endpoints of llama-server that use no slot and no adapter: any
// worker answers them at once.
var utilities = []string{
	"/tokenize", "/detokenize", "/apply-template",
	"/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/chat/completions/input_tokens",
}

// maxUtility bounds their bodies: they are answered beside what is scheduled, and
// llama-server cuts about 3 MB into tokens a second.
const maxUtility = 2 << 20

// utility serves one of them. A model that the client names must exist.
func (p *Proxy) utility(path string) echo.HandlerFunc {
	return p.admitted(func(c echo.Context, visit *auth.Visit) error {
		body, err := p.readObject(c, min(p.opts.MaxBody, maxUtility))
		if err != nil {
			return err
		}
		if err := p.checkMedia(body); err != nil {
			return err
		}
		r := &request{endpoint: &endpoint{path: path, anonymous: true}, body: body}
		if err := r.readModel(p.opts.DefaultModel, p.opts.Alias); err != nil {
			return err
		}
		if _, given := body.Raw("model"); given {
			if _, err := p.resolve(visit, r.asked); err != nil {
				return err
			}
		}
		return p.askAny(c, r)
	})
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
		return fromWorker(resp.Status, answer)
	}
	return p.write(c, http.StatusOK, answer)
}
