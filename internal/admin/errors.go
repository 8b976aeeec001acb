package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/state"
)

// ErrConflict is what an error of Pool is when the worker's state does not allow
// what was asked for. Its text is shown.
var ErrConflict = errors.New("conflict")

// ErrorAnswer is the body of every answer that is an error. It has the form of
// all the gateway's errors, which is OpenAI's.
type ErrorAnswer struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail says what is wrong.
type ErrorDetail struct {
	Message string  `json:"message"` // for people
	Type    string  `json:"type"`    // for machines, broad
	Param   *string `json:"param"`   // the field at fault
	Code    *string `json:"code"`    // for machines, narrow
}

// apiError is an error as a caller sees it, with the cause that only the log
// sees.
type apiError struct {
	Status  int
	Type    string
	Code    string
	Param   string // the field at fault; "" is null
	Message string
	Cause   error
}

const (
	typeInvalid = "invalid_request_error"
	typeServer  = "server_error"
)

func (e *apiError) Error() string { return e.Message }
func (e *apiError) Unwrap() error { return e.Cause }

func (e *apiError) write(w http.ResponseWriter) {
	detail := ErrorDetail{Message: e.Message, Type: e.Type, Code: &e.Code}
	if e.Param != "" {
		detail.Param = &e.Param
	}
	writeJSON(w, e.Status, ErrorAnswer{detail})
}

// invalid is an error in the field param, or in the request as a whole.
func invalid(param, format string, args ...any) *apiError {
	return &apiError{
		Status: http.StatusBadRequest, Type: typeInvalid, Code: string(catalog.Invalid),
		Param: param, Message: fmt.Sprintf(format, args...),
	}
}

func notFound(format string, args ...any) *apiError {
	return &apiError{
		Status: http.StatusNotFound, Type: typeInvalid, Code: string(catalog.NotFound),
		Message: fmt.Sprintf(format, args...),
	}
}

func tooLarge(limit int64) *apiError {
	return &apiError{
		Status: http.StatusRequestEntityTooLarge, Type: typeInvalid, Code: string(catalog.TooLarge),
		Message: fmt.Sprintf("The body is larger than %d bytes.", limit),
	}
}

func refused(reason string) *apiError {
	return &apiError{
		Status: http.StatusUnprocessableEntity, Type: typeInvalid, Code: string(catalog.Refused), Message: reason,
	}
}

var statusOf = map[catalog.Code]int{
	catalog.NotFound: http.StatusNotFound,
	catalog.Conflict: http.StatusConflict,
	catalog.Invalid:  http.StatusBadRequest,
	catalog.Refused:  http.StatusUnprocessableEntity,
	catalog.TooLarge: http.StatusRequestEntityTooLarge,
	catalog.Failed:   http.StatusBadGateway,
	catalog.Full:     http.StatusInsufficientStorage,
}

// asAPIError turns any error into one for the caller. What it does not know is
// not shown.
func asAPIError(err error) *apiError {
	var api *apiError
	var refusal *catalog.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &size):
		return tooLarge(size.Limit)
	case errors.As(err, &refusal) && statusOf[refusal.Code] != 0:
		e := &apiError{
			Status: statusOf[refusal.Code], Type: typeInvalid, Code: string(refusal.Code),
			Message: refusal.Message, Cause: refusal.Cause,
		}
		if e.Status >= http.StatusInternalServerError {
			e.Type = typeServer
		}
		return e
	case state.IsFull(err):
		return &apiError{
			Status: http.StatusInsufficientStorage, Type: typeServer, Code: string(catalog.Full), Message: new(state.FullError).Error(), Cause: err,
		}
	case errors.Is(err, ErrConflict):
		return &apiError{Status: http.StatusConflict, Type: typeInvalid, Code: string(catalog.Conflict), Message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &apiError{
			Status: http.StatusServiceUnavailable, Type: typeServer, Code: "interrupted",
			Message: "The wait was interrupted; the change goes on.", Cause: err,
		}
	default:
		return &apiError{
			Status: http.StatusInternalServerError, Type: typeServer, Code: "internal_error",
			Message: "Internal error.", Cause: err,
		}
	}
}

// fail answers with the error and logs what its caller does not see. That the disk is full
// is said once, by whoever watches the state.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPIError(err)
	if e.Status >= http.StatusInternalServerError && r.Context().Err() == nil && e.Cause != nil && e.Code != string(catalog.Full) {
		a.opts.Log.Error("admin call failed", "method", r.Method, "path", shorten(r.URL.EscapedPath()),
			"code", e.Code, "message", e.Message, "error", e.Cause)
	}
	e.write(w)
}

// bug ends a call whose handler panicked with v. One whose answer has begun is
// cut: half of it must not look like a whole one.
func (a *api) bug(w *statusWriter, r *http.Request, v any) {
	a.opts.Log.Error("admin call panicked", "method", r.Method, "path", shorten(r.URL.EscapedPath()),
		"panic", v, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	asAPIError(fmt.Errorf("panic: %v", v)).write(w)
}

// shorten keeps a caller's words from filling an error or a log line.
func shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
