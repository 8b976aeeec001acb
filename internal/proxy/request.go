package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/anthropic"
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// request is a completion request once it is understood.
type request struct {
	endpoint  *endpoint
	principal *auth.Principal
	body      rawjson.Object // as llama-server gets it, but for the lease
	asked     string         // the model's name as the client gave it
	model     *catalog.Model // what it stands for
	stream    bool
	gathers   bool     // the answer is whole, and had as a stream
	choices   int      // that each prompt gets
	prompts   [][]byte // if there are several, each a JSON string or an array of tokens
	exclusive bool     // llama-server picks slots for it by itself
	progress  bool     // llama-server tells how far it is with the prompt, and the client did not ask

	// into is where the answer goes if the request is a piece of one, and onto the stream
	// that its own is a piece of.
	into *[]byte
	onto *joined

	fields []string // of llama-server's own answer that the client asks for; none is all
	hidden []string // that it did not ask for, but the gateway
}

// decode reads the body, once and whole, and resolves its model.
//
// Reading it whole before anything is sent on also keeps the server from
// closing the body under the transport when a worker answers at once
// (golang/go#40747).
func (p *Proxy) decode(c echo.Context, e *endpoint, principal *auth.Principal) (*request, error) {
	body, err := p.readObject(c, p.opts.MaxBody)
	if err != nil {
		return nil, err
	}
	r := &request{endpoint: e, body: body, principal: principal}
	if err := r.readModel(p.opts.DefaultModel, p.opts.Alias); err != nil {
		return nil, err
	}
	if r.model, err = p.resolve(principal, r.asked); err != nil {
		return nil, err
	}
	if rule := p.ruleFor(r.asked); rule != nil {
		r.apply(rule)
	}
	if e.messages {
		if err := r.translate(); err != nil {
			return nil, err
		}
	}
	if e.inner == responseKey {
		if err := r.moveFormat(); err != nil {
			return nil, err
		}
	}
	if err := p.checkBody(r.body, e.ids()); err != nil {
		return nil, err
	}
	if err := r.readFields(); err != nil {
		return nil, err
	}
	if !e.parses {
		if err := r.checkIDs(p.opts.Vocabulary, "prompt"); err != nil {
			return nil, err
		}
	}
	return r, p.checkFits(r)
}

// checkBody refuses what llama-server must not get. It is asked of what is sent, after
// every change.
func (p *Proxy) checkBody(body rawjson.Object, ids string) error {
	if err := p.checkMedia(body); err != nil {
		return err
	}
	return p.bounds.check(body, ids)
}

// moveFormat puts the schema that the answer to a request of the Responses API must
// have where llama-server looks for it, as in a chat completion.
func (r *request) moveFormat() error {
	var text struct {
		Format json.RawMessage `json:"format"`
	}
	if _, err := r.body.Decode("text", &text); err != nil {
		return invalid("text", "The field \"text\" must be an object.")
	}
	format, ok := rawjson.Scan(text.Format)
	if !ok {
		return nil
	}
	edit := rawjson.Edit{Key: "response_format", Value: []byte(text.Format)}
	if kind, _ := format.Raw("type"); string(kind) == `"json_schema"` {
		edit.Value = slices.Concat([]byte(`{"type":"json_schema","json_schema":`), format.Apply(rawjson.Edit{Key: "type"}), []byte("}"))
	}
	var err error
	r.body, err = rawjson.Parse(r.body.Apply(edit))
	return err
}

// maxPieces bounds what a conversation of the Messages API consists of: each message
// and block, and each of their fields, is decoded.
const maxPieces = 1 << 17

// pieces reports how many there are in a field.
func (r *request) pieces(key string) (n int) {
	raw, _ := r.body.Raw(key)
	rawjson.Walk(raw, func(t rawjson.Token) bool {
		if t.Kind != rawjson.Close {
			n++
		}
		return n <= maxPieces
	})
	return n
}

