package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// apiError is an error as a client sees it.
type apiError = httpkit.Error

const (
	typeInvalid   = httpkit.TypeInvalid
	typeServer    = httpkit.TypeServer
	typeRateLimit = httpkit.TypeRateLimit
	// StatusClientClosed is what logs show for a client that left; it is never
	// sent. nginx made the number common.
	StatusClientClosed = 499
)

func invalid(param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: typeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

func modelNotFound(name string) *apiError {
	return &apiError{
		Status: http.StatusNotFound, Type: typeInvalid, Code: "model_not_found", Param: "model",
		Message: fmt.Sprintf("The model %q does not exist.", httpkit.Shorten(name)),
	}
}

// fromCatalog turns a name that stands for nothing into an answer.
func fromCatalog(name string, err error) *apiError {
	switch lora.CodeOf(err) {
	case lora.InQuarantine:
		return unavailable(name, err)
	case lora.Invalid:
		return invalid("model", "The model %q makes no sense: %s.", httpkit.Shorten(name), err)
	default:
		return modelNotFound(name)
	}
}

// unavailable is for a model that exists and cannot be served.
func unavailable(name string, cause error) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "model_unavailable", Param: "model",
		Message:    fmt.Sprintf("The model %q cannot be loaded: its adapter is quarantined.", httpkit.Shorten(name)),
		RetryAfter: time.Minute, Cause: cause,
	}
}

func stopping() *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "stopping",
		Message: "The gateway is stopping.", RetryAfter: time.Second,
	}
}

// notReady is for a gateway that cannot serve yet, or at the moment.
func notReady(message string) *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "not_ready",
		Message: message, RetryAfter: time.Second,
	}
}

// ErrStopped ends requests that are under way when the gateway cannot wait for them any
// longer.
var ErrStopped = errors.New("stopped")

// ended says why a request's context has ended: its client left, or the gateway stopped.
func ended(ctx context.Context, cause error) *apiError {
	if context.Cause(ctx) != ErrStopped {
		return clientLeft(cause)
	}
	e := stopping()
	e.Message, e.Cause = "The gateway stopped before the answer was complete.", ErrStopped
	return e
}

// workerDied is what a client gets when its request could not be run again.
func workerDied(cause error) *apiError {
	e := &apiError{
		Status: http.StatusBadGateway, Type: typeServer, Code: "worker_died",
		Message: "The model's process ended while it was answering.", Cause: cause,
	}
	if end, _ := pool.EndOf(cause); end == pool.EndMemory {
		e.Message = "The model's process was ended while it was answering: the request made it take more memory than it may."
	}
	return e
}

// quarantined refuses a request that ended workers before.
func quarantined(left time.Duration) *apiError {
	return &apiError{
		Status: http.StatusUnprocessableEntity, Type: typeInvalid, Code: "request_quarantined",
		Message: "This request ended the model's process twice and is refused for some minutes.", RetryAfter: left,
	}
}

// errTooLong ends a request that runs for longer than it may.
var errTooLong = errors.New("longer than limits.generation")

// ranTooLong is what its client gets.
func ranTooLong(cause error) *apiError {
	return &apiError{
		Status: http.StatusGatewayTimeout, Type: typeServer, Code: "generation_timeout",
		Message: "The answer took longer than the gateway allows.", Cause: cause,
	}
}

// fromPool turns a refusal of the pool into an answer to a request for a model.
func fromPool(model string, err error) *apiError {
	var busy *pool.BusyError
	var quarantined *pool.QuarantinedFileError
	var room *pool.NoRoomError
	switch {
	case errors.As(err, &room):
		return invalid("model", "The model %q needs more adapters at once than a worker may have loaded.", httpkit.Shorten(model))
	case errors.As(err, &quarantined):
		return unavailable(model, err)
	case errors.As(err, &busy) && busy.Reason == pool.ReasonNoWorker:
		return &apiError{
			Status: http.StatusServiceUnavailable, Type: typeServer, Code: string(busy.Reason),
			Message: "No worker can serve at the moment.", RetryAfter: busy.RetryAfter, Cause: err,
		}
	case errors.As(err, &busy):
		message := "Too many requests are waiting."
		if busy.Reason == pool.ReasonWaited {
			message = "The request waited too long for its turn."
		}
		return &apiError{
			Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: string(busy.Reason),
			Message: message, RetryAfter: busy.RetryAfter, Cause: err,
		}
	case errors.Is(err, pool.ErrStopping):
		return stopping()
	case errors.Is(err, ErrStopped):
		e := stopping()
		e.Cause = err
		return e
	case errors.Is(err, context.Canceled):
		return clientLeft(err)
	default:
		return workerDied(err)
	}
}

func clientLeft(cause error) *apiError {
	return &apiError{Status: StatusClientClosed, Type: typeInvalid, Code: "client_closed", Message: "The client left.", Cause: cause}
}

// fromWorker puts llama-server's own error into OpenAI's envelope and terms. It
// keeps the status, but where it is the request's own fault; text is the answer's body.
func fromWorker(r *request, status int, text []byte) *apiError {
	e := &apiError{Status: status, Type: typeServer, Message: http.StatusText(status)}
	if status < 500 {
		e.Type = typeInvalid
	}
	var body struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil || body.Error.Message == "" {
		e.Cause = fmt.Errorf("llama-server answered %d: %s", status, httpkit.Shorten(string(text)))
		return e
	}
	e.Message = body.Error.Message
	if body.Error.Type == "exceed_context_size_error" {
		e.Type, e.Code = typeInvalid, "context_length_exceeded"
	}
	r.blame(e)
	return e
}

// fromEvent is fromWorker for an error that came as an event of a stream: there
// the status is in the error itself.
func fromEvent(r *request, raw json.RawMessage) *apiError {
	var body struct {
		Code int `json:"code"`
	}
	if json.Unmarshal(raw, &body) != nil || body.Code < 400 || body.Code > 599 {
		body.Code = http.StatusInternalServerError
	}
	return fromWorker(r, body.Code, append(append([]byte(`{"error":`), raw...), '}'))
}

// asAPIError gives every error that reaches the end of a handler its envelope.
func asAPIError(err error) *apiError {
	var api *apiError
	var route *echo.HTTPError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &route):
		return &apiError{
			Status: route.Code, Type: typeInvalid,
			Message: fmt.Sprintf("%s: there is no such endpoint.", http.StatusText(route.Code)),
		}
	default:
		return &apiError{Status: http.StatusInternalServerError, Type: typeServer, Message: "Internal error.", Cause: err}
	}
}

// envelope renders the error as OpenAI does.
func envelope(e *apiError) []byte {
	text, err := json.Marshal(e.Answer())
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// setRetryAfter tells the client when to come again, in whole seconds.
func setRetryAfter(h http.Header, e *apiError) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
}

// badJSON says what is wrong with a body, and where.
func badJSON(err error) *apiError {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, rawjson.ErrNotObject):
		return invalid("", "The request body must be a JSON object.")
	case errors.As(err, &syntax):
		return invalid("", "The request body is not valid JSON: %s at byte %d.", syntax, syntax.Offset)
	default:
		return invalid("", "The request body is not valid JSON: %s.", err)
	}
}
