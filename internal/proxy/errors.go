package proxy

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/failure"
)

// notReady is for a gateway that cannot serve yet, or at the moment.
func notReady(message string) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: "not_ready",
		Message: message, RetryAfter: time.Second,
	}
}

// forClient gives every error that reaches the end of a handler its envelope.
func forClient(err error) *httpkit.Error {
	var api *httpkit.Error
	var route *echo.HTTPError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &route):
		return &httpkit.Error{
			Status: route.Code, Type: httpkit.TypeInvalid,
			Message: fmt.Sprintf("%s: there is no such endpoint.", http.StatusText(route.Code)),
		}
	default:
		return failure.Internal(err)
	}
}

// setRetryAfter tells the client when to come again, in whole seconds.
func setRetryAfter(h http.Header, e *httpkit.Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
}
