package proxy

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/rawjson"
)

// joined is one stream to a client that those of several pieces make up, one after the
// other. The request's handler owns it.
type joined struct {
	out   *sender // nil until something of the first piece has come
	first int     // the index of the first choice of the piece that runs
	last  bool    // no piece follows that one
	told  bool    // the client has had an error event
	id    []byte  // what llama-server calls the first piece; the others are called so, too
}

// streamPieces runs a request with several prompts one by one and answers with one stream.
// llama-server's own has the same events, in another order: it begins with all prompts at
// once where it has the slots.
func (p *Proxy) streamPieces(c echo.Context, r *request) error {
	if err := checkShared(r.body, "prompt"); err != nil {
		return err
	}
	j := &joined{}
	for i := range r.prompts {
		j.first, j.last = i*r.choices, i == len(r.prompts)-1
		piece := r.piece(i, nil)
		piece.onto = j
		if err := p.run(c, piece); err != nil {
			return j.failed(c, r.endpoint, err)
		}
		recordOf(c).settle()
	}
	return nil
}

// failed tells the client of an error, if it has events already and not that one.
func (j *joined) failed(c echo.Context, e *endpoint, err error) error {
	failure := asAPIError(err)
	if j.out == nil || j.told || failure.Status == StatusClientClosed {
		return err
	}
	if err := j.out.send(e.failure(failure, recordOf(c).id), true); err != nil {
		return clientLeft(err)
	}
	return err
}

// begin returns what writes to the client. The first piece that has something for it
// begins the answer.
func (j *joined) begin(p *Proxy, c echo.Context) *sender {
	if j.out != nil {
		j.out.last = time.Time{} // the wait for a turn is no gap between two events
		return j.out
	}
	recordOf(c).first = time.Since(recordOf(c).start)
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx in front would hold events back
	p.announceClose(c)
	j.out = p.newSender(c)
	c.Response().WriteHeader(http.StatusOK)
	return j.out
}

// renumber gives an event the index and the id that it has among those of all pieces.
func (j *joined) renumber(event rawjson.Object) rawjson.Object {
	var edits []rawjson.Edit
	if id, ok := event.Raw("id"); ok {
		if j.id == nil {
			j.id = append(j.id, id...)
		}
		edits = append(edits, rawjson.Edit{Key: "id", Value: j.id})
	}
	if raw, ok := event.Raw("choices"); ok {
		choices := rawjson.Elements(raw)
		for i, choice := range choices {
			choices[i] = shifted(choice, j.first)
		}
		edits = append(edits, rawjson.Edit{Key: "choices", Value: list(choices)})
	}
	if inner, ok := event.Raw(innerVerboseKey); ok {
		edits = append(edits, rawjson.Edit{Key: innerVerboseKey, Value: shifted(inner, j.first)})
	}
	event, _ = rawjson.Scan(shifted(event.Apply(edits...), j.first)) // an edited object stays one
	return event
}
