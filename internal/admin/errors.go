package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// ErrConflict is what an error of Pool is when the worker's state does not allow
// what was asked for. Its text is shown.
var ErrConflict = errors.New("conflict")

// invalid is an error in the field param, or in the request as a whole.
func invalid(param, format string, args ...any) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusBadRequest, Type: httpkit.TypeInvalid, Code: string(lora.Invalid),
		Param: param, Message: fmt.Sprintf(format, args...),
	}
}

func notFound(format string, args ...any) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusNotFound, Type: httpkit.TypeInvalid, Code: string(lora.NotFound),
		Message: fmt.Sprintf(format, args...),
	}
}

func tooLarge(limit int64) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusRequestEntityTooLarge, Type: httpkit.TypeInvalid, Code: string(lora.TooLarge),
		Message: fmt.Sprintf("The body is larger than %d bytes.", limit),
	}
}

func refused(reason string) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusUnprocessableEntity, Type: httpkit.TypeInvalid, Code: string(lora.Refused), Message: reason,
	}
}

var statusOf = map[lora.Code]int{
	lora.NotFound: http.StatusNotFound,
	lora.Conflict: http.StatusConflict,
	lora.Invalid:  http.StatusBadRequest,
	lora.Refused:  http.StatusUnprocessableEntity,
	lora.TooLarge: http.StatusRequestEntityTooLarge,
	lora.Failed:   http.StatusBadGateway,
	lora.Full:     http.StatusInsufficientStorage,
}

// asAPIError turns any error into one for the caller. What it does not know is
// not shown.
func asAPIError(err error) *httpkit.Error {
	var api *httpkit.Error
	var refusal *lora.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &size):
		return tooLarge(size.Limit)
	case errors.As(err, &refusal) && statusOf[refusal.Code] != 0:
		e := &httpkit.Error{
			Status: statusOf[refusal.Code], Type: httpkit.TypeInvalid, Code: string(refusal.Code),
			Message: refusal.Message, Cause: errors.Unwrap(refusal),
		}
		if e.Status >= http.StatusInternalServerError {
			e.Type = httpkit.TypeServer
		}
		return e
	case state.IsFull(err):
		return &httpkit.Error{
			Status: http.StatusInsufficientStorage, Type: httpkit.TypeServer, Code: string(lora.Full),
			Message: new(state.FullError).Error(), Cause: err,
		}
	case errors.Is(err, ErrConflict):
		return &httpkit.Error{Status: http.StatusConflict, Type: httpkit.TypeInvalid, Code: string(lora.Conflict),
			Message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &httpkit.Error{
			Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: "interrupted",
			Message: "The wait was interrupted; the change goes on.", Cause: err,
		}
	default:
		return &httpkit.Error{
			Status: http.StatusInternalServerError, Type: httpkit.TypeServer, Code: "internal_error",
			Message: "Internal error.", Cause: err,
		}
	}
}

// fail answers with the error and logs what its caller does not see. That the disk is full
// is said once, by whoever watches the state. An answer that has begun stays as it is; after
// a panic it is cut, since half of it must not look like a whole one.
func (a *api) fail(err error, c echo.Context) {
	e, r := asAPIError(err), c.Request()
	var bug *httpkit.PanicError
	switch {
	case errors.As(err, &bug):
		a.opts.Log.Error("admin call panicked", "method", r.Method, "path", httpkit.Shorten(r.URL.EscapedPath()),
			"panic", bug.Value, "stack", string(bug.Stack))
		if c.Response().Committed {
			panic(http.ErrAbortHandler)
		}
	case e.Status >= http.StatusInternalServerError && r.Context().Err() == nil && e.Cause != nil &&
		e.Code != string(lora.Full):
		a.opts.Log.Error("admin call failed", "method", r.Method, "path", httpkit.Shorten(r.URL.EscapedPath()),
			"code", e.Code, "message", e.Message, "error", e.Cause)
	}
	if !c.Response().Committed {
		_ = writeJSON(c, e.Status, e.Answer())
	}
}
