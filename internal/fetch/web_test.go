package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

func TestWebDownload(t *testing.T) {
	data := someGGUF(1, 1<<20)
	s := newSite(t, data)
	f := newFetcher(t, Options{})
	var last, of int64
	a, err := got(f.Fetch(t.Context(), s.URL+"/x.gguf?token=secret", "sha256:"+digestOf(data), func(done, total int64) {
		if done < last {
			t.Errorf("progress went back from %d to %d", last, done)
		}
		last, of = done, total
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, a, data)
	if n := int64(len(data)); last != n || of != n {
		t.Errorf("the last progress was %d of %d, want %d", last, of, n)
	}
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestWebResumesACutDownload(t *testing.T) {
	data := someGGUF(1, 300_000)
	s := newSite(t, data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			cutAt(w, data, 100_000)
		}
		return false
	}
	f := newFetcher(t, Options{})
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", digestOf(data)), data)
	again := s.seen()[1]
	if got := again.Header.Get("Range"); !strings.HasPrefix(got, "bytes=") || got == "bytes=0-" {
		t.Errorf("the second request has Range %q", got)
	}
	if got := again.Header.Get("If-Range"); got != `"v1"` {
		t.Errorf("the second request has If-Range %q", got)
	}
}

func TestWebStartsAnewIfTheFileChangedMeanwhile(t *testing.T) {
	old, data := someGGUF(1, 300_000), someGGUF(2, 250_000)
	s := newSite(t, data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			w.Header().Set("ETag", `"v0"`)
			cutAt(w, old, 100_000)
		}
		return false
	}
	f := newFetcher(t, Options{})
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
}

// Some servers do not know If-Range and send a part of the new file.
func TestWebDoesNotMixVersionsOfAServerWithoutIfRange(t *testing.T) {
	old, data := someGGUF(1, 300_000), someGGUF(2, 300_000)
	s := newSite(t, data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			w.Header().Set("ETag", `"v0"`)
			cutAt(w, old, 100_000)
		}
		r.Header.Del("If-Range")
		return false
	}
	f := newFetcher(t, Options{})
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
}

// Some do not say of which version a part is either.
func TestWebDoesNotMixVersionsThatHaveNoName(t *testing.T) {
	old, data := someGGUF(1, 300_000), someGGUF(2, 300_000)
	s := newSite(t, data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			cutAt(w, old, 100_000)
		}
		r.Header.Del("If-Range")
		w.Header().Del("ETag")
		return false
	}
	f := newFetcher(t, Options{})
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
}

// TestNothingIsKeptThatCannotGoOn: bytes of no known version only take room.
func TestNothingIsKeptThatCannotGoOn(t *testing.T) {
	data := someGGUF(1, 300_000)
	for etag, keeps := range map[string]bool{`"v1"`: true, `W/"v1"`: false, "": false} {
		s := newSite(t, data)
		s.etag = etag
		s.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				cutAt(w, data, 100_000)
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		f := newFetcher(t, Options{})
		if _, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil); err == nil {
			t.Fatal("half a file is taken")
		}
		r, err := Parse(s.URL + "/x.gguf")
		if err != nil {
			t.Fatal(err)
		}
		dir, err := f.store.Partials.Dir(r.id())
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || (len(left) > 0) != keeps {
			t.Errorf("ETag %q: left are %v, %v", etag, left, err)
		}
	}
}

func TestWebDoesNotResumeWithoutAStrongETag(t *testing.T) {
	data := someGGUF(1, 300_000)
	for _, etag := range []string{"", `W/"v1"`} {
		s := newSite(t, data)
		s.etag = etag
		s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 0 {
				cutAt(w, data, 100_000)
			}
			return false
		}
		f := newFetcher(t, Options{})
		wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
		if got := s.seen()[1].Header.Get("Range"); got != "" {
			t.Errorf("ETag %q: the second request has Range %q", etag, got)
		}
	}
}

// With a digest the parts prove themselves. If they do not, all is fetched anew.
func TestWebResumesByDigestAndDropsWrongParts(t *testing.T) {
	old, data := someGGUF(1, 300_000), someGGUF(2, 300_000)
	for name, first := range map[string][]byte{"same": data, "changed": old} {
		s := newSite(t, data)
		s.etag = ""
		s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 0 {
				cutAt(w, first, 100_000)
			}
			return false
		}
		f := newFetcher(t, Options{})
		wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", digestOf(data)), data)
		want := map[string]int{"same": 2, "changed": 3}[name]
		if got := len(s.seen()); got != want {
			t.Errorf("%s: %d requests, want %d", name, got, want)
		}
	}
}

