// Package httpkit has what both listeners of the gateway, its configuration and its command
// line share of HTTP: what is local, who shows which token, bodies, and the form of errors.
package httpkit

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Linger reads on what a request's sender still sends after its answer, so that the answer reaches
// who sends all before he reads: a connection that is closed with something unread is reset, with the
// answer in it. It blocks for so long and reads so many bytes at most. What has been written leaves
// before.
func Linger(w http.ResponseWriter, r *http.Request, most int64, wait time.Duration) {
	if r.Body == nil || r.Body == http.NoBody || r.Header.Get("Expect") != "" {
		return
	}
	control := http.NewResponseController(w)
	// First the deadline: before the head leaves, the server reads on what there is of a small body.
	if control.SetReadDeadline(time.Now().Add(wait)) != nil || control.Flush() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, most) // whoever leaves, or has sent all, ends it
}

// Host returns the host of a Host header or of an address, without a port, the brackets of
// IPv6 and the dot at the end of a full name.
func Host(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// Loopback reports whether a host, as Host returns it, can only be this machine. Names are
// not looked up: whoever owns a name decides where it points.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// Bearer returns the bearer token that a request shows, "" if it shows none.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// Shows reports whether a request shows the token, which is not "". Hashes are compared: the
// time that takes tells nothing of the token, not even its length.
func Shows(r *http.Request, token string) bool {
	got, want := sha256.Sum256([]byte(Bearer(r))), sha256.Sum256([]byte(token))
	return token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// crossOrigin goes by what browsers say of where a request comes from; its zero value
// would not.
var crossOrigin = http.NewCrossOriginProtection()

// CrossOrigin reports whether a browser sends the request, which could change something,
// for a page of another origin.
func CrossOrigin(r *http.Request) bool { return crossOrigin.Check(r) != nil }

// ReadAll is io.ReadAll for a body that says how long it is, or -1. It is not taken at its
// word for more than a common body: memory is for what has come.
func ReadAll(r io.Reader, length int64) ([]byte, error) {
	const least, most = 512, 64 << 10
	text := make([]byte, 0, min(max(length+1, least), most)) // one more, for the read that finds the end
	for {
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF: // itself: what wraps it is no end
			return text, nil
		case err != nil:
			return text, err
		case len(text) == cap(text):
			text = slices.Grow(text, len(text))
		}
	}
}
