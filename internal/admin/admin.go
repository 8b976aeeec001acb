// Package admin is the gateway's second listener: what operators and their
// tools look at, apart from what clients use.
//
// It has no access control. Whoever listens on more than loopback must keep
// strangers away from it.
package admin

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/metrics"
)

// StatePath is where the State is.
const StatePath = "/admin/v1/state"

// Options says what the listener shows. All are required.
type Options struct {
	Listen  string // the address listened on, host:port, as it is configured
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// New returns a server for the handler; the caller listens and serves.
func New(opts Options) *http.Server {
	return &http.Server{
		Handler:           Handler(opts),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second, // no request here has a body
		WriteTimeout:      30 * time.Second, // nothing here streams
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
}

// Handler returns the routes alone.
//
// On a loopback address it serves only requests that name such an address as
// their Host: a web page whose name was made to point at 127.0.0.1 would
// otherwise read everything here through its visitor's browser.
func Handler(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", opts.Metrics.Handler())
	mux.HandleFunc("GET "+StatePath, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, stateOf(opts.Metrics.State()))
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	return guard(hostOf(opts.Listen), mux)
}

// guard refuses foreign hosts when listening on loopback.
func guard(listen string, next http.Handler) http.Handler {
	local := loopback(listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if host := hostOf(r.Host); local && !loopback(host) && !strings.EqualFold(host, listen) {
			writeJSON(w, http.StatusForbidden, refusal(host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refusal is in the form of all the gateway's errors, which is OpenAI's.
func refusal(host string) any {
	return map[string]any{"error": map[string]any{
		"message": "The admin address answers only requests to localhost, not to the host " + host + ".",
		"type":    "invalid_request_error", "param": nil, "code": "host_not_allowed",
	}}
}

// hostOf takes the port off, if there is one, the brackets of an IPv6 address
// and the dot at the end of a full name.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// loopback reports whether the host can only be this machine. Names are not
// looked up: whoever owns a name decides where it points.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when nobody reads any more
}
