// Package failure has the errors that clients get when a request cannot be served to its end:
// what the pool, a worker, a deadline or their own leaving comes to in OpenAI's terms.
package failure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
)

// StatusClientClosed is what logs show for a client that left; it is never
// sent. nginx made the number common.
const StatusClientClosed = 499

// ErrStopped ends requests that are under way when the gateway cannot wait for them any
// longer.
var ErrStopped = errors.New("stopped")

// ErrTooLong ends a request that runs for longer than it may.
var ErrTooLong = errors.New("longer than limits.generation")

// ErrNotOfEndpoint says that a worker's answer is none of the endpoint that was asked.
var ErrNotOfEndpoint = errors.New("the answer is not one of this endpoint")

// Stopping refuses a request because the gateway stops.
func Stopping() *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: "stopping",
		Message: "The gateway is stopping.", RetryAfter: time.Second,
	}
}

// Ended says why a request's context has ended: its client left, or the gateway stopped.
func Ended(ctx context.Context, cause error) *httpkit.Error {
	if context.Cause(ctx) != ErrStopped {
		return ClientLeft(cause)
	}
	e := Stopping()
	e.Message, e.Cause = "The gateway stopped before the answer was complete.", ErrStopped
	return e
}

// ClientLeft ends the request of a client that is gone: nobody reads it.
func ClientLeft(cause error) *httpkit.Error {
	return &httpkit.Error{Status: StatusClientClosed, Type: httpkit.TypeInvalid, Code: "client_closed",
		Message: "The client left.", Cause: cause}
}

// WorkerDied is what a client gets when its request could not be run again.
func WorkerDied(cause error) *httpkit.Error {
	e := &httpkit.Error{
		Status: http.StatusBadGateway, Type: httpkit.TypeServer, Code: "worker_died",
		Message: "The model's process ended while it was answering.", Cause: cause,
	}
	if end, _ := pool.EndOf(cause); end == pool.EndMemory {
		e.Message = "The model's process was ended while it was answering: " +
			"the request made it take more memory than it may."
	}
	return e
}

// RanTooLong is what the client of a request gets that runs for longer than it may.
func RanTooLong(cause error) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusGatewayTimeout, Type: httpkit.TypeServer, Code: "generation_timeout",
		Message: "The answer took longer than the gateway allows.", Cause: cause,
	}
}

// Unavailable is for a model that exists and cannot be served.
func Unavailable(name string, cause error) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: "model_unavailable", Param: "model",
		Message:    fmt.Sprintf("The model %q cannot be loaded: its adapter is quarantined.", httpkit.Shorten(name)),
		RetryAfter: time.Minute, Cause: cause,
	}
}

// FromPool turns a refusal of the pool into an answer to a request for a model.
func FromPool(model string, err error) *httpkit.Error {
	var busy *pool.BusyError
	var quarantined *pool.QuarantinedFileError
	var room *pool.NoRoomError
	switch {
	case errors.As(err, &room):
		return httpkit.Invalid("model", "The model %q needs more adapters at once than a worker may have loaded.",
			httpkit.Shorten(model))
	case errors.As(err, &quarantined):
		return Unavailable(model, err)
	case errors.As(err, &busy) && busy.Reason == pool.ReasonNoWorker:
		return &httpkit.Error{
			Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: string(busy.Reason),
			Message: "No worker can serve at the moment.", RetryAfter: busy.RetryAfter, Cause: err,
		}
	case errors.As(err, &busy):
		message := "Too many requests are waiting."
		if busy.Reason == pool.ReasonWaited {
			message = "The request waited too long for its turn."
		}
		return &httpkit.Error{
			Status: http.StatusTooManyRequests, Type: httpkit.TypeRateLimit, Code: string(busy.Reason),
			Message: message, RetryAfter: busy.RetryAfter, Cause: err,
		}
	case errors.Is(err, pool.ErrStopping):
		return Stopping()
	case errors.Is(err, ErrStopped):
		e := Stopping()
		e.Cause = err
		return e
	case errors.Is(err, context.Canceled):
		return ClientLeft(err)
	default:
		return WorkerDied(err)
	}
}

// Of gives an error its form for clients, if it has none.
func Of(err error) *httpkit.Error {
	var e *httpkit.Error
	if errors.As(err, &e) {
		return e
	}
	return Internal(err)
}

// Internal is for what is nobody's fault but the gateway's.
func Internal(cause error) *httpkit.Error {
	return &httpkit.Error{Status: http.StatusInternalServerError, Type: httpkit.TypeServer,
		Message: "Internal error.", Cause: cause}
}
