package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/httpkit"
)

// loadDescription loads docs/openapi.yaml.
var loadDescription = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // whatever the host
	return doc, doc.Validate(context.Background())
})

// description returns docs/openapi.yaml. Nobody may change it.
func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDescribedRoutes holds the description to the routes, and the other way
// round.
func TestDescribedRoutes(t *testing.T) {
	var described, routed []string
	for path, item := range description(t).Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	for _, rt := range (&api{}).routes() {
		routed = append(routed, rt.method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(rt.path, "{$1}"))
	}
	slices.Sort(described)
	slices.Sort(routed)
	if !slices.Equal(described, routed) {
		t.Errorf("described are\n%s\nand there are\n%s", strings.Join(described, "\n"), strings.Join(routed, "\n"))
	}
}

// TestDescribedTypes holds the schemas to the types that are encoded.
func TestDescribedTypes(t *testing.T) {
	schemas := description(t).Components.Schemas
	seen := map[string]bool{}
	for _, v := range []any{adminapi.Adapters{}, adminapi.State{}, adminapi.Workers{}, adminapi.PutRequest{},
		adminapi.PinRequest{}, httpkit.ErrorAnswer{}, adminapi.KeyList{}, adminapi.NewKey{}, adminapi.CreateKeyRequest{},
		adminapi.RotateKeyRequest{}, adminapi.UsageAnswer{}} {
		compareType(t, schemas, reflect.TypeOf(v), seen)
	}
	for name := range schemas {
		if !seen[name] {
			t.Errorf("%s is described, and never sent", name)
		}
	}
}

func compareType(t *testing.T, schemas openapi3.Schemas, typ reflect.Type, seen map[string]bool) {
	t.Helper()
	if seen[typ.Name()] {
		return
	}
	seen[typ.Name()] = true
	ref := schemas[typ.Name()]
	if ref == nil {
		t.Errorf("%s is not described", typ.Name())
		return
	}
	var names, required []string
	for _, f := range reflect.VisibleFields(typ) {
		if f.Anonymous {
			continue // its fields are the type's own
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		// A request may leave out what has a default.
		if option != "omitempty" && typ != reflect.TypeFor[adminapi.PutRequest]() &&
			!(typ == reflect.TypeFor[adminapi.Part]() && name == "scale") {
			required = append(required, name)
		}
		if p := ref.Value.Properties[name]; p != nil {
			compareField(t, typ.Name()+"."+name, p, f.Type)
		}
		for inner := f.Type; ; inner = inner.Elem() {
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
				compareType(t, schemas, inner, seen)
			}
			if inner.Kind() != reflect.Pointer && inner.Kind() != reflect.Slice {
				break
			}
		}
	}
	var described []string
	for name := range ref.Value.Properties {
		described = append(described, name)
	}
	for _, pair := range [][2][]string{{names, described}, {required, slices.Clone(ref.Value.Required)}} {
		slices.Sort(pair[0])
		slices.Sort(pair[1])
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s has %v, described are %v", typ.Name(), pair[0], pair[1])
		}
	}
}

// compareField compares one field's type and whether it may be null.
func compareField(t *testing.T, name string, p *openapi3.SchemaRef, typ reflect.Type) {
	t.Helper()
	nullable := typ.Kind() == reflect.Pointer
	if nullable {
		typ = typ.Elem()
	}
	want := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int64: "integer",
		reflect.Uint64:  "integer",
		reflect.Float64: "number", reflect.Slice: "array", reflect.Struct: "object",
	}[typ.Kind()]
	if typ == reflect.TypeFor[time.Time]() {
		want = "string"
	}
	got := p.Value
	isNullable := got.Nullable
	if len(got.AllOf) == 1 {
		got = got.AllOf[0].Value
	}
	if !got.Type.Is(want) || isNullable != nullable {
		t.Errorf("%s is %v (nullable %v), described as %v (nullable %v)", name, want, nullable, got.Type, isNullable)
	}
}

// TestDescribedCodes holds the codes of errors to those in the source.
func TestDescribedCodes(t *testing.T) {
	described := map[string]bool{}
	for _, v := range description(t).Components.Schemas["ErrorDetail"].Value.Properties["code"].Value.Enum {
		described[v.(string)] = true
	}
	used := map[string]bool{}
	for code := range statusOf {
		used[string(code)] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`\bCode(?:: |, [^=]*= )"([a-z_]+)"`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
	}
	if !reflect.DeepEqual(described, used) {
		t.Errorf("described are %v, used are %v", described, used)
	}
}

// loadRouter finds the operation of a request.
var loadRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := loadDescription()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// checkDescribed compares an answer, and the request if that was served, with
// what is described for the path and the status. It returns the operation, or
// nil if there is none: then the form of all errors is checked by whoever reads
// it.
func checkDescribed(t *testing.T, req *http.Request, body string, rec *httptest.ResponseRecorder) *openapi3.Operation {
	t.Helper()
	router, err := loadRouter()
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := router.FindRoute(req)
	if err != nil {
		return nil
	}
	asked := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if rec.Code < http.StatusBadRequest {
		req.Body = io.NopCloser(strings.NewReader(body))
		if err := openapi3filter.ValidateRequest(t.Context(), asked); err != nil {
			t.Errorf("%s %s was served, and is not as described: %v", req.Method, req.URL, err)
		}
		for name := range req.URL.Query() {
			if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
				t.Errorf("%s %s was served, and its %s is not described", req.Method, req.URL, name)
			}
		}
	}
	answered := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: rec.Code, Header: rec.Header(),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	answered.SetBodyBytes(bytes.Clone(rec.Body.Bytes()))
	if err := openapi3filter.ValidateResponse(t.Context(), answered); err != nil {
		t.Errorf("%s %s: %d %s\nis not as described: %v", req.Method, req.URL, rec.Code, rec.Body, err)
	}
	return route.Operation
}

// TestExamplesAreTaken sends the description's examples.
func TestExamplesAreTaken(t *testing.T) {
	put := description(t).Paths.Value(adminapi.AdaptersPath + "/{name}").Put
	for name, example := range put.RequestBody.Value.Content["application/json"].Examples {
		text, err := json.Marshal(example.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		c := newCatalog()
		rec := c.serve(t, "PUT", adminapi.AdaptersPath+"/x", "application/json", string(text))
		if rec.Code != http.StatusOK || len(c.calls) != 1 {
			t.Errorf("%s: %d %s, calls %v", name, rec.Code, rec.Body, c.calls)
		}
	}
}
