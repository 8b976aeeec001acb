package adminclient

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

func clientOf(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(strings.TrimPrefix(server.URL, "http://"), "the-token")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAddresses(t *testing.T) {
	for address, local := range map[string]bool{
		"127.0.0.1:8081": true, "http://localhost:1/": true, "https://[::1]": true, "gateway.example:8081": false,
		"http://10.0.0.1": false,
	} {
		if c, err := New(address, ""); err != nil || c.Loopback() != local {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "ftp://host", "http://", "http://[", "://"} {
		if _, err := New(address, ""); err == nil || !strings.Contains(err.Error(), "http://host:port") &&
			!strings.Contains(err.Error(), "address of a gateway") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestCallsAsTheyAreSent looks at the method, path and token of each.
func TestCallsAsTheyAreSent(t *testing.T) {
	var got string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.RequestURI + " " + string(body)
		if r.Header.Get("Authorization") != "Bearer the-token" {
			t.Errorf("%s without the token", got)
		}
		w.Write([]byte(`{}`))
	})
	ctx := t.Context()
	for want, call := range map[string]func() error{
		"GET /admin/v1/adapters ": func() error { _, err := c.Adapters(ctx); return err },
		"GET /admin/v1/adapters/team%2Fa%20b%3F ": func() error {
			_,
				err := c.Adapter(ctx, "team/a b?")
			return err
		},
		`PUT /admin/v1/adapters/a?wait=true {"source":"/a"}`: func() error {
			_,
				err := c.Put(ctx, "a", adminapi.PutRequest{Source: "/a"}, true)
			return err
		},
		`PUT /admin/v1/adapters/a {"parts":[{"adapter":"b","scale":null}]}`: func() error {
			_, err := c.Put(ctx, "a", adminapi.PutRequest{Parts: []adminapi.Part{{Adapter: "b"}}}, false)
			return err
		},
		"DELETE /admin/v1/adapters/a ":                func() error { return c.Remove(ctx, "a") },
		`POST /admin/v1/adapters/a/pin {"pin":false}`: func() error { _, err := c.Pin(ctx, "a", false); return err },
		"POST /admin/v1/adapters/a/rollback ":         func() error { _, err := c.Rollback(ctx, "a"); return err },
		"GET /admin/v1/workers ":                      func() error { _, err := c.Workers(ctx); return err },
		"POST /admin/v1/workers/3/drain ":             func() error { _, err := c.Drain(ctx, 3); return err },
		"POST /admin/v1/workers/3/resume ":            func() error { _, err := c.Resume(ctx, 3); return err },
		"POST /admin/v1/workers/3/restart ":           func() error { _, err := c.Restart(ctx, 3); return err },
		"PUT /admin/v1/adapters/a/file?aliases=x&aliases=y&filename=f.gguf&pin=true&scale=0.5 bytes": func() error {
			_, err := c.Upload(ctx, "a", Upload{
				Filename: "f.gguf", Body: strings.NewReader("bytes"), Size: 5,
				Put: adminapi.PutRequest{Settings: lora.Settings{Aliases: []string{"x", "y"}}, Pin: true, Scale: .5},
			})
			return err
		},
	} {
		if err := call(); err != nil || got != want {
			t.Errorf("sent %q, %v; want %q", got, err, want)
		}
	}
	got = ""
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.Adapter(ctx, name); err == nil || got != "" {
			t.Errorf("%q: %v, sent %q", name, err, got)
		}
	}
}

// TestRefusals turns answers into errors that can be told apart.
func TestRefusals(t *testing.T) {
	answer, status := "", 0
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			w.Header().Set("Location", "http://elsewhere.example/")
		}
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
	for _, x := range []struct {
		status  int
		answer  string
		code    string
		message string
	}{
		{422, `{"error":{"message":"bad alpha","type":"t","param":"p","code":"refused"}}`, "refused", "bad alpha"},
		{401, `{"error":{"message":"m","type":"t","param":null,"code":null}}`, "", "m"},
		{502, `<html>`, "", "answers 502 Bad Gateway; is it the gateway's admin address?"},
		{302, ``, "", "answers 302 Found"}, // the token goes nowhere else
	} {
		status, answer = x.status, x.answer
		_, err := c.Adapter(t.Context(), "a")
		var e *Error
		if !errors.As(err, &e) || e.Status != x.status || e.Code != x.code || !strings.Contains(e.Message, x.message) {
			t.Errorf("%d %s: %v", x.status, x.answer, err)
		}
	}
	status, answer = 200, "<html>"
	if _, err := c.Adapter(t.Context(), "a"); err == nil ||
		!strings.Contains(err.Error(), "does not answer as a gateway") {
		t.Error(err)
	}
}

// TestFollow goes through an adapter's states.
func TestFollow(t *testing.T) {
	for _, x := range []struct {
		states []string
		ok     bool
	}{
		{[]string{`{"state":"downloading","reason":"was bad"}`, `{"state":"loading"}`, `{"state":"ready"}`}, true},
		{[]string{`{"state":"downloading"}`, `{"state":"ready","reason":"is bad"}`}, false}, // an older version goes on
		{[]string{`{"state":"rejected","reason":"is bad"}`}, false},
		{[]string{`{"state":"quarantined","reason":"is bad"}`}, false},
	} {
		var asked atomic.Int64
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, x.states[min(int(asked.Add(1)), len(x.states))-1])
		})
		tick, shown := make(chan time.Time, len(x.states)), 0
		for range x.states {
			tick <- time.Time{}
		}
		_, err := c.Follow(t.Context(), "a", tick, func(adminapi.Adapter) { shown++ })
		if (err == nil) != x.ok || shown != len(x.states) || err != nil && err.Error() != "is bad" {
			t.Errorf("%v: %v after %d", x.states, err, shown)
		}
	}
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"state":"downloading"}`) })
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Follow(ctx, "a", nil, func(adminapi.Adapter) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestFolderIsPacked sends an adapter's own files and nothing else.
func TestFolderIsPacked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trained")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "adapter_config.json") {
		t.Errorf("an empty folder: %v", err)
	}
	for name, text := range map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": "weights",
		"optimizer.pt": "large"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var last, all int64
	up, err := Open(dir, func(done, total int64) { last, all = done, total })
	if err != nil || up.Filename != "trained.tar.gz" || up.Size != -1 {
		t.Fatalf("%+v, %v", up, err)
	}
	unzipped, err := gzip.NewReader(up.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		text, _ := io.ReadAll(r)
		got = append(got, h.Name+"="+string(text))
	}
	if strings.Join(got, " ") != "adapter_config.json={} adapter_model.safetensors=weights" || last != 9 || all != 9 {
		t.Errorf("%v, %d of %d", got, last, all)
	}
}