func TestWebResumesAfterARestart(t *testing.T) {
	data := someGGUF(1, 300_000)
	s := newSite(t, data)
	var down bool
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			cutAt(w, data, 100_000)
		}
		if down {
			w.WriteHeader(http.StatusBadGateway)
		}
		return down
	}
	down = true
	o := Options{Store: newStore(t, t.TempDir())}
	f := newFetcher(t, o)
	_, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
	if e := wantError(t, err, failure.HTTPStatus, "502 Bad Gateway"); !e.Temporary {
		t.Error("the error is not temporary")
	}
	if got := len(s.seen()); got != 1+maxFailures-1 {
		t.Errorf("%d requests, want %d", got, maxFailures)
	}
	down = false
	before := len(s.seen())
	wantFile(t, mustFetch(t, newFetcher(t, reopened(t, o)), s.URL+"/x.gguf", ""), data)
	if got := s.seen()[before].Header.Get("Range"); got == "" {
		t.Error("the download did not go on where it was")
	}
}

// All bytes are there, but the process ended before it could know.
func TestWebKnowsACompletePart(t *testing.T) {
	data := someGGUF(1, 5000)
	s := newSite(t, data)
	f := newFetcher(t, Options{})
	r, err := Parse(s.URL + "/x.gguf")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := f.store.Partials.Dir(r.id())
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.OpenPartial(filepath.Join(dir, "file"), store.Sidecar{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Describe(`"v1"`, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
	if got := len(s.seen()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestWebTriesAgain(t *testing.T) {
	data := someGGUF(1, 5000)
	s := newSite(t, data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.Header().Set("Content-Length", "9999") // more than comes
			_, _ = w.Write(data)
		default:
			return false
		}
		return true
	}
	f := newFetcher(t, Options{})
	var waits []time.Duration
	f.retry.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
	if len(waits) != 3 || waits[1] != 90*time.Second {
		t.Errorf("waited %v; the second is to be Retry-After's 90s", waits)
	}
}

func TestWebObeysNoEndlessRetryAfter(t *testing.T) {
	s := newSite(t, nil)
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
	wantError(t, err, failure.HTTPStatus, "503")
	if got := len(s.seen()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestWebRefusalsAreFinal(t *testing.T) {
	for status, code := range map[int]failure.Code{
		404: failure.NotFound, 410: failure.NotFound, 401: failure.Unauthorized, 403: failure.Unauthorized,
		400: failure.HTTPStatus, 418: failure.HTTPStatus,
	} {
		s := newSite(t, nil)
		s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
		url := strings.Replace(s.URL, "//", "//user:secret@", 1) + "/x.gguf?token=secret"
		_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), url, "", nil)
		e := wantError(t, err, code, s.URL+"/x.gguf: ", fmt.Sprint(status))
		if e.Temporary || len(s.seen()) != 1 {
			t.Errorf("%d: temporary %v after %d requests", status, e.Temporary, len(s.seen()))
		}
		if strings.Contains(fmt.Sprintf("%v %v", e.Message, e.Cause), "secret") {
			t.Errorf("%d: the error has a credential: %v %v", status, e, e.Cause)
		}
	}
}

func TestWebNoServer(t *testing.T) {
	s := newSite(t, nil)
	s.Close()
	_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), s.URL+"/x.gguf?token=secret", "", nil)
	e := wantError(t, err, failure.Unreachable, "no connection")
	if !e.Temporary || strings.Contains(fmt.Sprintf("%v %v", e, e.Cause), "secret") {
		t.Errorf("temporary %v, %v, cause %v", e.Temporary, e, e.Cause)
	}
}

func TestWebUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
	if e := wantError(t, err, failure.Unreachable, "certificate is not trusted"); e.Temporary {
		t.Error("it is not worth trying again")
	}
}

func TestWebStall(t *testing.T) {
	data := someGGUF(1, 300_000)
	for _, sent := range []int{-1, 1000} { // not even headers, or some bytes
		s := newSite(t, data)
		s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if sent >= 0 {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				_, _ = w.Write(data[:sent])
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			return true
		}
		tries := &counter{}
		f := newFetcher(t, Options{Client: &http.Client{Transport: tries}})
		f.web.stall = 20 * time.Millisecond
		_, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
		if e := wantError(t, err, failure.Timeout, "sent nothing"); !e.Temporary {
			t.Error("the error is not temporary")
		}
		if tries.n != maxFailures {
			t.Errorf("%d requests, want %d", tries.n, maxFailures)
		}
	}
}

// counter counts requests, those that the server never sees included.
type counter struct{ n int }

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n++
	return http.DefaultTransport.RoundTrip(r)
}

