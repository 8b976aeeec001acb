package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

func TestToken(t *testing.T) {
	r := newCatalog()
	r.token = "0123456789abcdef"
	for header, want := range map[string]int{
		"": 401, "Bearer 0123456789abcdef": 200, "bearer 0123456789abcdef": 200, "Bearer 0123456789abcde": 401,
		"Basic 0123456789abcdef": 401, "0123456789abcdef": 401, "Bearer ": 401, "Bearer 0123456789abcdef x": 401,
	} {
		for _, path := range []string{"/admin/v1/adapters", "/admin/v1/state", "/metrics", "/admin/v1/workers"} {
			rec := r.serve(t, "GET", path, "", "", "Authorization", header)
			if asks := rec.Header().Get("WWW-Authenticate"); rec.Code != want ||
				strings.HasPrefix(asks, "Bearer ") != (want == 401) {
				t.Errorf("%q at %s: %d, want %d; asks for %q", header, path, rec.Code, want, asks)
			}
		}
		if rec := r.serve(t, "GET", "/health", "", "", "Authorization", header); rec.Code != 200 {
			t.Errorf("/health with %q: %d", header, rec.Code)
		}
	}
	if rec := r.serve(t, "DELETE", "/admin/v1/adapters/shop", "", ""); rec.Code != 401 || len(r.calls) > 0 {
		t.Errorf("a change without the token: %d, calls %v", rec.Code, r.calls)
	}
}

func TestPagesOfOtherOriginsChangeNothing(t *testing.T) {
	r := newCatalog()
	for header, want := range map[string]int{"http://evil.example": 403, "http://127.0.0.1:8081": 204, "null": 403} {
		rec := r.serve(t, "DELETE", "/admin/v1/adapters/shop", "", "", "Origin", header)
		if rec.Code != want {
			t.Errorf("%s: %d %s, want %d", header, rec.Code, rec.Body, want)
		}
	}
}

// TestUnroutedCalls are what no route is for.
func TestUnroutedCalls(t *testing.T) {
	for _, c := range []struct {
		method, path  string
		status        int
		code, allowed string
	}{
		{"POST", "/health", 405, "method_not_allowed", "GET, HEAD"},
		{"DELETE", adminapi.StatePath, 405, "method_not_allowed", "GET, HEAD"},
		{"OPTIONS", adminapi.AdaptersPath, 405, "method_not_allowed", "GET, HEAD"},
		{"POST", adminapi.AdaptersPath + "/shop", 405, "method_not_allowed", "DELETE, GET, HEAD, PUT"},
		{"GET", adminapi.AdaptersPath + "/shop/file", 405, "method_not_allowed", "PUT"},
		{"GET", adminapi.AdaptersPath + "/shop/pin", 405, "method_not_allowed", "POST"},
		{"GET", adminapi.WorkersPath + "/0/drain", 405, "method_not_allowed", "POST"},
		{"GET", "/", 404, "not_found", ""},
		{"GET", "/admin", 404, "not_found", ""},
		{"GET", adminapi.AdaptersPath + "/", 404, "not_found", ""},
		{"DELETE", adminapi.AdaptersPath + "/team/shop", 404, "not_found", ""}, // its "/" is sent as %2F
		{"DELETE", adminapi.AdaptersPath + "/../adapters/shop", 404, "not_found", ""},
		{"DELETE", adminapi.AdaptersPath + "/./shop", 404, "not_found", ""},
		{"DELETE", adminapi.AdaptersPath + "//shop", 404, "not_found", ""},
		{"PUT", adminapi.AdaptersPath + "/..", 404, "not_found", ""},
		{"GET", "//health", 404, "not_found", ""},
	} {
		r := newCatalog()
		rec := r.serve(t, c.method, c.path, isJSON, `{}`)
		if e := detail(t, rec); rec.Code != c.status || *e.Code != c.code || rec.Header().Get("Allow") != c.allowed {
			t.Errorf("%s %s: %d %s, allowed %q", c.method, c.path, rec.Code, rec.Body, rec.Header().Get("Allow"))
		}
		if len(r.calls) > 0 {
			t.Errorf("%s %s: the catalog was asked to %v", c.method, c.path, r.calls)
		}
	}
}

// TestOddNames reach the catalog, which says what a name may be, as they are.
func TestOddNames(t *testing.T) {
	for _, c := range []struct{ path, name string }{
		{"team%2Fshop", "team/shop"}, {"a%2F%2Fb", "a//b"}, {"%2E%2E", ".."}, {"%2Fetc%2Fpasswd", "/etc/passwd"},
		{"a%20b", "a b"},
		{"a%00b", "a\x00b"}, {"%FF", "\xff"}, {"%E2%98%83", "☃"}, {"%25", "%"}, {"file", "file"},
		{strings.Repeat("a", 5000), strings.Repeat("a", 5000)},
	} {
		r := newCatalog()
		rec := r.serve(t, "DELETE", adminapi.AdaptersPath+"/"+c.path, "", "")
		if rec.Code != http.StatusNoContent || len(r.calls) != 1 || r.calls[0] != "remove "+c.name {
			t.Errorf("%.50s: %d, calls %.60q", c.path, rec.Code, r.calls)
		}
		rec = r.serve(t, "GET", adminapi.AdaptersPath+"/"+c.path, "", "")
		if e := detail(t, rec); rec.Code != http.StatusNotFound || len(e.Message) > 1000 {
			t.Errorf("%.50s: %d %.200s", c.path, rec.Code, rec.Body)
		}
	}
}

