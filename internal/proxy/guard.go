package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/httpkit"
)

// guard says from where a request may come; see Options.
type guard struct {
	gate           *gate
	local          bool
	hosts, origins []string
}

// around is a middleware that refuses what browsers send for pages that nobody has let in,
// as long as no keys are asked for: whoever reaches the gateway may do everything then, and
// a page reaches it through its visitor's browser. With keys it needs no guard, for pages
// have none.
func (g *guard) around(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := framed(c); err != nil {
			return err
		}
		if g.gate.keyless() {
			if err := g.mayAsk(c.Request()); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// framed refuses a request that says in two ways where it ends, and ends its
// connection: where a proxy in front went by the other, what follows may be a part of
// somebody else's request. Where the connection cannot be watched, as with TLS, any
// that is sent in chunks is its connection's last.
func framed(c echo.Context) error {
	conn, _ := c.Request().Context().Value(connectionKey{}).(*connection)
	switch {
	case conn == nil:
	case conn.framing == nil:
		if len(c.Request().TransferEncoding) > 0 {
			c.Response().Header().Set("Connection", "close")
		}
	case conn.framing.Ambiguous():
		c.Response().Header().Set("Connection", "close")
		return httpkit.Invalid("", "The request has both Content-Length and Transfer-Encoding.")
	}
	return nil
}

// mayAsk returns why a request without a key is not served, or nil.
func (g *guard) mayAsk(r *http.Request) error {
	switch {
	case g.local && !g.names(r.Host):
		return &httpkit.Error{
			Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "host_not_allowed",
			Message: fmt.Sprintf("Without keys this address answers only requests to localhost, "+
				"not to the host %q (auth.hosts).", httpkit.Shorten(r.Host)),
		}
	case httpkit.CrossOrigin(r) && !g.welcome(r.Header.Get("Origin")):
		return &httpkit.Error{
			Status: http.StatusForbidden, Type: httpkit.TypeInvalid, Code: "cross_origin",
			Message: "Pages of other origins are not served without keys (cors.origins).",
		}
	}
	return nil
}

// names reports whether a Host header means this machine, or what guard.hosts says.
// A request without one is no browser's.
func (g *guard) names(host string) bool {
	host = httpkit.Host(host)
	named := func(known string) bool { return strings.EqualFold(known, host) }
	return host == "" || httpkit.Loopback(host) || slices.ContainsFunc(g.hosts, named)
}

// withoutPort adds to origins with any port those with the usual one, which browsers leave out.
func withoutPort(origins []string) []string {
	all := slices.Clone(origins)
	for _, origin := range origins {
		if host, any := strings.CutSuffix(origin, ":*"); any {
			all = append(all, host)
		}
	}
	return all
}

// welcome reports whether pages of an origin may call.
func (g *guard) welcome(origin string) bool {
	return slices.ContainsFunc(g.origins, func(glob string) bool { return auth.Match(glob, origin) })
}
