package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
)

func TestRedirects(t *testing.T) {
	check := func(from string, hops ...string) (*http.Request, error) {
		var via []*http.Request
		for _, u := range append([]string{from}, hops...) {
			r := httptest.NewRequest(http.MethodGet, u, nil)
			r.Header.Set("Authorization", "Bearer secret")
			r.Header.Set("Referer", from)
			via = append(via, r)
		}
		last := len(via) - 1
		return via[last], checkRedirect(via[last], via[:last])
	}
	for _, to := range []string{"https://other.example/", "https://cdn.h.example/", "https://h.example:444/"} {
		r, err := check("https://h.example/", to)
		if err != nil || r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("%s: %v, headers %v", to, err, r.Header)
		}
	}
	r, err := check("https://h.example/", "https://other.example/", "https://h.example/x")
	if err != nil || r.Header.Get("Authorization") != "" {
		t.Errorf("back home: %v, headers %v", err, r.Header)
	}
	if r, err := check("https://h.example/", "https://h.example/x"); err != nil || r.Header.Get("Authorization") == "" {
		t.Errorf("at home: %v, headers %v", err, r.Header)
	}
	for _, to := range []string{"http://h.example/", "http://127.0.0.1/", "ftp://h.example/"} {
		_, err := check("https://h.example/", to)
		wantError(t, err, failure.BadSource, "not https://")
	}
	_, err = check("http://127.0.0.1/", "http://10.0.0.1/")
	wantError(t, err, failure.BadSource, "not https://")
}

func TestCancelTheOnlyOneEndsTheDownload(t *testing.T) {
	data := someGGUF(1, 300_000)
	s := newSite(t, data)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 0 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
		return true
	}
	f := newFetcher(t, Options{})
	_, _, err := f.Fetch(ctx, s.URL+"/x.gguf", "", func(int64, int64) { cancel() })
	wantError(t, err, failure.Canceled)
	<-ended
	// The next one waits for the end of the first, and goes on where it was.
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
	if got := s.seen()[1].Header.Get("Range"); got != "bytes=1000-" {
		t.Errorf("the second request has Range %q", got)
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	_, _, err := newFetcher(t, Options{}).Fetch(ctx, "https://h.invalid/x.gguf", "", nil)
	wantError(t, err, failure.Timeout, "the time allowed")
}
