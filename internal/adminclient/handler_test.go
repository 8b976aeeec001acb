package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

// TestAdaptersThroughTheAPI hands everything to a catalog and back.
func TestAdaptersThroughTheAPI(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.client(t, someToken), t.Context()
	half := .5
	put := adminapi.PutRequest{
		Source: "hf://owner/repo", Digest: strings.Repeat("0", 64), Scale: .25,
		Settings: lora.Settings{Aliases: []string{"x", "y"}, Weight: 2, MaxConcurrency: 3}, Pin: true, Preload: true,
	}
	got, err := c.Put(ctx, "team/shop", put, false)
	want := lora.Spec{
		Name: "team/shop", Source: put.Source, Digest: put.Digest, Scale: .25,
		Settings: lora.Settings{Aliases: put.Aliases, Weight: 2, MaxConcurrency: 3}, Pin: true, Preload: true,
	}
	if rec, _ := a.Get("team/shop"); err != nil || got.Name != "team/shop" || got.State != "downloading" || a.waited ||
		!reflect.DeepEqual(rec.Spec, want) {
		t.Errorf("put %+v, %v; the catalog got %+v", got, err, rec.Spec)
	}
	if got, err := c.Put(ctx, "sum", adminapi.PutRequest{Parts: []adminapi.Part{{Adapter: "a", Scale: &half},
		{Adapter: "b"}}}, true); err != nil || got.State != "ready" || !a.waited {
		t.Errorf("a composition: %+v, %v", got, err)
	}
	if rec, _ := a.Get("sum"); !slices.Equal(rec.Shares, []lora.Share{{Adapter: "a", Scale: .5}, {Adapter: "b"}}) {
		t.Errorf("the catalog got %+v", rec.Shares)
	}
	if list, err := c.Adapters(ctx); err != nil || len(list) != 2 || list[0].Name != "sum" ||
		*list[0].Parts[0].Scale != .5 || list[1].Name != "team/shop" {
		t.Errorf("all: %+v, %v", list, err)
	}
	if got, err := c.Adapter(ctx, "team/shop"); err != nil || got.Weight != 2 || got.MaxConcurrency != 3 || !got.Preload {
		t.Errorf("one: %+v, %v", got, err)
	}
	if got, err := c.Pin(ctx, "team/shop", false); err != nil || got.Pin {
		t.Errorf("unpinned: %+v, %v", got, err)
	}
	if got, err := c.Rollback(ctx, "team/shop"); err != nil || got.Version != 1 || got.Digest != "ab" {
		t.Errorf("rolled back: %+v, %v", got, err)
	}
	if err := c.Remove(ctx, "team/shop"); err != nil {
		t.Error(err)
	}
	var e *Error
	if _, err := c.Adapter(ctx, "team/shop"); !errors.As(err, &e) || e.Status != http.StatusNotFound ||
		e.Code != "not_found" || e.Message != `There is no adapter "team/shop".` {
		t.Errorf("removed: %v", err)
	}
}

func TestWorkersThroughTheAPI(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.client(t, someToken), t.Context()
	if w, err := c.Drain(ctx, 0); err != nil || !w.Drained || w.PID != 7 || w.InFlight != 1 {
		t.Errorf("drained: %+v, %v", w, err)
	}
	if list, err := c.Workers(ctx); err != nil || len(list) != 2 || !list[0].Drained || list[1].Drained ||
		list[1].State != "down" {
		t.Errorf("all: %+v, %v", list, err)
	}
	if w, err := c.Resume(ctx, 0); err != nil || w.Drained {
		t.Errorf("resumed: %+v, %v", w, err)
	}
	if _, err := c.Restart(ctx, 0); err != nil {
		t.Error(err)
	}
	var e *Error
	if _, err := c.Restart(ctx, 1); !errors.As(err, &e) || e.Code != "conflict" {
		t.Errorf("one that is down: %v", err)
	}
	if _, err := c.Drain(ctx, 2); !errors.As(err, &e) || e.Code != "not_found" ||
		!slices.Equal(a.pool.asked, []int{0, 1}) {
		t.Errorf("one that is not there: %v, asked %v", err, a.pool.asked)
	}
}

