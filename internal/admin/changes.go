package admin

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
)

func (a *api) listAdapters(c echo.Context) error {
	records := a.opts.Catalog.List()
	v := a.views(records)
	answer := adminapi.Adapters{Adapters: make([]adminapi.Adapter, 0, len(records))}
	for _, rec := range records {
		answer.Adapters = append(answer.Adapters, v.adapter(rec))
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (a *api) getAdapter(c echo.Context) error {
	name := param(c, "name")
	rec, ok := a.opts.Catalog.Get(name)
	if !ok {
		return notFound("There is no adapter %q.", httpkit.Shorten(name))
	}
	return writeJSON(c, http.StatusOK, a.viewOf(rec))
}

func (a *api) putAdapter(c echo.Context) error {
	wait, err := waits(c)
	if err != nil {
		return err
	}
	spec, err := readSpec(c)
	if err != nil {
		return err
	}
	rec, err := a.opts.Catalog.Put(c.Request().Context(), spec, wait)
	if err != nil {
		return err
	}
	return a.settled(c, rec, wait)
}

// waits reads the query of a PUT.
func waits(c echo.Context) (bool, error) {
	wait := false
	q := newQuery(c)
	q.boolean("wait", &wait)
	return wait, q.end()
}

// readSpec reads the body of a PUT.
func readSpec(c echo.Context) (lora.Spec, error) {
	spec := lora.Spec{Name: param(c, "name")}
	var rawParts []json.RawMessage
	fields := spec.Fields()
	maps.Copy(fields, map[string]any{
		"source": &spec.Source, "digest": &spec.Digest, "parts": &rawParts, "scale": &spec.Scale,
		"pin": &spec.Pin, "preload": &spec.Preload,
	})
	seen, err := readObject(c, fields)
	if err != nil {
		return spec, err
	}
	if err := checkNumbers(spec, seen); err != nil {
		return spec, err
	}
	switch {
	case seen["source"] && seen["parts"]:
		return spec, invalid("parts", "parts: an adapter has a source, a composition has parts, nothing has both.")
	case seen["source"] && spec.Source == "":
		return spec, invalid("source", "source: must not be empty.")
	case seen["source"]:
		return spec, nil
	case !seen["parts"]:
		return spec, invalid("source", "source: is missing; a composition has parts instead.")
	case len(rawParts) == 0:
		return spec, invalid("parts", "parts: must not be empty.")
	}
	for _, field := range []string{"digest", "scale", "pin", "preload"} {
		if seen[field] {
			return spec, invalid(field, "%s: a composition has none; give it to its adapters.", field)
		}
	}
	parts, err := decodeParts(rawParts)
	for _, p := range parts {
		share := lora.Share{Adapter: p.Adapter}
		if p.Scale != nil {
			share.Scale = *p.Scale
		}
		spec.Shares = append(spec.Shares, share)
	}
	return spec, err
}

// checkNumbers refuses what the catalog would take for a default.
func checkNumbers(spec lora.Spec, seen map[string]bool) error {
	switch {
	case seen["scale"] && spec.Scale == 0:
		return invalid("scale", "scale: must not be 0.")
	case seen["weight"] && spec.Weight <= 0:
		return invalid("weight", "weight: must be more than 0.")
	}
	if field, must := spec.Check(); field != "" {
		return invalid(field, "%s: %s.", field, must)
	}
	return nil
}

// settled answers with what became of a source: whoever waited for it learns of
// its rejection even if an older version goes on serving.
func (a *api) settled(c echo.Context, rec lora.Record, waited bool) error {
	switch {
	case rec.State == lora.Rejected, rec.State == lora.Quarantined,
		waited && rec.State == lora.Ready && rec.Reason != "":
		return refused(withoutPaths(rec.Reason, rec))
	case rec.State == lora.Ready:
		return writeJSON(c, http.StatusOK, a.viewOf(rec))
	}
	return writeJSON(c, http.StatusAccepted, a.viewOf(rec))
}

func (a *api) uploadAdapter(c echo.Context) error {
	switch media, _, _ := mime.ParseMediaType(c.Request().Header.Get("Content-Type")); media {
	case "multipart/form-data", "application/x-www-form-urlencoded":
		return &httpkit.Error{
			Status: http.StatusUnsupportedMediaType, Type: httpkit.TypeInvalid, Code: "unsupported_media_type",
			Message: "The body must be the file itself, not a form: send Content-Type: application/octet-stream.",
		}
	}
	spec, filename, err := uploadSpec(c)
	if err != nil {
		return err
	}
	limit := a.opts.MaxUpload
	if limit > 0 && c.Request().ContentLength > limit {
		return tooLarge(limit)
	}
	body := c.Request().Body
	if limit > 0 {
		body = http.MaxBytesReader(c.Response(), body, limit)
	}
	in := &upload{body: body, control: http.NewResponseController(c.Response())}
	rec, err := a.opts.Catalog.Upload(c.Request().Context(), spec, in, filename)
	switch {
	case err != nil && in.err != nil:
		return interrupted(in.err)
	case err != nil:
		return err
	}
	return a.settled(c, rec, true)
}

// interrupted is for a body that did not come as a whole, whatever the catalog
// made of it.
func interrupted(err error) error {
	e := asAPIError(err)
	if e.Status == http.StatusRequestEntityTooLarge {
		return e
	}
	return invalid("", "The upload ended before its end.")
}

// uploadSpec reads what an upload's query says of the adapter.
func uploadSpec(c echo.Context) (spec lora.Spec, filename string, err error) {
	spec.Name = param(c, "name")
	q := newQuery(c)
	q.text("filename", &filename)
	q.text("digest", &spec.Digest)
	q.number("scale", &spec.Scale)
	q.fields(spec.Fields())
	q.boolean("pin", &spec.Pin)
	q.boolean("preload", &spec.Preload)
	if err := q.end(); err != nil {
		return spec, "", err
	}
	if filename == "" {
		return spec, "", invalid("filename", "filename: is missing; its ending says what the file is.")
	}
	return spec, filename, checkNumbers(spec, q.seen)
}

func (a *api) removeAdapter(c echo.Context) error {
	if err := a.opts.Catalog.Remove(param(c, "name")); err != nil {
		return err
	}
	begin(c, http.StatusNoContent)
	return nil
}

func (a *api) pinAdapter(c echo.Context) error {
	var body adminapi.PinRequest
	seen, err := readObject(c, map[string]any{"pin": &body.Pin})
	if err != nil {
		return err
	}
	if !seen["pin"] {
		return invalid("pin", "pin: is missing.")
	}
	return a.answer(c)(a.opts.Catalog.Pin(param(c, "name"), body.Pin))
}

func (a *api) rollbackAdapter(c echo.Context) error {
	return a.answer(c)(a.opts.Catalog.Rollback(param(c, "name")))
}

func (a *api) answer(c echo.Context) func(lora.Record, error) error {
	return func(rec lora.Record, err error) error {
		if err != nil {
			return err
		}
		return writeJSON(c, http.StatusOK, a.viewOf(rec))
	}
}

// query reads a request's query as strictly as a body is read: the first mistake
// is kept.
type query struct {
	values map[string][]string
	seen   map[string]bool
	err    error
}

func newQuery(c echo.Context) *query {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil { // values lacks what could not be read
		err = invalid("", "The query is malformed: %s.", err)
	}
	return &query{values: values, seen: map[string]bool{}, err: err}
}

// one returns the parameter's value if it is there, once.
func (q *query) one(name string) (string, bool) {
	values := q.values[name]
	if len(values) == 0 {
		return "", false
	}
	q.seen[name] = true
	if len(values) > 1 {
		q.fail(name, "stands twice")
	}
	return values[0], true
}

func (q *query) fail(name, problem string) {
	if q.err == nil {
		q.err = invalid(httpkit.Shorten(name), "%s: %s.", httpkit.Shorten(name), problem)
	}
}

// fields reads parameters of lora.Settings.Fields.
func (q *query) fields(all map[string]any) {
	for name, to := range all {
		switch to := to.(type) {
		case *string:
			q.text(name, to)
		case *[]string:
			q.list(name, to)
		case *float64:
			q.number(name, to)
		case *int:
			q.whole(name, to)
		}
	}
}

func (q *query) text(name string, to *string) { *to, _ = q.one(name) }

func (q *query) list(name string, to *[]string) {
	if values := q.values[name]; len(values) > 0 {
		q.seen[name], *to = true, values
	}
}

func (q *query) number(name string, to *float64) {
	q.value(name, to, "must be a number")
}

func (q *query) whole(name string, to *int) {
	q.value(name, to, "must be a whole number")
}

func (q *query) boolean(name string, to *bool) {
	q.value(name, to, "must be true or false")
}

// value reads a parameter as JSON would: there is no NaN, nor other ways to say
// true.
func (q *query) value(name string, to any, want string) {
	text, ok := q.one(name)
	if ok && (text == "null" || json.Unmarshal([]byte(text), to) != nil) {
		q.fail(name, want)
	}
}

// end returns the first mistake; a parameter that nobody asked for is one.
func (q *query) end() error {
	for name := range q.values {
		if !q.seen[name] {
			q.fail(name, "there is no such parameter")
		}
	}
	return q.err
}

func workerID(c echo.Context) (int, error) {
	text := param(c, "id")
	id, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(id) != text {
		return 0, notFound("There is no worker %q.", httpkit.Shorten(text))
	}
	return id, nil
}
