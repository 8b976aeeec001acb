package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// request is a request as it goes over the wire.
type request struct {
	method string
	head   []byte // with the body behind it, if that is small
	body   []byte // if it is not
}

// maxJoined is the size up to which a body is copied behind its head. Larger ones
// go to the system as a second buffer, so that those kept for later stay small.
const maxJoined = 16 << 10

var requests = sync.Pool{New: func() any { return new(request) }}

// newRequest renders a request; the caller frees it. It refers to body.
func newRequest(header, method, path string, body []byte) *request {
	r := requests.Get().(*request)
	r.method = method
	b := append(r.head[:0], method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: worker\r\n"...)
	b = append(b, header...)
	if body != nil {
		b = append(b, "Content-Type: application/json\r\n"...)
	}
	if body != nil || method != http.MethodGet && method != http.MethodHead {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if len(body) <= maxJoined {
		b = append(b, body...)
		body = nil
	}
	r.head, r.body = b, body
	return r
}

// free gives the request back; it refers to no body any more.
func (r *request) free() {
	r.body = nil
	requests.Put(r)
}

// send writes the request with one system call, as far as the socket takes it.
func (r *request) send(conn *conn) error {
	if r.body == nil {
		_, err := conn.Write(r.head)
		return err
	}
	parts := net.Buffers{r.head, r.body}
	_, err := parts.WriteTo(conn.UnixConn)
	return err
}

// checkTarget refuses what would break the request line.
func checkTarget(method, path string) error {
	for i := range len(method) {
		if !tokenChars[method[i]] {
			return fmt.Errorf("method %q", method)
		}
	}
	if method == "" {
		return errors.New("no method")
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q does not begin with /", path)
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return fmt.Errorf("path %q holds %q, which must be escaped", path, path[i])
		}
	}
	return nil
}

// checkHeader refuses what would break the header.
func checkHeader(header string) error {
	for header != "" {
		line, rest, ok := strings.Cut(header, "\r\n")
		if !ok {
			return errors.New("the header's last field has no CR LF behind it")
		}
		if _, _, err := parseField([]byte(line)); err != nil {
			return errors.New("one of the header's fields is malformed") // it may be a key
		}
		header = rest
	}
	return nil
}
