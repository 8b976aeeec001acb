package admin

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
)

// guard refuses foreign hosts when listening on loopback.
func guard(listen string) echo.MiddlewareFunc {
	local := httpkit.Loopback(listen)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set("X-Content-Type-Options", "nosniff")
			c.Response().Header().Set("Cache-Control", "no-store")
			if host := httpkit.Host(c.Request().Host); local && !httpkit.Loopback(host) && !strings.EqualFold(host, listen) {
				return &httpkit.Error{
					Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "host_not_allowed",
					Message: "The admin address answers only requests to localhost, not to the host " + httpkit.Shorten(host) + ".",
				}
			}
			return next(c)
		}
	}
}

// authenticate asks for the token, if there is one, but not where a supervisor
// looks for signs of life. A nil function asks for none.
func authenticate(token func() string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if token == nil {
			return next
		}
		return func(c echo.Context) error {
			want := token()
			if want == "" || c.Request().URL.Path == "/health" || httpkit.Shows(c.Request(), want) {
				return next(c)
			}
			c.Response().Header().Set("WWW-Authenticate", `Bearer realm="gateway admin"`)
			return &httpkit.Error{
				Status: http.StatusUnauthorized, Type: httpkit.TypeAuthentication, Code: "unauthorized",
				Message: "The admin token is missing or wrong: send it as Authorization: Bearer <token>.",
			}
		}
	}
}

// sameOrigin refuses changes that a browser makes for a page of another origin.
func sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if httpkit.CrossOrigin(c.Request()) {
			return &httpkit.Error{
				Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "cross_origin",
				Message: "Pages of other origins may not change anything here.",
			}
		}
		return next(c)
	}
}

// routed refuses what no route is for, in the form of all errors. A path that is not in its
// simplest form, or lacks a part, is refused, too: ".." in a change is nothing to guess at.
func routed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		simple := path.Clean(c.Request().URL.EscapedPath()) == c.Request().URL.EscapedPath()
		allow, known := c.Get(echo.ContextKeyHeaderAllow).(string)
		switch {
		case !simple || slices.Contains(c.ParamValues(), ""):
		case known:
			allow = strings.TrimPrefix(allow, http.MethodOptions+", ") // which echo would answer by itself
			c.Response().Header().Set(echo.HeaderAllow, allow)
			return &httpkit.Error{
				Status: http.StatusMethodNotAllowed, Type: httpkit.TypeInvalid, Code: "method_not_allowed",
				Message: "This endpoint takes only " + allow + ".",
			}
		default:
			if err := next(c); !errors.Is(err, echo.ErrNotFound) {
				return err
			}
		}
		return &httpkit.Error{
			Status: http.StatusNotFound, Type: httpkit.TypeInvalid, Code: "not_found", Message: "There is no such endpoint.",
		}
	}
}

// logged writes a line for each call that could change something, done or not.
func (a *api) logged(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			return next(c)
		}
		began := time.Now()
		if err := next(c); err != nil {
			c.Error(err)
		}
		// Not the query and the body: sources may carry credentials.
		a.opts.Log.Info("admin call", "method", httpkit.Shorten(r.Method), "path", httpkit.Shorten(r.URL.EscapedPath()),
			"remote", r.RemoteAddr, "status", c.Response().Status, "took", time.Since(began))
		return nil
	}
}
