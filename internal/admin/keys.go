package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/httpkit"
)

// Keys is what the API needs of an auth.Auth. Errors are *auth.Refusal, or the
// disk's. All but Keys wait for the disk.
type Keys interface {
	Keys() []auth.Key
	Create(tenant, label string, expires time.Time) (auth.Key, string, error)
	Revoke(id string) error
	Rotate(id string, grace time.Duration) (auth.Key, string, error)
}

// KeyList is the answer of GET /admin/v1/keys: those that the API made.
type KeyList struct {
	Keys []Key `json:"keys"` // oldest first
}

// Key is an API key, without what it is.
type Key struct {
	ID      string     `json:"id"`
	Tenant  string     `json:"tenant"`
	Label   string     `json:"label"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires"` // nil is never
}

// NewKey is a key that was just made. Secret is what its owner sends; it is shown
// once and not kept.
type NewKey struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}

// CreateKeyRequest is the body of POST /admin/v1/keys.
type CreateKeyRequest struct {
	Tenant  string `json:"tenant"`
	Label   string `json:"label,omitempty"`
	Expires string `json:"expires,omitempty"` // RFC 3339; "" is never
}

// RotateKeyRequest is the body of POST /admin/v1/keys/{id}/rotate.
type RotateKeyRequest struct {
	GraceSeconds int `json:"grace_seconds"` // how long the old key stays valid
}

func keyOf(k auth.Key) Key {
	view := Key{ID: k.ID, Tenant: k.Tenant, Label: k.Label, Created: k.Created.UTC()}
	if !k.Expires.IsZero() {
		expires := k.Expires.UTC()
		view.Expires = &expires
	}
	return view
}

func (a *api) listKeys(c echo.Context) error {
	answer := KeyList{Keys: []Key{}}
	for _, k := range a.opts.Keys.Keys() {
		answer.Keys = append(answer.Keys, keyOf(k))
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (a *api) createKey(c echo.Context) error {
	var body CreateKeyRequest
	seen, err := readObject(c, map[string]any{"tenant": &body.Tenant, "label": &body.Label, "expires": &body.Expires})
	if err != nil {
		return err
	}
	if !seen["tenant"] {
		return invalid("tenant", "tenant: is missing.")
	}
	var expires time.Time
	if body.Expires != "" {
		if expires, err = time.Parse(time.RFC3339, body.Expires); err != nil {
			return invalid("expires", "expires: must be a time such as 2030-01-31T00:00:00Z.")
		}
		if !expires.After(time.Now()) { // the zero time among them, which would be never
			return invalid("expires", "expires: must be later than now.")
		}
	}
	return answerKey(c)(a.opts.Keys.Create(body.Tenant, httpkit.Shorten(body.Label), expires))
}

func (a *api) revokeKey(c echo.Context) error {
	if err := a.opts.Keys.Revoke(param(c, "id")); err != nil {
		return keyError(err)
	}
	begin(c, http.StatusNoContent)
	return nil
}

func (a *api) rotateKey(c echo.Context) error {
	var body RotateKeyRequest
	seen, err := readObject(c, map[string]any{"grace_seconds": &body.GraceSeconds})
	switch {
	case err != nil:
		return err
	case !seen["grace_seconds"]:
		return invalid("grace_seconds", "grace_seconds: is missing.")
	case body.GraceSeconds < 0:
		return invalid("grace_seconds", "grace_seconds: must not be less than 0.")
	case body.GraceSeconds > maxGrace:
		return invalid("grace_seconds", "grace_seconds: must not be more than %d.", maxGrace)
	}
	return answerKey(c)(a.opts.Keys.Rotate(param(c, "id"), time.Duration(body.GraceSeconds)*time.Second))
}

// maxGrace is a hundred years, in seconds: as a duration it has room for more.
const maxGrace = 100 * 365 * 24 * 60 * 60

func answerKey(c echo.Context) func(auth.Key, string, error) error {
	return func(k auth.Key, secret string, err error) error {
		if err != nil {
			return keyError(err)
		}
		return writeJSON(c, http.StatusOK, NewKey{Key: keyOf(k), Secret: secret})
	}
}

func keyError(err error) error {
	var refusal *auth.Refusal
	switch {
	case !errors.As(err, &refusal):
	case refusal.Reason == auth.NotFound:
		return notFound("%s", refusal.Message)
	case refusal.Reason == auth.Invalid:
		return invalid("", "%s", refusal.Message)
	}
	return err
}
