package fetch

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
)

// objectStore is an S3 server with one bucket, that can be told to misbehave.
type objectStore struct {
	*httptest.Server
	core *minio.Core

	mu    sync.Mutex
	gets  []*http.Request                                          // of objects
	fault func(n int, w http.ResponseWriter, r *http.Request) bool // asked before each of them
}

func newObjectStore(t *testing.T) *objectStore {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s := &objectStore{}
	backend := gofakes3.New(s3mem.New()).Server()
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") > 1 && !r.URL.Query().Has("location") {
			s.mu.Lock()
			n, fault := len(s.gets), s.fault
			s.gets = append(s.gets, r)
			s.mu.Unlock()
			if fault != nil && fault(n, w, r) {
				return
			}
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o, err := newObjects(s.options(), &web{client: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	s.core = o.core
	if err := s.core.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *objectStore) options() S3Options { return S3Options{Endpoint: s.URL, Region: "us-east-1"} }

func (s *objectStore) put(t *testing.T, key string, data []byte) string {
	t.Helper()
	info, err := s.core.Client.PutObject(t.Context(), "bucket", key,
		bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info.ETag
}

func TestObject(t *testing.T) {
	data, newer := someGGUF(1, 100_000), someGGUF(2, 90_000)
	s := newObjectStore(t)
	s.put(t, "a/x y.gguf", data)
	f := newFetcher(t, Options{S3: s.options()})
	first := mustFetch(t, f, "s3://bucket/a/x y.gguf", digestOf(data))
	wantFile(t, first, data)
	if again := mustFetch(t, f, "s3://bucket/a/x y.gguf", ""); again.Path != first.Path || len(s.gets) != 1 {
		t.Errorf("an unchanged object was fetched again (%d downloads)", len(s.gets))
	}
	s.put(t, "a/x y.gguf", newer)
	wantFile(t, mustFetch(t, f, "s3://bucket/a/x y.gguf", ""), newer)
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestObjectPEFT(t *testing.T) {
	weights := someGGUF(1, 100_000)
	s := newObjectStore(t)
	for name, data := range peftFiles("dir", weights) {
		s.put(t, name, data)
	}
	f := newFetcher(t, Options{S3: s.options()})
	wantPEFT(t, mustFetch(t, f, "s3://bucket/dir/", digestOf(weights)), weights)
	_, _, err := f.Fetch(t.Context(), "s3://bucket/other/", "", nil)
	wantError(t, err, failure.NotFound, "s3://bucket/other/", archive.PEFTConfig)
}

func TestObjectResumes(t *testing.T) {
	data := someGGUF(1, 300_000)
	s := newObjectStore(t)
	etag := s.put(t, "x.gguf", data)
	s.fault = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 0:
			w.Header().Set("ETag", `"`+etag+`"`)
			w.Header().Set("Last-Modified", "Wed, 02 Jan 2030 03:04:05 GMT")
			cutAt(w, data, 100_000)
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("<Error><Code>SlowDown</Code></Error>"))
			return true
		}
		return false
	}
	f := newFetcher(t, Options{S3: s.options()})
	wantFile(t, mustFetch(t, f, "s3://bucket/x.gguf", ""), data)
	if got := s.gets[2].Header; got.Get("Range") == "" || got.Get("If-Match") == "" {
		t.Errorf("the last request has Range %q and If-Match %q", got.Get("Range"), got.Get("If-Match"))
	}
}

func TestObjectResumesAfterARestart(t *testing.T) {
	data, newer := someGGUF(1, 300_000), someGGUF(2, 300_000)
	for name, now := range map[string][]byte{"same": data, "changed": newer} {
		s := newObjectStore(t)
		etag := s.put(t, "x.gguf", data)
		s.fault = func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 0 {
				w.Header().Set("ETag", `"`+etag+`"`)
				w.Header().Set("Last-Modified", "Wed, 02 Jan 2030 03:04:05 GMT")
				cutAt(w, data, 100_000)
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		o := Options{S3: s.options(), Store: newStore(t, t.TempDir())}
		_, _, err := newFetcher(t, o).Fetch(t.Context(), "s3://bucket/x.gguf", "", nil)
		if e := wantError(t, err, failure.HTTPStatus, "502"); !e.Temporary {
			t.Error("the error is not temporary")
		}
		s.fault = nil
		s.put(t, "x.gguf", now)
		before := len(s.gets)
		wantFile(t, mustFetch(t, newFetcher(t, reopened(t, o)), "s3://bucket/x.gguf", ""), now)
		if ranged := s.gets[before].Header.Get("Range") != ""; ranged != (name == "same") {
			t.Errorf("%s: a part was asked for: %v", name, ranged)
		}
	}
}

func TestObjectReplacedMeanwhile(t *testing.T) {
	data, newer := someGGUF(1, 300_000), someGGUF(2, 200_000)
	s := newObjectStore(t)
	s.put(t, "x.gguf", data)
	s.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 0 {
			return false
		}
		if r.Header.Get("If-Match") == "" {
			t.Error("the download does not name the version")
		}
		s.put(t, "x.gguf", newer)
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = w.Write([]byte("<Error><Code>PreconditionFailed</Code></Error>"))
		return true
	}
	f := newFetcher(t, Options{S3: s.options()})
	wantFile(t, mustFetch(t, f, "s3://bucket/x.gguf", ""), newer)
}

func TestObjectRefusals(t *testing.T) {
	s := newObjectStore(t)
	s.put(t, "x.gguf", someGGUF(1, 500))
	f := newFetcher(t, Options{S3: s.options()})
	for ref, want := range map[string]failure.Code{
		"s3://bucket/none.gguf": failure.NotFound, "s3://nobucket/x.gguf": failure.NotFound,
		"s3://bucket/x.safetensors": failure.BadSource,
	} {
		_, _, err := f.Fetch(t.Context(), ref, "", nil)
		if e := wantError(t, err, want, ref); e.Temporary {
			t.Errorf("%s: it is not worth trying again", ref)
		}
	}
	_, _, err := f.Fetch(t.Context(), "s3://bucket/x.gguf", digestOf(nil), nil)
	wantError(t, err, failure.DigestMismatch, digestOf(nil))
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
		return true
	}
	_, _, err = f.Fetch(t.Context(), "s3://bucket/x.gguf", "", nil)
	wantError(t, err, failure.Unauthorized, "AWS_ACCESS_KEY_ID")
	f = newFetcher(t, Options{S3: S3Options{Endpoint: "http://s3.example"}})
	_, _, err = f.Fetch(t.Context(), "s3://bucket/x.gguf", "", nil)
	wantError(t, err, failure.BadSource, "insecure")
}
