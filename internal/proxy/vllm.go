package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/rawjson"
)

// Adapters is what vLLM's endpoints for adapters change: a catalog, and what is brought
// into it. Errors are *lora.Error.
type Adapters interface {
	Get(name string) (lora.Record, bool)
	Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error)
	Remove(name string) error
}

// adapters serves vLLM's endpoints for adapters.
type adapters struct {
	changed Adapters
	token   func() string // of the admin API; nil, or "": there is none
	gate    *gate
	bodies  *bodies
	answers *answers
	limit   int64 // bytes of a body
}

// loraRequest is the body of vLLM's endpoints. Further fields, such as
// lora_int_id and base_model_name, mean nothing here.
type loraRequest struct {
	name, path string
	inPlace    bool // replace one of that name
}

// read takes the fields from a body; needed must be there.
func (r *loraRequest) read(body rawjson.Object, needed ...string) error {
	for _, field := range []struct {
		key string
		to  *string
	}{{"lora_name", &r.name}, {"lora_path", &r.path}} {
		if _, err := body.Decode(field.key, field.to); err != nil {
			return httpkit.Invalid(field.key, "The field %q must be a string.", field.key)
		}
		if *field.to == "" && slices.Contains(needed, field.key) {
			return httpkit.Invalid(field.key, "The field %q is missing.", field.key)
		}
	}
	if _, err := body.Decode("load_inplace", &r.inPlace); err != nil {
		return httpkit.Invalid("load_inplace", "The field \"load_inplace\" must be true or false.")
	}
	return nil
}

// repository is a name on the Hugging Face Hub, which vLLM takes as a path.
var repository = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[\w.-]+$`)

// spec is what the catalog is asked for, in its words. One that is replaced keeps
// its settings.
func (r *loraRequest) spec(old lora.Record) lora.Spec {
	spec := lora.Spec{Scale: 1, Settings: lora.Settings{Weight: 1}}
	if old.Kind == lora.KindAdapter {
		spec = old.Spec
	}
	spec.Name, spec.Source, spec.Digest = r.name, r.path, ""
	if repository.MatchString(r.path) {
		spec.Source = "hf://" + r.path
	}
	return spec
}

// load serves POST /v1/load_lora_adapter: it answers when the adapter can
// be asked for. If the client leaves before, loading goes on.
func (s *adapters) load(c echo.Context) error {
	r, err := s.decode(c, "lora_name", "lora_path")
	if err != nil {
		return err
	}
	old, exists := s.changed.Get(r.name)
	// What was refused before was never loaded.
	if exists && !r.inPlace && (old.Active != nil || old.State == lora.Downloading) {
		return httpkit.Invalid("lora_name",
			"The lora adapter %q has already been loaded, or is being loaded; with \"load_inplace\": true it is replaced.",
			r.name)
	}
	if _, err := s.changed.Put(c.Request().Context(), r.spec(old), true); err != nil {
		return fromChange(err)
	}
	return s.say(c, "Success: LoRA adapter '%s' added successfully.", r.name)
}

// unload serves POST /v1/unload_lora_adapter.
func (s *adapters) unload(c echo.Context) error {
	r, err := s.decode(c, "lora_name")
	if err != nil {
		return err
	}
	if err := s.changed.Remove(r.name); err != nil {
		return fromChange(err)
	}
	return s.say(c, "Success: LoRA adapter '%s' removed successfully.", r.name)
}

// decode reads the body of a client that may change adapters. The fields
// that are needed must be in it.
func (s *adapters) decode(c echo.Context, needed ...string) (r loraRequest, err error) {
	if err := s.gate.open(); err != nil {
		return r, err
	}
	if err := s.mayChange(c.Request()); err != nil {
		return r, err
	}
	body, err := s.bodies.readObject(c, s.limit)
	if err != nil {
		return r, err
	}
	return r, r.read(body, needed...)
}

// mayChange returns why a request may not change adapters, or nil. With a token, or
// tenants, only who shows the token may: a tenant's key is no operator's. Without
// either whoever is on this machine may (the configuration sees to it that nobody
// else reaches the gateway then), but for web pages there: those of other origins,
// and those whose own name was made to point here, which the host gives away.
func (s *adapters) mayChange(r *http.Request) error {
	token := ""
	if s.token != nil {
		token = s.token()
	}
	refusal := &httpkit.Error{Status: http.StatusForbidden, Type: httpkit.TypeInvalid}
	switch {
	case httpkit.CrossOrigin(r):
		refusal.Code, refusal.Message = "cross_origin", "Pages of other origins may not change adapters."
	case token == "" && s.gate.keyless() && !httpkit.Loopback(httpkit.Host(r.Host)):
		refusal.Code = "host_not_allowed"
		refusal.Message = fmt.Sprintf("Without an admin token adapters are changed only through localhost, "+
			"not through the host %q.", httpkit.Shorten(r.Host))
	case !s.gate.keyless() && token == "", token != "" && !httpkit.Shows(r, token):
		refusal.Status, refusal.Code = http.StatusUnauthorized, "invalid_api_key"
		refusal.Message = "Changing adapters needs the admin token as a bearer token."
	default:
		return nil
	}
	return refusal
}

// say answers in plain text, as vLLM does.
func (s *adapters) say(c echo.Context, format string, args ...any) error {
	s.answers.extend(c)
	return c.String(http.StatusOK, fmt.Sprintf(format, args...))
}

// fromChange turns the catalog's refusal of a change into an answer. As with vLLM
// a source that is not there is a 404.
func fromChange(err error) *httpkit.Error {
	var refusal *lora.Error
	switch {
	case errors.As(err, &refusal):
	case errors.Is(err, failure.ErrStopped):
		return failure.Stopping()
	case errors.Is(err, context.Canceled):
		return failure.ClientLeft(err)
	default:
		return &httpkit.Error{Status: http.StatusInternalServerError, Type: httpkit.TypeServer,
			Message: "The adapter could not be changed.", Cause: err}
	}
	e := &httpkit.Error{Status: http.StatusBadRequest, Type: httpkit.TypeInvalid, Code: string(refusal.Code),
		Message: refusal.Message, Cause: errors.Unwrap(refusal)}
	switch {
	case refusal.Code == lora.NotFound:
		e.Status = http.StatusNotFound
	case refusal.Code == lora.Conflict:
		e.Status = http.StatusConflict
	case refusal.Code == lora.Failed && errors.Is(err, fs.ErrNotExist):
		e.Status, e.Code, e.Param = http.StatusNotFound, string(lora.NotFound), "lora_path"
	case refusal.Code == lora.Full:
		e.Status, e.Type = http.StatusInsufficientStorage, httpkit.TypeServer
	case refusal.Code == lora.Failed:
		e.Status, e.Type = http.StatusBadGateway, httpkit.TypeServer
	}
	return e
}
