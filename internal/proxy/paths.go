package proxy

import (
	"strings"

	"github.com/labstack/echo/v4"
)

// alternates are the paths under which llama-server has what is here under others, for clients
// whose base URL lacks the version.
var alternates = map[string]string{
	"/chat/completions": "/v1/chat/completions",
	"/completions":      "/completion", // llama-server's own API there, too
	"/responses":        "/v1/responses",

	"/chat/completions/input_tokens": "/v1/chat/completions/input_tokens",
	"/responses/input_tokens":        "/v1/responses/input_tokens",

	"/rerank":    "/v1/rerank",
	"/reranking": "/v1/reranking",
	"/models":    "/v1/models",
	"/v1/health": "/health",
}

// normalize routes a request by the path that is meant: a slash at the end means nothing, and
// alternates stand for others.
func normalize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		url := c.Request().URL
		path := url.Path
		if len(path) > 1 {
			path = strings.TrimSuffix(path, "/")
		}
		if meant, ok := alternates[path]; ok {
			path = meant
		} else if name, ok := strings.CutPrefix(path, "/models/"); ok {
			path = "/v1/models/" + name
		}
		if path != url.Path {
			url.Path, url.RawPath = path, "" // nothing here tells an escaped slash from another
		}
		return next(c)
	}
}
