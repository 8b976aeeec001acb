package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

// TestCallsReachTheCatalog is every route that works, with what it hands on.
func TestCallsReachTheCatalog(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		call               string
	}{
		{"GET", "/admin/v1/adapters", "", 200, ""},
		{"GET", "/admin/v1/adapters/shop", "", 200, ""},
		{"PUT", "/admin/v1/adapters/shop", `{"source":"/a.gguf"}`, 200, "put shop false"},
		{"PUT", "/admin/v1/adapters/shop?wait=true", `{"source":"/a.gguf"}`, 200, "put shop true"},
		{"PUT", "/admin/v1/adapters/team%2Fshop", `{"source":"/a.gguf"}`, 200, "put team/shop false"},
		{"PUT", "/admin/v1/adapters/%E2%98%83", `{"source":"/a.gguf"}`, 200, "put ☃ false"},
		{"PUT", "/admin/v1/adapters/shop/file?filename=a.gguf&aliases=b&aliases=c&scale=0.5&pin=true", "GGUF", 200,
			"upload shop a.gguf"},
		{"DELETE", "/admin/v1/adapters/shop", "", 204, "remove shop"},
		{"POST", "/admin/v1/adapters/shop/pin", `{"pin":true}`, 200, "pin shop true"},
		{"POST", "/admin/v1/adapters/shop/rollback", "", 200, "rollback shop"},
		{"GET", "/admin/v1/workers", "", 200, ""},
		{"GET", "/admin/v1/state", "", 200, ""},
		{"GET", "/health", "", 200, ""},
		{"GET", "/metrics", "", 200, ""},
	} {
		r := newCatalog()
		media := isJSON
		if strings.Contains(c.path, "/file") {
			media = "application/octet-stream"
		}
		rec := r.serve(t, c.method, c.path, media, c.body)
		if rec.Code != c.status || strings.Join(r.calls, ", ") != c.call {
			t.Errorf("%s %s: %d %s, calls %v; want %d and %q", c.method, c.path, rec.Code, rec.Body, r.calls, c.status, c.call)
		}
	}
}

func TestSpecsAreReadWhole(t *testing.T) {
	r := newCatalog()
	r.serve(t, "PUT", "/admin/v1/adapters/a", isJSON,
		`{"source":"/a","digest":"d","scale":0.5,"description":"about","aliases":["x"],"weight":2,"max_concurrency":3,"pin":true,"preload":true}`)
	want := lora.Spec{Name: "a", Source: "/a", Digest: "d", Scale: .5,
		Settings: lora.Settings{Description: "about", Aliases: []string{"x"}, Weight: 2, MaxConcurrency: 3}, Pin: true,
		Preload: true}
	if !reflect.DeepEqual(r.spec, want) {
		t.Errorf("%+v, want %+v", r.spec, want)
	}
	r.serve(t, "PUT", "/admin/v1/adapters/a", isJSON,
		`{"parts":[{"adapter":"x","scale":0.7},{"adapter":"y"},{"adapter":"z","scale":null}]}`)
	want = lora.Spec{Name: "a", Shares: []lora.Share{{Adapter: "x", Scale: .7}, {Adapter: "y"}, {Adapter: "z"}}}
	if !reflect.DeepEqual(r.spec, want) {
		t.Errorf("%+v, want %+v", r.spec, want)
	}
	r.serve(t, "PUT", "/admin/v1/adapters/a/file?filename=f.zip&digest=d&scale=0.5&description=about&aliases=x&aliases=y&weight=2&max_concurrency=3&pin=true&preload=false",
		"application/octet-stream", "bytes")
	want = lora.Spec{Name: "a", Digest: "d", Scale: .5,
		Settings: lora.Settings{Description: "about", Aliases: []string{"x", "y"}, Weight: 2, MaxConcurrency: 3}, Pin: true}
	if !reflect.DeepEqual(r.spec, want) || r.body != "bytes" {
		t.Errorf("%+v, %q, want %+v", r.spec, r.body, want)
	}
}

const put, file = "/admin/v1/adapters/a", "/admin/v1/adapters/a/file?filename=a.gguf"