// TestRefusalsOfTheCatalog come as what they were.
func TestRefusalsOfTheCatalog(t *testing.T) {
	a := newAPI(t)
	c := a.client(t, someToken)
	for code, status := range map[lora.Code]int{
		lora.NotFound: 404, lora.Conflict: 409, lora.Invalid: 400, lora.Refused: 422, lora.TooLarge: 413, lora.Failed: 502,
	} {
		a.err = lora.Errorf(code, "because").Because(errors.New("a secret"))
		_, err := c.Rollback(t.Context(), "shop")
		var e *Error
		if !errors.As(err, &e) || e.Code != string(code) || e.Status != status || e.Error() != "because" {
			t.Errorf("%s: %v", code, err)
		}
	}
	var e *Error
	if _, err := c.Put(t.Context(), "shop", adminapi.PutRequest{Source: "/a",
		Settings: lora.Settings{MaxConcurrency: -1}}, false); !errors.As(err, &e) || e.Param != "max_concurrency" {
		t.Errorf("a field at fault: %+v", e)
	}
	for _, token := range []string{"", "another-token-of-tests"} {
		if _, err := a.client(t, token).Adapters(t.Context()); !errors.As(err, &e) || e.Code != "unauthorized" ||
			e.Status != http.StatusUnauthorized {
			t.Errorf("with the token %q: %v", token, err)
		}
	}
}

// slow is a body of n bytes that cannot be closed.
type slow struct{ n int }

func (s *slow) Read(b []byte) (int, error) {
	if s.n == 0 {
		return 0, io.EOF
	}
	n := min(len(b), s.n, 1000)
	s.n -= n
	return n, nil
}

