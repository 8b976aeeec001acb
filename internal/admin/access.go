package admin

import (
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
)

// guard refuses foreign hosts when listening on loopback.
func guard(listen string, next http.Handler) http.Handler {
	local := httpkit.Loopback(listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if host := httpkit.Host(r.Host); local && !httpkit.Loopback(host) && !strings.EqualFold(host, listen) {
			writeError(w, &httpkit.Error{
				Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "host_not_allowed",
				Message: "The admin address answers only requests to localhost, not to the host " + httpkit.Shorten(host) + ".",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate asks for the token, if there is one, but not where a supervisor
// looks for signs of life.
func authenticate(token func() string, next http.Handler) http.Handler {
	if token == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := token()
		if want == "" || r.URL.Path == "/health" || httpkit.Shows(r, want) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="gateway admin"`)
		writeError(w, &httpkit.Error{
			Status: http.StatusUnauthorized, Type: httpkit.TypeAuthentication, Code: "unauthorized",
			Message: "The admin token is missing or wrong: send it as Authorization: Bearer <token>.",
		})
	})
}

// sameOrigin refuses changes that a browser makes for a page of another origin.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpkit.CrossOrigin(r) {
			writeError(w, &httpkit.Error{
				Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "cross_origin",
				Message: "Pages of other origins may not change anything here.",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unrouted gives the mux's own refusals the form of all errors. A path that is
// not in its simplest form is refused, too: the mux would redirect to what it
// takes it for, and ".." in a change is nothing to guess at.
func unrouted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		simple := path.Clean(r.URL.EscapedPath()) == r.URL.EscapedPath()
		if simple && pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		e := &httpkit.Error{Status: http.StatusNotFound, Type: httpkit.TypeInvalid, Code: "not_found", Message: "There is no such endpoint."}
		if simple {
			seen := &headOnly{header: make(http.Header)}
			refusal.ServeHTTP(seen, r)
			if allow := seen.header.Get("Allow"); allow != "" {
				w.Header().Set("Allow", allow)
				e.Status = seen.status
				e.Code, e.Message = "method_not_allowed", "This endpoint takes only "+allow+"."
			}
		}
		writeError(w, e)
	})
}

// headOnly is a ResponseWriter that keeps all but the body.
type headOnly struct {
	header http.Header
	status int
}

func (h *headOnly) Header() http.Header         { return h.header }
func (h *headOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h *headOnly) WriteHeader(status int)      { h.status = status }

// logged writes a line for each call that could change something, done or not.
func (a *api) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		began, seen := time.Now(), &statusWriter{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		// Not the query and the body: sources may carry credentials.
		a.opts.Log.Info("admin call", "method", httpkit.Shorten(r.Method), "path", httpkit.Shorten(r.URL.EscapedPath()),
			"remote", r.RemoteAddr, "status", seen.status, "took", time.Since(began))
	})
}

// statusWriter remembers the status. Unwrap leaves http.ResponseController what
// it needs.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 until an answer has begun
}

func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}
