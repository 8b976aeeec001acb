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
}

// serve tells what a worker told, but for what is not so here: the model's name, its file, and how
// many requests run at once. The query's model is for the name alone, as all have the base's template.
func (s *props) serve(c echo.Context) error {
	principal, err := s.gate.identify(c)
	if err != nil {
		return err
	}
	name := s.names.alias
	if asked := c.QueryParam("model"); asked != "" {
		if _, err := s.names.resolve(principal, asked); err != nil {
			return err
		}
		name = asked
	}
	worker, err := s.pool.Any()
	if err != nil {
		return failure.FromPool(name, err)
	}
	told, ok := rawjson.Scan(worker.Facts().Props)
	if !ok {
		return failure.Internal(errors.New("llama-server does not tell of its model"))
	}
	slots, no := 0, json.RawMessage("false")
	for _, w := range s.pool.Stats().Workers {
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