func TestWebTooLarge(t *testing.T) {
	data := someGGUF(1, 300_000)
	for name, announced := range map[string]bool{"announced": true, "not announced": false} {
		s := newSite(t, data)
		s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			if !announced {
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(data)
			}
			return !announced
		}
		f := newFetcher(t, Options{MaxBytes: 200_000})
		_, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
		wantError(t, err, failure.TooLarge, "200000")
		if left := leftovers(t, f); left != nil {
			t.Errorf("%s: left over: %v", name, left)
		}
	}
}

func TestWebDigestMismatch(t *testing.T) {
	data, other := someGGUF(1, 5000), digestOf([]byte("other"))
	s := newSite(t, data)
	f := newFetcher(t, Options{})
	_, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", other, nil)
	wantError(t, err, failure.DigestMismatch, digestOf(data), other)
	if left := leftovers(t, f); left != nil || len(s.seen()) != 1 {
		t.Errorf("left over: %v, after %d requests", left, len(s.seen()))
	}
	// What is stored and current is not what was asked for, either.
	mustFetch(t, f, s.URL+"/x.gguf", "").Release()
	_, _, err = f.Fetch(t.Context(), s.URL+"/x.gguf", other, nil)
	wantError(t, err, failure.DigestMismatch, digestOf(data), other)
}

func TestWebDiskFull(t *testing.T) {
	data := someGGUF(1, 300_000)
	s := newSite(t, data)
	f := newFetcher(t, Options{})
	// The kernel answers each write as it does for a full disk.
	r, err := Parse(s.URL + "/x.gguf")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := f.store.Partials.Dir(r.id())
	if err == nil {
		err = os.Symlink("/dev/full", filepath.Join(dir, "file"))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
	wantError(t, err, failure.DiskFull, "no space left")
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), data)
}

func TestWebRevalidates(t *testing.T) {
	data, newer := someGGUF(1, 5000), someGGUF(2, 6000)
	s := newSite(t, data)
	f := newFetcher(t, Options{})
	first := mustFetch(t, f, s.URL+"/x.gguf", "")
	second := mustFetch(t, f, s.URL+"/x.gguf", "")
	if first.Path != second.Path {
		t.Error("an unchanged file was fetched again")
	}
	if got := s.seen()[1].Header.Get("If-None-Match"); got != `"v1"` {
		t.Errorf("If-None-Match is %q", got)
	}
	s.set(newer, `"v2"`)
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), newer)
	if err := f.store.Blobs.Delete(digestOf(data)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, first, data) // in use: it stays
	first.Release()
	second.Release()
	if err := f.store.Blobs.Delete(digestOf(data)); err != nil || isFile(first.Path) {
		t.Errorf("the old version is still there although nobody uses it: %v", err)
	}
}

// TestWebNotModifiedUnasked: a server that claims so of what nobody has is at fault.
func TestWebNotModifiedUnasked(t *testing.T) {
	s := newSite(t, nil)
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
	wantError(t, err, failure.HTTPStatus, "which nobody asked")
}

func TestDigestOfAStoredFileNeedsNoNetwork(t *testing.T) {
	data := someGGUF(1, 5000)
	s := newSite(t, data)
	o := Options{Store: newStore(t, t.TempDir())}
	mustFetch(t, newFetcher(t, o), s.URL+"/x.gguf", "").Release()
	s.Close()
	f := newFetcher(t, reopened(t, o))
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", digestOf(data)), data)
	wantFile(t, mustFetch(t, f, "https://elsewhere.invalid/y.gguf", digestOf(data)), data)
}

func TestWebContentMustBeAnAdapter(t *testing.T) {
	for content, want := range map[string]string{
		"<!DOCTYPE html><html>": "a web page", "": "an empty file", "\x1f\x8b...": "a gzip file",
		"version https://git-lfs.github.com/spec/v1\n": "Git LFS pointer",
	} {
		s := newSite(t, []byte(content))
		f := newFetcher(t, Options{})
		_, _, err := f.Fetch(t.Context(), s.URL+"/x.gguf", "", nil)
		wantError(t, err, failure.BadContent, want)
		if left := leftovers(t, f); left != nil {
			t.Errorf("left over: %v", left)
		}
	}
	s := newSite(t, []byte("hello"))
	_, _, err := newFetcher(t, Options{}).Fetch(t.Context(), s.URL+"/download", "", nil)
	wantError(t, err, failure.BadContent, "neither a GGUF file nor")
}
