package fetch

import (
	"net/http"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/httpkit"
)

const maxRedirects = 10

// newClient returns a client like c that keeps credentials at home: neither a
// token nor the address with its query goes on to another host.
func newClient(c *http.Client) *http.Client {
	guarded := http.Client{}
	if c != nil {
		guarded = *c
	}
	if guarded.Transport == nil {
		guarded.Transport = http.DefaultTransport
	}
	guarded.CheckRedirect = checkRedirect
	return &guarded
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer")
	first, to := via[0].URL, req.URL
	if len(via) >= maxRedirects {
		return failure.HTTPStatus.New("%s://%s: redirected too often; check the address", first.Scheme, first.Host)
	}
	// What is behind an http:// server of this machine is the user's choice.
	// A remote one must not lead to it.
	local := first.Scheme == "http" && (httpkit.Loopback(to.Hostname()) || to.Host == first.Host)
	if to.Scheme != "https" && !(to.Scheme == "http" && local) {
		return failure.BadSource.New("%s://%s: redirected to %s://%s, which is not https://",
			first.Scheme, first.Host, to.Scheme, to.Host)
	}
	// net/http keeps the token for other ports and subdomains of a host.
	for _, r := range append(via[1:len(via):len(via)], req) {
		if r.URL.Scheme != first.Scheme || r.URL.Host != first.Host {
			req.Header.Del("Authorization")
			req.Header.Del("Cookie")
		}
	}
	return nil
}