// badCalls are refused before the catalog hears of them.
var badCalls = []struct {
	name, method, path, media, body string
	status                          int
	says                            string
}{
	{"no JSON", "PUT", put, isJSON, `{`, 400, "not valid JSON"},
	{"not an object", "PUT", put, isJSON, `[]`, 400, "must be a JSON object"},
	{"empty", "PUT", put, isJSON, ``, 400, "must be a JSON object"},
	{"two objects", "PUT", put, isJSON, `{"source":"/a"}{}`, 400, "nothing behind it"},
	{"unknown key", "PUT", put, isJSON, `{"source":"/a","rank":3}`, 400, "rank: there is no such field"},
	{"other capitals", "PUT", put, isJSON, `{"Source":"/a"}`, 400, "Source: there is no such field"},
	{"twice", "PUT", put, isJSON, `{"source":"/a","source":"/b"}`, 400, "source: stands twice"},
	{"null", "PUT", put, isJSON, `{"source":null}`, 400, "source: must be a string"},
	{"wrong type", "PUT", put, isJSON, `{"source":"/a","pin":"yes"}`, 400, "pin: must be true or false"},
	{"fraction", "PUT", put, isJSON, `{"source":"/a","max_concurrency":1.5}`, 400,
		"max_concurrency: must be a whole number"},
	{"huge number", "PUT", put, isJSON, `{"source":"/a","scale":1e999}`, 400, "scale: must be a number"},
	{"null in a list", "PUT", put, isJSON, `{"source":"/a","aliases":["b",null]}`, 400,
		"aliases: must be a list of strings"},
	{"text for a list", "PUT", put, isJSON, `{"source":"/a","aliases":"b"}`, 400, "aliases: must be a list of strings"},
	{"null part", "PUT", put, isJSON, `{"parts":[null]}`, 400, "parts[0]: must be an object"},
	{"key in a part twice", "PUT", put, isJSON, `{"parts":[{"adapter":"x","adapter":"y"}]}`, 400,
		"parts[0].adapter: stands twice"},
	{"text behind", "PUT", put, isJSON, `{"source":"/a"}x`, 400, "nothing behind it"},
	{"cut JSON", "PUT", put, isJSON, `{"source":"/a"`, 400, "not valid JSON"},
	{"unpaired", "PUT", put, isJSON, `{"source"}`, 400, "not valid JSON"},
	{"scale 0", "PUT", put, isJSON, `{"source":"/a","scale":0}`, 400, "scale: must not be 0"},
	{"weight 0", "PUT", put, isJSON, `{"source":"/a","weight":0}`, 400, "weight: must be more than 0"},
	{"negative", "PUT", put, isJSON, `{"source":"/a","max_concurrency":-1}`, 400, "max_concurrency: must be from 0"},
	{"nothing", "PUT", put, isJSON, `{}`, 400, "source: is missing"},
	{"both", "PUT", put, isJSON, `{"source":"/a","parts":[]}`, 400, "nothing has both"},
	{"empty source", "PUT", put, isJSON, `{"source":""}`, 400, "source: must not be empty"},
	{"no parts", "PUT", put, isJSON, `{"parts":[]}`, 400, "parts: must not be empty"},
	{"part is text", "PUT", put, isJSON, `{"parts":["x"]}`, 400, "parts[0]: must be an object"},
	{"part without name", "PUT", put, isJSON, `{"parts":[{"scale":1}]}`, 400, "parts[0].adapter: is missing"},
	{"part with more", "PUT", put, isJSON, `{"parts":[{"adapter":"x","weight":1}]}`, 400, "parts[0].weight: there is no"},
	{"part at 0", "PUT", put, isJSON, `{"parts":[{"adapter":"x"},{"adapter":"y","scale":0}]}`, 400,
		"parts[1].scale: must not be 0"},
	{"composition pinned", "PUT", put, isJSON, `{"parts":[{"adapter":"x"}],"pin":true}`, 400,
		"pin: a composition has none"},
	{"no media type", "PUT", put, "", `{"source":"/a"}`, 415, "application/json"},
	{"form", "PUT", put, "application/x-www-form-urlencoded", `source=a`, 415, "application/json"},
	{"large", "PUT", put, isJSON, `{"source":"` + strings.Repeat("a", 2<<20) + `"}`, 413, "larger than"},
	{"query", "PUT", put + "?wait=1", isJSON, `{"source":"/a"}`, 400, "wait: must be true or false"},
	{"query unknown", "PUT", put + "?wiat=true", isJSON, `{"source":"/a"}`, 400, "wiat: there is no such parameter"},
	{"query malformed", "PUT", put + "?wait=%zz", isJSON, `{"source":"/a"}`, 400, "query is malformed"},
	{"query with ;", "PUT", file + "&digest=ab;pin=true", octets, `x`, 400, "query is malformed"},
	{"query null", "PUT", file + "&pin=null", octets, `x`, 400, "pin: must be true or false"},
	{"query twice", "PUT", put + "?wait=true&wait=false", isJSON, `{"source":"/a"}`, 400, "wait: stands twice"},
	{"no file name", "PUT", "/admin/v1/adapters/a/file", "application/octet-stream", `x`, 400, "filename: is missing"},
	{"multipart", "PUT", file, "multipart/form-data; boundary=x", `x`, 415, "not a form"},
	{"upload scale", "PUT", file + "&scale=NaN", "application/octet-stream", `x`, 400, "scale: must be a number"},
	{"upload source", "PUT", file + "&source=a", "application/octet-stream", `x`, 400,
		"source: there is no such parameter"},
	{"upload form", "PUT", file, "application/x-www-form-urlencoded", `x`, 415, "not a form"},
	{"upload twice", "PUT", file + "&filename=b.gguf", octets, `x`, 400, "filename: stands twice"},
	{"upload scale 0", "PUT", file + "&scale=0", octets, `x`, 400, "scale: must not be 0"},
	{"upload fraction", "PUT", file + "&max_concurrency=1.5", octets, `x`, 400, "max_concurrency: must be a whole number"},
	{"pin as text", "POST", put + "/pin", isJSON, `{"pin":"true"}`, 400, "pin: must be true or false"},
	{"pin as a form", "POST", put + "/pin", octets, `{"pin":true}`, 415, "application/json"},
	{"pin nothing", "POST", put + "/pin", isJSON, `{}`, 400, "pin: is missing"},
	{"nobody", "GET", "/admin/v1/adapters/nobody", "", ``, 404, `no adapter "nobody"`},
	{"no worker", "POST", "/admin/v1/workers/9/drain", "", ``, 404, "no worker 9"},
	{"odd worker", "POST", "/admin/v1/workers/01/drain", "", ``, 404, `no worker "01"`},
	{"other path", "GET", "/admin/v2/state", "", ``, 404, "no such endpoint"},
	{"other method", "POST", put, isJSON, `{}`, 405, "DELETE"},
}

