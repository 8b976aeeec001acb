package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/rawjson"
)

// props serves llama-server's GET /props, in which its own clients look for the context, the chat
// template and what a model can read.
type props struct {
	gate    *gate
	names   *names
	answers *answers
	pool    Pool

	embedders map[string]*Embedder
}

// serve tells what a worker told, but for what is not so here: the model's name, its file, and how
// many requests run at once. The query's model is for the name alone, as all have the base's template.
func (s *props) serve(c echo.Context) error {
	principal, err := s.gate.identify(c)
	if err != nil {
		return err
	}
	name, from := s.names.alias, s.pool
	if asked := c.QueryParam("model"); asked != "" {
		name = asked
		if e := s.embedders[asked]; e != nil && principal.May(asked) {
			from = e.Pool
		} else if _, err := s.names.resolve(principal, asked); err != nil {
			return err
		}
	}
	worker, err := from.Any()
	if err != nil {
		return failure.FromPool(name, err)
	}
	told, ok := rawjson.Scan(worker.Facts().Props)
	if !ok {
		return failure.Internal(errors.New("llama-server does not tell of its model"))
	}
	slots, no := 0, json.RawMessage("false")
	for _, w := range from.Stats().Workers {
		slots += len(w.Slots)
	}
	return s.answers.write(c, http.StatusOK, told.Apply(
		rawjson.Edit{Key: "model_alias", Value: rawjson.String(name)},
		rawjson.Edit{Key: "model_path", Value: rawjson.String(name)},
		rawjson.Edit{Key: "total_slots", Value: strconv.AppendInt(nil, int64(slots), 10)},
		rawjson.Edit{Key: "endpoint_slots", Value: no},
		rawjson.Edit{Key: "endpoint_metrics", Value: no},
		rawjson.Edit{Key: "webui", Value: no},
		rawjson.Edit{Key: "ui", Value: no},
	))
}