func TestUploadThroughTheAPI(t *testing.T) {
	a := newAPI(t)
	c := a.client(t, someToken)
	path := filepath.Join(t.TempDir(), "shop.gguf")
	content := bytes.Repeat([]byte("GGUF"), 10000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var sent []int64
	up, err := Open(path, func(done, total int64) {
		if total != int64(len(content)) {
			t.Errorf("%d of %d", done, total)
		}
		sent = append(sent, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	up.Put = adminapi.PutRequest{Digest: "d", Scale: .5,
		Settings: lora.Settings{Aliases: []string{"store"}, Weight: 2, MaxConcurrency: 1}, Pin: true, Preload: true}
	got, err := c.Upload(t.Context(), "shop", up)
	want := lora.Spec{Name: "shop", Digest: "d", Scale: .5,
		Settings: lora.Settings{Aliases: []string{"store"}, Weight: 2, MaxConcurrency: 1}, Pin: true, Preload: true}
	if rec, _ := a.Get("shop"); err != nil || got.State != "ready" || a.file != "shop.gguf" ||
		!bytes.Equal(a.body, content) || !reflect.DeepEqual(rec.Spec, want) {
		t.Errorf("%+v, %v; %d bytes as %s, %+v", got, err, len(a.body), a.file, rec.Spec)
	}
	if len(sent) == 0 || !slices.IsSorted(sent) || sent[len(sent)-1] != int64(len(content)) {
		t.Errorf("told %v", sent)
	}
	if _, err := up.Body.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is still open: %v", err)
	}
	if _, err := Open(os.DevNull, nil); err == nil || !strings.Contains(err.Error(), "neither a file nor a folder") {
		t.Error(err)
	}
	if _, err := Open(path+"-not", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestUploadThatIsRefused says why, whether the size was known or not, and does
// not send what is refused before.
func TestUploadThatIsRefused(t *testing.T) {
	a := newAPI(t)
	for name, x := range map[string]struct {
		size  int64
		token string
		code  string
		sent  bool
	}{
		"a known size that is too large":    {maxUpload + 1, someToken, "too_large", false},
		"an unknown size that is too large": {-1, someToken, "too_large", true},
		"a wrong token":                     {maxUpload + 1, "another-token-of-tests", "unauthorized", false},
	} {
		body, sent := &slow{maxUpload + 1}, int64(0)
		_, err := a.client(t, x.token).Upload(t.Context(), "shop", Upload{
			Filename: "a.gguf", Body: body, Size: x.size, Progress: func(n int64) { sent = n },
		})
		var e *Error
		if !errors.As(err, &e) || e.Code != x.code || (sent > 0) != x.sent {
			t.Errorf("%s: %v after %d bytes", name, err, sent)
		}
	}
}

// failing is a body that ends with an error.
type failing struct {
	io.Reader
	err    error
	closed int
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func (f *failing) Close() error {
	f.closed++
	return nil
}

// TestUploadThatCannotBeRead blames what could not be read, not the gateway, which
// takes nothing of it.
func TestUploadThatCannotBeRead(t *testing.T) {
	a := newAPI(t)
	c := a.client(t, someToken)
	for _, size := range []int64{-1, 100} {
		body := &failing{Reader: strings.NewReader("GGUF"), err: errors.New("the disk is gone")}
		_, err := c.Upload(t.Context(), "shop", Upload{Filename: "a.gguf", Body: body, Size: size})
		if !errors.Is(err, body.err) || err.Error() != "the disk is gone" || body.closed != 1 {
			t.Errorf("size %d: %v, closed %d times", size, err, body.closed)
		}
	}
	if _, ok := a.Get("shop"); ok {
		t.Error("the catalog took half a file")
	}
	body := &failing{Reader: strings.NewReader("GGUF"), err: io.EOF}
	if _, err := c.Upload(t.Context(), "..", Upload{Filename: "a.gguf", Body: body}); err == nil || body.closed != 1 {
		t.Errorf("a name that is none: %v, closed %d times", err, body.closed)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the user has had enough")
	_, err := c.Upload(ctx, "shop", Upload{Filename: "a.gguf", Body: &slow{maxUpload}, Size: -1,
		Progress: func(int64) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFollowThroughTheAPI goes from a download to its end.
func TestFollowThroughTheAPI(t *testing.T) {
	a := newAPI(t)
	c := a.client(t, someToken)
	a.records["shop"] = lora.Record{Spec: lora.Spec{Name: "shop"}, State: lora.Downloading,
		Progress: lora.Progress{Done: 1, Total: 2}}
	tick := make(chan time.Time, 1)
	var seen []string
	got, err := c.Follow(t.Context(), "shop", tick, func(now adminapi.Adapter) {
		seen = append(seen, now.State)
		if p := now.Progress; p != nil && (p.Done != 1 || p.Total != 2) {
			t.Errorf("%+v", p)
		}
		a.change("shop", func(r *lora.Record) { r.State = lora.Ready })
		tick <- time.Time{}
	})
	if err != nil || got.State != "ready" || strings.Join(seen, " ") != "downloading ready" {
		t.Errorf("%+v, %v, seen %v", got, err, seen)
	}
	var e *Error
	if _, err := c.Follow(t.Context(), "nobody", tick, func(adminapi.Adapter) {}); !errors.As(err, &e) ||
		e.Code != "not_found" {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestAnswersAreToldAsTheyCame has them with what this package does not know, and
// no refusals.
func TestAnswersAreToldAsTheyCame(t *testing.T) {
	answer, status := `{"name":"a","new_field":1.50}`, http.StatusOK
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
	var told []string
	c.OnAnswer(func(text []byte) { told = append(told, string(text)) })
	if _, err := c.Adapter(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	status = http.StatusConflict
	if _, err := c.Adapter(t.Context(), "a"); err == nil {
		t.Error("no refusal")
	}
	status = http.StatusNoContent
	if err := c.Remove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if len(told) != 1 || told[0] != answer || !json.Valid([]byte(told[0])) {
		t.Errorf("told %q", told)
	}
}

// TestWithoutAnAnswer tells a gateway that is not there from one that goes away.
func TestWithoutAnAnswer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	c, err := New(address, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Adapters(t.Context()); !errors.Is(err, ErrUnreachable) ||
		!strings.Contains(err.Error(), "admin address http://"+address) {
		t.Errorf("not there: %v", err)
	}
	for name, fails := range map[string]func(w http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"within the answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
			http.NewResponseController(w).Flush()
		},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fails(w)
			panic(http.ErrAbortHandler)
		}))
		c, err := New(server.URL, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Adapters(t.Context())
		if err == nil || errors.Is(err, ErrUnreachable) ||
			!strings.Contains(err.Error(), "the call to the admin address "+server.URL+" broke: ") {
			t.Errorf("gone %s: %v", name, err)
		}
		server.Close()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := c.Adapters(ctx); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("given up: %v", err)
	}
}