// translate makes the request one for a chat completion.
func (r *request) translate() error {
	for _, key := range []string{"messages", "system", "tools", "output_config", "tool_choice", "thinking"} {
		if r.pieces(key) > maxPieces {
			return invalid(key, "The field %q has more than %d values.", key, maxPieces)
		}
	}
	text, err := anthropic.Chat(r.body)
	var wrong *anthropic.RequestError
	switch {
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "%s", wrong.Message)
	case err != nil:
		return err
	}
	r.body, err = rawjson.Parse(text)
	return err
}

// readObject reads the body, which must be a JSON object of at most so many bytes.
func (p *Proxy) readObject(c echo.Context, limit int64) (rawjson.Object, error) {
	text, err := p.readBody(c, limit)
	if err != nil {
		return rawjson.Object{}, err
	}
	body, err := rawjson.Parse(text)
	if err != nil {
		return rawjson.Object{}, badJSON(err)
	}
	return body, nil
}

func (p *Proxy) readBody(c echo.Context, limit int64) ([]byte, error) {
	req := c.Request()
	if req.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	// The deadline that observe has set ends slow senders.
	text, err := p.readHeld(recordOf(c), http.MaxBytesReader(c.Response(), req.Body, limit), req.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errFull):
		c.Response().Header().Set("Connection", "close") // or the server would read the body to its end
		return nil, overloaded()
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &apiError{
			Status: http.StatusRequestTimeout, Type: typeInvalid, Code: "request_timeout",
			Message: fmt.Sprintf("The request body did not arrive within %s.", p.opts.ReadTimeout),
		}
	case req.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, ended(req.Context(), err)
	case err != nil: // it sent nonsense
		return nil, &apiError{
			Status: http.StatusBadRequest, Type: typeInvalid,
			Message: "The request body could not be read to its end.", Cause: err,
		}
	}
	if p.opts.LogPrompts {
		p.opts.Log.Info("body", "request_id", recordOf(c).id, "body", string(text))
	}
	// It would end the connection in the middle of a long answer.
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	return text, nil
}

// readAll is io.ReadAll for a body that says how long it is, or -1. It is not taken at
// its word for more than a common body: memory is for what has come.
func readAll(r io.Reader, length int64) ([]byte, error) {
	const least, most = 512, 64 << 10
	text := make([]byte, 0, min(max(length+1, least), most)) // one more, for the read that finds the end
	for {
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF: // itself: what wraps it is no end
			return text, nil
		case err != nil:
			return text, err
		case len(text) == cap(text):
			text = slices.Grow(text, len(text))
		}
	}
}

func bodyTooLarge(limit int64) *apiError {
	return &apiError{
		Status: http.StatusRequestEntityTooLarge, Type: typeInvalid, Code: "request_too_large",
		Message: fmt.Sprintf("The request body is larger than the limit of %d bytes.", limit),
	}
}

// readModel looks up the model's name. Without one the default is meant, if there
// is one, or, in llama-server's own API, which knows only one, the base.
func (r *request) readModel(otherwise, base string) error {
	given, err := r.body.Decode("model", &r.asked)
	switch {
	case err != nil:
		return invalid("model", "The field \"model\" must be a string.")
	case (!given || r.asked == "") && otherwise != "":
		r.asked = otherwise
	case (!given || r.asked == "") && r.endpoint.anonymous:
		r.asked = base
	case !given || r.asked == "":
		return invalid("model", "The field \"model\" is missing: name a model, as GET /v1/models lists them.")
	}
	return nil
}

// readFields looks up what decides how the request runs.
func (r *request) readFields() error {
	if _, err := r.body.Decode("stream", &r.stream); err != nil {
		return invalid("stream", "The field \"stream\" must be true or false.")
	}
	r.choices = 1
	for _, key := range choiceKeys {
		n := 1
		if _, err := r.body.Decode(key, &n); err != nil || n < 1 {
			return invalid(key, "The field %q must be a whole number of at least 1.", key)
		}
		r.choices = max(r.choices, n)
	}
	r.exclusive = r.choices > 1
	n := 0
	if r.prompts, n = r.readPrompts(); n > maxPrompts {
		return invalid("prompt", "There are %d prompts, more than the %d that one request may have.", n, maxPrompts)
	}
	asked, _ := r.body.Raw("return_progress")
	r.progress = r.stream && string(asked) != "true"
	r.gathers = !r.stream && r.fromStream()
	return r.readResponseFields()
}

