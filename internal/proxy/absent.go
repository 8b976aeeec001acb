package proxy

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
)

// absent are paths of OpenAI's API that clients ask for and that are not to be had here, and why.
// One that ends with a slash is all below it.
var absent = []struct{ path, why string }{
	{"/v1/responses/", "responses are not stored: each request has the whole conversation, and its answer all there is"},
	{"/v1/conversations", "conversations are not stored: each request has the whole of one"},
	{"/v1/batches", "there are no batches: requests that can wait are sent one by one, with low priority"},
	{"/v1/files", "files are not stored: requests have what they are about in them"},
	{"/v1/uploads", "files are not stored: requests have what they are about in them"},
	{"/v1/vector_stores", "files are not stored: requests have what they are about in them"},
}

// absentAt has the paths say so: with 404, which OpenAI's SDKs do not send again.
func absentAt(e *echo.Echo) {
	for _, a := range absent {
		gone := func(echo.Context) error {
			return &httpkit.Error{
				Status: http.StatusNotFound, Type: httpkit.TypeInvalid, Code: "not_available",
				Message: "This endpoint of OpenAI's is not to be had here: " + a.why + ".",
			}
		}
		if path, below := strings.CutSuffix(a.path, "/"); below {
			e.Any(path+"/*", gone)
			continue
		}
		e.Any(a.path, gone)
		e.Any(a.path+"/*", gone)
	}
}
