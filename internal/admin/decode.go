package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/httpkit"
)

// maxJSON bounds a body of JSON, in bytes.
const maxJSON = 1 << 20

// readObject reads the request's body, one JSON object, into fields: the keys
// that it may have, each with a pointer to a string, number, bool or list. It
// returns the keys that are there.
func readObject(c echo.Context, fields map[string]any) (map[string]bool, error) {
	r := c.Request()
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &httpkit.Error{
			Status: http.StatusUnsupportedMediaType, Type: httpkit.TypeInvalid, Code: "unsupported_media_type",
			Message: "The body must be JSON: send Content-Type: application/json.",
		}
	}
	if r.ContentLength > maxJSON {
		return nil, tooLarge(maxJSON)
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxJSON))
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &size):
		return nil, err
	case err != nil:
		return nil, invalid("", "The body could not be read.")
	}
	return decodeObject(text, "", fields)
}

// decodeObject is readObject for an object at the place that prefix names.
// Unlike encoding/json it refuses keys that it does not know, keys that stand
// twice or in other capitals, and null.
func decodeObject(text []byte, prefix string, fields map[string]any) (map[string]bool, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err == nil && t != json.Delim('{') || errors.Is(err, io.EOF) {
		return nil, invalid(prefix, "%sThe body must be a JSON object.", label(prefix))
	} else if err != nil {
		return nil, badJSON(err)
	}
	seen := make(map[string]bool, len(fields))
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, badJSON(err)
		}
		key, _ := t.(string) // JSON has no other keys
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, badJSON(err)
		}
		target, known := fields[key]
		path := prefix + key
		switch {
		case !known:
			return nil, invalid(httpkit.Shorten(path), "%s: there is no such field.", httpkit.Shorten(path))
		case seen[key]:
			return nil, invalid(path, "%s: stands twice.", path)
		}
		seen[key] = true
		if err := decodeValue(raw, path, target); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, badJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("", "The body must be one JSON object, with nothing behind it.")
	}
	return seen, nil
}

func label(prefix string) string {
	if prefix == "" {
		return ""
	}
	return prefix + ": "
}

func badJSON(err error) *httpkit.Error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return invalid("", "The body is not valid JSON: %s.", err)
}

func decodeValue(raw json.RawMessage, path string, target any) error {
	want, nullable := "", false
	switch target.(type) {
	case *string:
		want = "a string"
	case *float64:
		want = "a number"
	case **float64:
		want, nullable = "a number or null", true
	case *int:
		want = "a whole number"
	case *bool:
		want = "true or false"
	case *[]string:
		want = "a list of strings"
	default:
		want = "a list of objects"
	}
	isNull := string(raw) == "null"
	if isNull && !nullable || holdsNull(raw, target) || json.Unmarshal(raw, target) != nil {
		return invalid(path, "%s: must be %s.", path, want)
	}
	return nil
}

// holdsNull reports whether a list of strings has a null in it, which
// encoding/json takes for "".
func holdsNull(raw json.RawMessage, target any) bool {
	if _, list := target.(*[]string); !list {
		return false
	}
	var items []*string
	return json.Unmarshal(raw, &items) == nil && slices.Contains(items, nil)
}

// decodeParts reads the parts of a composition.
func decodeParts(raw []json.RawMessage) ([]adminapi.Part, error) {
	parts := make([]adminapi.Part, len(raw))
	for i, text := range raw {
		at := "parts[" + strconv.Itoa(i) + "]"
		if len(bytes.TrimSpace(text)) == 0 || bytes.TrimSpace(text)[0] != '{' {
			return nil, invalid(at, "%s: must be an object.", at)
		}
		p := &parts[i]
		seen, err := decodeObject(text, at+".", map[string]any{"adapter": &p.Adapter, "scale": &p.Scale})
		switch {
		case err != nil:
			return nil, err
		case !seen["adapter"]:
			return nil, invalid(at+".adapter", "%s.adapter: is missing.", at)
		case p.Scale != nil && *p.Scale == 0:
			return nil, invalid(at+".scale", "%s.scale: must not be 0.", at)
		}
	}
	return parts, nil
}

// upload is the body of a request that may take any time, as long as bytes come.
type upload struct {
	body    io.Reader
	control *http.ResponseController
	err     error // why the body could not be read to its end, if so
}

func (u *upload) Read(b []byte) (int, error) {
	_ = u.control.SetReadDeadline(time.Now().Add(uploadPause)) // not every writer has one
	n, err := u.body.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}
