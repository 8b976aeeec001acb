package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
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

func keyOf(k auth.Key) adminapi.Key {
	view := adminapi.Key{ID: k.ID, Tenant: k.Tenant, Label: k.Label, Created: k.Created.UTC()}
	if !k.Expires.IsZero() {
		expires := k.Expires.UTC()
		view.Expires = &expires
	}
	return view
}

func (a *api) listKeys(c echo.Context) error {
	answer := adminapi.KeyList{Keys: []adminapi.Key{}}
	for _, k := range a.opts.Keys.Keys() {
		answer.Keys = append(answer.Keys, keyOf(k))
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (a *api) createKey(c echo.Context) error {
	var body adminapi.CreateKeyRequest
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
	var body adminapi.RotateKeyRequest
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
		return writeJSON(c, http.StatusOK, adminapi.NewKey{Key: keyOf(k), Secret: secret})
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
