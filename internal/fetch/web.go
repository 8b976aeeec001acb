package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
)

// web is where files are got from by HTTP.
type web struct {
	client *http.Client
	stall  time.Duration // for how long nothing may come
}

// plan plans for a URL. Whether the file has changed since validator, "" for none, is asked
// by the download itself.
func (w *web) plan(address *url.URL, what, validator string) *plan {
	return &plan{format: path.Base(address.Path), files: []remote{{
		name: "file", size: -1,
		open: func(ctx context.Context, from int64, etag string) (*stream, error) {
			header := http.Header{}
			if from == 0 && validator != "" {
				header.Set("If-None-Match", validator)
			}
			resp, err := w.get(ctx, address.String(), header, from, etag)
			if err != nil {
				return nil, err
			}
			explain := func(resp *http.Response) *failure.Error { return statusError(what, resp) }
			return webStream(what, resp, from, etag, explain)
		},
	}}}
}

// get sends a GET for the bytes from an offset on.
func (w *web) get(
	ctx context.Context, address string, header http.Header, from int64, etag string,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	// Else net/http would unpack what a server packed, and offsets be others.
	header.Set("Accept-Encoding", "identity")
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		if isStrong(etag) {
			header.Set("If-Range", etag)
		}
	}
	return w.client.Do(req)
}

// isStrong tells whether bytes of the same ETag are the same.
func isStrong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// webStream reads the head of an answer. explain makes an error of a status.
func webStream(
	what string, resp *http.Response, from int64, etag string, explain func(*http.Response) *failure.Error,
) (*stream, error) {
	s := &stream{body: resp.Body, close: resp.Body.Close, total: resp.ContentLength, etag: resp.Header.Get("ETag")}
	var err error
	switch resp.StatusCode {
	case http.StatusOK:
		return s, nil
	case http.StatusPartialContent:
		if s.from, s.total, err = contentRange(resp.Header.Get("Content-Range")); err == nil && s.from == from {
			return s, nil
		}
		err = errRestart
	case http.StatusRequestedRangeNotSatisfiable:
		// Nothing may be missing any more: a download that was only not
		// recorded as complete. Many servers leave the ETag out here; had it
		// changed, If-Range would have brought all of the new file.
		whole := "bytes */" + strconv.FormatInt(from, 10)
		if resp.Header.Get("Content-Range") == whole && isStrong(etag) && (s.etag == "" || s.etag == etag) {
			_ = resp.Body.Close()
			return &stream{body: http.NoBody, close: http.NoBody.Close, from: from, total: from, etag: etag}, nil
		}
		err = errRestart
	case http.StatusNotModified:
		err = errNotModified
	default:
		err = explain(resp)
	}
	_ = resp.Body.Close()
	if err == errRestart && from == 0 {
		err = failure.HTTPStatus.New("%s: the server answers with other bytes than it was asked for", what)
	}
	return nil, err
}

// contentRange reads "bytes 5-9/10": the first byte, and the size or -1.
func contentRange(s string) (from, total int64, err error) {
	var last int64
	var size string
	if _, err := fmt.Sscanf(s, "bytes %d-%d/%s", &from, &last, &size); err != nil {
		return 0, 0, err
	}
	if size == "*" {
		return from, -1, nil
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return from, total, err
}

// statusError explains an answer that is no file.
func statusError(what string, resp *http.Response) *failure.Error {
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone:
		return failure.NotFound.New("%s: the server has no such file (%s); check the address", what, status)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return failure.Unauthorized.New(
			"%s: the server refuses (%s); it may need credentials, or a link that has not expired", what, status)
	case code == http.StatusTooManyRequests, code >= 500:
		err := failure.HTTPStatus.New("%s: the server answered %s; try again later", what, status).ForNow()
		err.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		return err
	}
	return failure.HTTPStatus.New("%s: the server answered %s; check the address", what, status)
}

// retryAfter reads that header: seconds, or a date. 0 is none.
func retryAfter(s string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// baseURL reads the address of a service.
func baseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, failure.BadSource.New("%q is not the address of a server: give https://host", s)
	}
	return u, nil
}