// TestHead answers as GET does, without the body.
func TestHead(t *testing.T) {
	srv := httptest.NewServer(Handler(newCatalog().options()))
	defer srv.Close()
	for _, path := range []string{"/health", "/metrics", adminapi.StatePath, adminapi.AdaptersPath,
		adminapi.AdaptersPath + "/shop", adminapi.WorkersPath} {
		resp, err := http.Head(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
	}
}

// lines reads a JSON log.
func lines(t *testing.T, log *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	d := json.NewDecoder(log)
	for d.More() {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestChangesAreLogged without what may be a credential, and looks are not.
func TestChangesAreLogged(t *testing.T) {
	const secret = "0123456789abcdef"
	for _, c := range []struct {
		method, path, body string
		err                error
		status             float64
		level              string // of the line before, for operators; "" is none
	}{
		{"PUT", adminapi.AdaptersPath + "/a%2Fb?wait=true",
			`{"source":"https://user:` + secret + `@host/a?token=` + secret + `"}`, nil, 200, ""},
		{"PUT", adminapi.AdaptersPath + "/a%2Fb?token=" + secret, `{"source":"/a"}`, nil, 400, ""},
		{"DELETE", adminapi.AdaptersPath + "/a%2Fb", "", lora.Errorf(lora.Conflict, "m"), 409, ""},
		{"DELETE", adminapi.AdaptersPath + "/a%2Fb", "", lora.Errorf(lora.Failed, "m").Because(errors.New("why")), 502,
			"ERROR"},
		{"DELETE", adminapi.AdaptersPath + "/a%2Fb", "", errors.New("why"), 500, "ERROR"},
	} {
		var log bytes.Buffer
		r := newCatalog()
		r.token, r.err, r.log = secret, c.err, slog.New(slog.NewJSONHandler(&log, nil))
		r.serve(t, c.method, c.path, isJSON, c.body, "Authorization", "Bearer "+secret)
		r.serve(t, "GET", adminapi.AdaptersPath, "", "", "Authorization", "Bearer "+secret)
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s %s: the log has the secret: %s", c.method, c.path, log.String())
		}
		lines := lines(t, &log)
		if c.level != "" && len(lines) > 0 {
			if before := lines[0]; before["level"] != c.level || before["error"] != "why" {
				t.Errorf("%s %s: %v", c.method, c.path, before)
			}
			lines = lines[1:]
		}
		if len(lines) != 1 || lines[0]["method"] != c.method || lines[0]["path"] != adminapi.AdaptersPath+"/a%2Fb" ||
			lines[0]["status"] != c.status {
			t.Errorf("%s %s: %v", c.method, c.path, lines)
		}
	}
	var log bytes.Buffer
	r := newCatalog()
	r.token, r.log = secret, slog.New(slog.NewJSONHandler(&log, nil))
	r.serve(t, "DELETE", adminapi.AdaptersPath+"/shop", "", "", "Authorization", "Bearer wrong")
	if lines := lines(t, &log); len(lines) != 1 || lines[0]["status"] != 401.0 {
		t.Errorf("without the token: %v", lines)
	}
}

// TestClientThatLeft makes no line that somebody would look into.
func TestClientThatLeft(t *testing.T) {
	var log bytes.Buffer
	r := newCatalog()
	r.log = slog.New(slog.NewJSONHandler(&log, nil))
	ctx, leave := context.WithCancel(t.Context())
	r.during = func(ctx context.Context) error { leave(); return context.Cause(ctx) }
	req := request("PUT", somePath+"?wait=true", isJSON, `{"source":"/a"}`).WithContext(ctx)
	if rec, _ := r.operate(t, req, `{"source":"/a"}`); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if lines := lines(t, &log); len(lines) != 1 || lines[0]["level"] != "INFO" {
		t.Errorf("%v", lines)
	}
}

// TestPanics are answered if nothing was yet, and cut the answer otherwise.
func TestPanics(t *testing.T) {
	var log bytes.Buffer
	r := newCatalog()
	r.pool.broken, r.log = true, slog.New(slog.NewJSONHandler(&log, nil))
	rec := r.serve(t, "GET", adminapi.AdaptersPath, "", "")
	if e := detail(t, rec); rec.Code != 500 || *e.Code != "internal_error" ||
		strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if lines := lines(t, &log); len(lines) != 1 || lines[0]["level"] != "ERROR" ||
		!strings.Contains(lines[0]["stack"].(string), "fakePool") {
		t.Errorf("%v", lines)
	}
	a := &api{opts: r.options()}
	for name, write := range map[string]func(w http.ResponseWriter){
		"status": func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) },
		"body":   func(w http.ResponseWriter) { _, _ = w.Write([]byte("half")) },
	} {
		half := echo.New()
		half.HTTPErrorHandler = a.fail
		half.GET("/", handle(route{serve: func(c echo.Context) error {
			write(c.Response())
			panic("a bug")
		}}))
		func() {
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("%s: it panicked with %v", name, v)
				}
			}()
			half.ServeHTTP(httptest.NewRecorder(), request("GET", "/", "", ""))
		}()
	}
}
