package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/catalog"
)

// Adapters is what vLLM's endpoints for adapters change; *catalog.Catalog is one.
type Adapters interface {
	Get(name string) (catalog.Record, bool)
	Put(ctx context.Context, spec catalog.Spec, wait bool) (catalog.Record, error)
	Remove(name string) error
}

// loraRequest is the body of vLLM's endpoints. Further fields, such as
// lora_int_id and base_model_name, mean nothing here.
type loraRequest struct {
	Name    string `json:"lora_name"`
	Path    string `json:"lora_path"`
	InPlace bool   `json:"load_inplace"`
}

// repository is a name on the Hugging Face Hub, which vLLM takes as a path.
var repository = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[\w.-]+$`)

// source is the path in the catalog's words.
func (r loraRequest) source() string {
	if !filepath.IsAbs(r.Path) && repository.MatchString(r.Path) {
		return "hf://" + r.Path
	}
	return r.Path
}

// loadAdapter serves POST /v1/load_lora_adapter: it answers when the adapter can
// be asked for.
func (p *Proxy) loadAdapter(c echo.Context) error {
	r, err := p.decodeLoRA(c)
	if err != nil {
		return err
	}
	if r.Path == "" {
		return invalid("lora_path", "The field \"lora_path\" is missing.")
	}
	if _, exists := p.opts.Adapters.Get(r.Name); exists && !r.InPlace {
		return invalid("lora_name", "The lora adapter %q has already been loaded; with \"load_inplace\": true it is replaced.", shorten(r.Name))
	}
	spec := catalog.Spec{Name: r.Name, Source: r.source(), Scale: 1, Weight: 1}
	if _, err := p.opts.Adapters.Put(c.Request().Context(), spec, true); err != nil {
		return fromChange(err)
	}
	return p.say(c, "Success: LoRA adapter '%s' added successfully.", r.Name)
}

// unloadAdapter serves POST /v1/unload_lora_adapter.
func (p *Proxy) unloadAdapter(c echo.Context) error {
	r, err := p.decodeLoRA(c)
	if err != nil {
		return err
	}
	if err := p.opts.Adapters.Remove(r.Name); err != nil {
		return fromChange(err)
	}
	return p.say(c, "Success: LoRA adapter '%s' removed successfully.", r.Name)
}

// crossOrigin tells requests that a browser makes for somebody else's page.
var crossOrigin = http.NewCrossOriginProtection()

// decodeLoRA reads a body, of a client that may change adapters.
func (p *Proxy) decodeLoRA(c echo.Context) (r loraRequest, err error) {
	if crossOrigin.Check(c.Request()) != nil {
		return r, &apiError{
			Status: http.StatusForbidden, Type: typeInvalid, Code: "cross_origin",
			Message: "Pages of other origins may not change adapters.",
		}
	}
	if !p.mayChange(c.Request()) {
		return r, &apiError{
			Status: http.StatusUnauthorized, Type: typeInvalid, Code: "invalid_api_key",
			Message: "Changing adapters needs the admin token as a bearer token.",
		}
	}
	text, err := p.readBody(c)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, invalid("", "The request body is not valid: %s.", err)
	}
	if r.Name == "" {
		return r, invalid("lora_name", "The field \"lora_name\" is missing.")
	}
	return r, nil
}

// mayChange compares hashes, so that its time tells nothing of the token.
func (p *Proxy) mayChange(r *http.Request) bool {
	if p.opts.AdminToken == "" {
		return true
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(p.opts.AdminToken))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// say answers in plain text, as vLLM does.
func (p *Proxy) say(c echo.Context, format string, args ...any) error {
	p.extend(c)
	return c.String(http.StatusOK, fmt.Sprintf(format, args...))
}

// fromChange turns the catalog's refusal of a change into an answer.
func fromChange(err error) *apiError {
	var refusal *catalog.Error
	if !errors.As(err, &refusal) {
		return &apiError{Status: http.StatusInternalServerError, Type: typeServer, Message: "The adapter could not be changed.", Cause: err}
	}
	e := &apiError{Status: http.StatusBadRequest, Type: typeInvalid, Code: string(refusal.Code), Message: refusal.Message, Cause: refusal.Cause}
	switch refusal.Code {
	case catalog.NotFound:
		e.Status = http.StatusNotFound
	case catalog.Conflict:
		e.Status = http.StatusConflict
	case catalog.Failed:
		e.Status, e.Type = http.StatusBadGateway, typeServer
	}
	return e
}