func TestBadCalls(t *testing.T) {
	for _, c := range badCalls {
		r := newCatalog()
		rec := r.serve(t, c.method, c.path, c.media, c.body)
		if e := detail(t, rec); rec.Code != c.status || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %d %s, want %d with %q", c.name, rec.Code, e.Message, c.status, c.says)
		}
		if len(r.calls) > 0 {
			t.Errorf("%s: the catalog was asked to %v", c.name, r.calls)
		}
	}
}

// TestJSONIsBounded also if it does not say how long it is.
func TestJSONIsBounded(t *testing.T) {
	r := newCatalog()
	text := `{"source":"/a","digest":"` + strings.Repeat("d", maxJSON) + `"}`
	req := httptest.NewRequest("PUT", "http://127.0.0.1:8081"+somePath, io.MultiReader(strings.NewReader(text)))
	req.Header.Set("Content-Type", isJSON)
	if rec, _ := r.operate(t, req, text); rec.Code != 413 || len(r.calls) > 0 {
		t.Errorf("%d %s, calls %v", rec.Code, rec.Body, r.calls)
	}
}

func TestUploadsAreBounded(t *testing.T) {
	r := newCatalog()
	r.max = 4
	const path = "/admin/v1/adapters/a/file?filename=a.gguf"
	if rec := r.serve(t, "PUT", path, "", "12345"); rec.Code != 413 || len(r.calls) > 0 {
		t.Errorf("declared: %d %s", rec.Code, rec.Body)
	}
	for body, want := range map[string]int{"1234": 200, "12345": 413} {
		req := httptest.NewRequest("PUT", "http://127.0.0.1:8081"+path,
			io.MultiReader(strings.NewReader(body))) // chunked: no length
		rec := httptest.NewRecorder()
		Handler(r.options()).ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%q: %d %s, want %d", body, rec.Code, rec.Body, want)
		}
	}
}

