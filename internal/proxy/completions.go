package proxy

import (
	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/rawjson"
)

// completions serves the endpoints for completions.
type completions struct {
	gate    *gate
	limit   int64 // bytes of a body
	decoder *decoder
	relay   *relay.Relay
	echo    echoes
}

// serve returns the handler of one.
func (s *completions) serve(e *endpoint) echo.HandlerFunc {
	return s.gate.accounted(s.limit, func(rec *record, principal *auth.Principal, body rawjson.Object) error {
		r, err := s.decoder.decode(body, e, principal)
		if err != nil {
			return err
		}
		if err := s.echo.read(rec.Request().Context(), r); err != nil {
			return err
		}
		r.ID, rec.digest = rec.id, r.model.Digest()
		rec.model, rec.target, rec.stream = r.Model, r.Target, r.Stream
		rec.adhoc = r.model.Adhoc
		return s.relay.Run(rec.Request().Context(), rec, &rec.account, &r.Request)
	})
}