// maxPrompts bounds the prompts of one request: llama-server makes a task of each at
// once, which takes about 130 kB.
const maxPrompts = 128

// readPrompts returns the prompts of a request that has several, and how many there
// are: of too many only the first.
func (r *request) readPrompts() (list [][]byte, n int) {
	raw, ok := r.body.Raw("prompt")
	if !ok || raw[0] != '[' || !slices.Contains(r.endpoint.prompts, "prompt") {
		return nil, 0
	}
	rawjson.Each(raw, func(prompt, _ []byte) bool {
		if n++; prompt[0] != '"' && prompt[0] != '[' && prompt[0] != '{' {
			list, n = nil, 0 // numbers are tokens, and strings beside them text, of one prompt
			return false
		}
		if n <= maxPrompts {
			list = append(list, prompt)
		}
		return true
	})
	if n < 2 {
		return nil, 0
	}
	return list, n
}

// timingsKey is what answers of llama-server's own API tell their token counts in.
const timingsKey = "timings"

// maxFields bounds the list of fields that a client asks for, in bytes.
const maxFields = 64 << 10

// readResponseFields sees to it that the timings, and what tells the end of a stream, are
// among the fields of the answer that the client asks for. Answers that are put together
// here are had with all.
func (r *request) readResponseFields() error {
	if raw, _ := r.body.Raw("response_fields"); len(raw) > maxFields {
		return invalid("response_fields", "The field \"response_fields\" is longer than %d bytes.", maxFields)
	}
	given, err := r.body.Decode("response_fields", &r.fields)
	if err != nil {
		return invalid("response_fields", "The field \"response_fields\" must be a list of names.")
	}
	if !given || len(r.fields) == 0 || r.gathers {
		return nil
	}
	for _, key := range []string{timingsKey, stopKey} {
		if !slices.Contains(r.fields, key) {
			r.hidden = append(r.hidden, key)
		}
	}
	text, err := json.Marshal(slices.Concat(r.fields, r.hidden))
	if err != nil {
		return err
	}
	r.body, err = rawjson.Parse(r.body.Apply(rawjson.Edit{Key: "response_fields", Value: text}))
	return err
}

// choiceKeys ask for several answers to one prompt. llama-server runs the
// second and further ones in slots that it picks by itself, over whatever KV
// cache those hold.
var choiceKeys = []string{"n", "n_cmpl"}

// TargetOf returns what must be in force for a model.
func TargetOf(m *catalog.Model) pool.Target {
	t := pool.Target{
		Identity: pool.Identity(m.Identity()), Weight: m.Weight, MaxConcurrency: m.MaxConcurrency,
	}
	for _, part := range m.Parts {
		t.Parts = append(t.Parts, pool.Part{Path: part.Version.Path, Scale: part.Scale})
	}
	return t
}

// forWorker returns the body as llama-server gets it on the lease's worker:
// with the adapter and the slot that the lease stands for, whatever the client
// wrote there.
func (r *request) forWorker(l *pool.Lease, alias string) ([]byte, error) {
	lora, err := l.Worker.LoRA(l.Target.Parts)
	if err != nil {
		return nil, err
	}
	slot := rawjson.Edit{Key: "id_slot"} // a whole worker's slots are llama-server's to pick
	if l.Slot != pool.NoSlot {
		slot.Value = []byte(strconv.Itoa(l.Slot))
	}
	edits := []rawjson.Edit{{Key: "model", Value: rawjson.String(alias)}, {Key: "lora", Value: lora}, slot}
	if r.gathers {
		edits = append(edits, r.asStream()...)
	}
	if r.progress {
		edits = append(edits, rawjson.Edit{Key: "return_progress", Value: []byte("true")})
	}
	return r.body.Apply(edits...), nil
}