// TestUploadThatIsCut ends the connection in the middle.
func TestUploadThatIsCut(t *testing.T) {
	r := newCatalog()
	cut := io.MultiReader(strings.NewReader("12"), brokenReader{})
	req := httptest.NewRequest("PUT", "http://127.0.0.1:8081/admin/v1/adapters/a/file?filename=a.gguf", cut)
	rec := httptest.NewRecorder()
	Handler(r.options()).ServeHTTP(rec, req)
	if e := detail(t, rec); rec.Code != 400 || e.Message != "The upload ended before its end." || len(r.calls) > 0 {
		t.Errorf("%d %s, calls %v", rec.Code, e.Message, r.calls)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestRefusalsOfTheCatalog maps every code, and shows no cause.
func TestRefusalsOfTheCatalog(t *testing.T) {
	for err, want := range map[error]int{
		lora.Errorf(lora.NotFound, "m"): 404, lora.Errorf(lora.Conflict, "m"): 409,
		lora.Errorf(lora.Invalid, "m"): 400, lora.Errorf(lora.Refused, "m"): 422,
		lora.Errorf(lora.TooLarge, "m"):                                   413,
		lora.Errorf(lora.Failed, "m").Because(errors.New("/secret/path")): 502,
		errors.New("/secret/path"):                                        500, context.Canceled: 503,
	} {
		for _, call := range [][3]string{
			{"PUT", "/admin/v1/adapters/shop", `{"source":"/a"}`}, {"DELETE", "/admin/v1/adapters/shop", ""},
			{"POST", "/admin/v1/adapters/shop/rollback", ""}, {"POST", "/admin/v1/adapters/shop/pin", `{"pin":true}`},
		} {
			r := newCatalog()
			r.err = err
			rec := r.serve(t, call[0], call[1], isJSON, call[2])
			if detail(t, rec); rec.Code != want || strings.Contains(rec.Body.String(), "secret") {
				t.Errorf("%v at %s %s: %d %s, want %d", err, call[0], call[1], rec.Code, rec.Body, want)
			}
		}
	}
}

// TestStatesAfterAPut tells whoever waited for a source that it was refused.
func TestStatesAfterAPut(t *testing.T) {
	for _, c := range []struct {
		state  lora.State
		reason string
		wait   bool
		want   int
	}{
		{lora.Ready, "", true, 200}, {lora.Ready, "is bad", true, 422}, {lora.Ready, "was bad before", false, 200},
		{lora.Loading, "", false, 202}, {lora.Downloading, "", false, 202},
		{lora.Rejected, "is bad", false, 422}, {lora.Quarantined, "ended llama-server with /state/blobs/ab01.gguf", true,
			422},
	} {
		r := newCatalog()
		r.records[0].State, r.records[0].Reason = c.state, c.reason
		rec := r.serve(t, "PUT", fmt.Sprintf("/admin/v1/adapters/shop?wait=%t", c.wait), isJSON, `{"source":"/a"}`)
		if rec.Code != c.want || strings.Contains(rec.Body.String(), "/state/") {
			t.Errorf("%+v: %d %s", c, rec.Code, rec.Body)
		}
	}
}

func TestWorkersAreChanged(t *testing.T) {
	r := newCatalog()
	for _, c := range []struct {
		action  string
		drained bool
	}{{"drain", true}, {"resume", false}, {"restart", false}} {
		var w adminapi.Worker
		rec := r.serve(t, "POST", "/admin/v1/workers/0/"+c.action, "", "")
		if err := json.Unmarshal(rec.Body.Bytes(), &w); err != nil || rec.Code != 200 || w.Drained != c.drained ||
			w.PID != 77 {
			t.Errorf("%s: %d %s, %v", c.action, rec.Code, rec.Body, err)
		}
	}
	for _, id := range []string{"7", "-1", "00", "x", "1e0", "99999999999999999999"} {
		r := newCatalog()
		rec := r.serve(t, "POST", "/admin/v1/workers/"+id+"/drain", "", "")
		if detail(t, rec); rec.Code != 404 || len(r.pool.drained) > 0 {
			t.Errorf("worker %s: %d %s, drained are %v", id, rec.Code, rec.Body, r.pool.drained)
		}
	}
	r.pool.err = fmt.Errorf("worker 1 is not up: %w", ErrConflict)
	if rec := r.serve(t, "POST", "/admin/v1/workers/1/restart", "", ""); rec.Code != 409 ||
		!strings.Contains(detail(t, rec).Message, "not up") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// TestWithoutCatalog is a listener that has metrics alone.
func TestWithoutCatalog(t *testing.T) {
	s := testServer("127.0.0.1:8081")
	for _, path := range []string{"/admin/v1/adapters", "/admin/v1/workers",
		"/admin/v1/adapters/" + url.PathEscape("a/b")} {
		if rec := get(s, "GET", "127.0.0.1:8081", path); rec.Code != http.StatusNotImplemented {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}
