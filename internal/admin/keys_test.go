package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/usage"
)

// fakeKeys has one key and remembers what it was asked.
type fakeKeys struct {
	err   error
	calls []string
}

var someKey = auth.Key{ID: "key_1", Tenant: "acme", Hash: "hash-of-it", Created: time.Unix(100, 0),
	Expires: time.Unix(200, 0)}

func (k *fakeKeys) Keys() []auth.Key { return []auth.Key{someKey} }

func (k *fakeKeys) Create(tenant, label string, expires time.Time) (auth.Key, string, error) {
	k.calls = append(k.calls, "create "+tenant+" "+label+" "+expires.UTC().Format(time.RFC3339))
	return someKey, "lg-secret", k.err
}

func (k *fakeKeys) Revoke(id string) error {
	k.calls = append(k.calls, "revoke "+id)
	return k.err
}

func (k *fakeKeys) Rotate(id string, grace time.Duration) (auth.Key, string, error) {
	k.calls = append(k.calls, "rotate "+id+" "+grace.String())
	return someKey, "lg-secret", k.err
}

// fakeUsage answers every query with one sum.
type fakeUsage struct {
	query usage.Query
	err   error
}

func (u *fakeUsage) Sums(_ context.Context, q usage.Query) ([]usage.Sum, error) {
	u.query = q
	return []usage.Sum{{Group: make([]string, len(q.By)), Requests: 2, Prompt: 3, Cached: 1, Completion: 4,
		QueueMs: 1500, SwapMs: 4, GenerationMs: 20}}, u.err
}

// ask asks a rig over these fakes.
func ask(t *testing.T, k *fakeKeys, u *fakeUsage, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := newCatalog()
	r.keys, r.usage = k, u
	return r.serve(t, method, path, isJSON, body)
}

func TestKeyRoutes(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		err                error
		status             int
		call, says         string
	}{
		{"GET", adminapi.KeysPath, "", nil, 200, "", `"tenant":"acme"`},
		{"POST", adminapi.KeysPath, `{"tenant":"acme","label":"x","expires":"2030-01-31T00:00:00+01:00"}`, nil, 200,
			"create acme x 2030-01-30T23:00:00Z", `"secret":"lg-secret"`},
		{"POST", adminapi.KeysPath, `{"tenant":"nobody"}`,
			&auth.Refusal{Reason: auth.NotFound, Message: "There is no tenant."}, 404, "create nobody  0001-01-01T00:00:00Z",
			"no tenant"},
		{"POST", adminapi.KeysPath, `{"tenant":"acme"}`, errors.New("/secret/disk"), 500,
			"create acme  0001-01-01T00:00:00Z", "Internal error"},
		{"POST", adminapi.KeysPath, `{}`, nil, 400, "", "tenant: is missing"},
		{"POST", adminapi.KeysPath, `{"tenant":"acme","expires":"tomorrow"}`, nil, 400, "", "expires: must be a time"},
		{"POST", adminapi.KeysPath, `{"tenant":"acme","secret":"mine"}`, nil, 400, "", "secret: there is no such field"},
		{"POST", adminapi.KeysPath, `{"tenant":"acme","expires":"2020-01-31T00:00:00Z"}`, nil, 400, "",
			"expires: must be later than now"},
		{"POST", adminapi.KeysPath, `{"tenant":"acme","expires":"0001-01-01T00:00:00Z"}`, nil, 400, "",
			"expires: must be later than now"},
		{"DELETE", adminapi.KeysPath + "/key_1", "", nil, 204, "revoke key_1", ""},
		{"DELETE", adminapi.KeysPath + "/key_2", "", &auth.Refusal{Reason: auth.NotFound, Message: "There is no key."},
			404, "revoke key_2", "no key"},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{"grace_seconds":60}`, nil, 200, "rotate key_1 1m0s",
			`"secret":"lg-secret"`},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{}`, nil, 400, "", "grace_seconds: is missing"},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{"grace_seconds":-1}`, nil, 400, "", "must not be less than 0"},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{"grace_seconds":9223372037}`, nil, 400, "", "must not be more than"},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{"grace_seconds":3153600001}`, nil, 400, "", "must not be more than"},
		{"POST", adminapi.KeysPath + "/key_1/rotate", `{"grace_seconds":3153600000}`, nil, 200, "rotate key_1 876000h0m0s",
			""},
	} {
		k := &fakeKeys{err: c.err}
		rec := ask(t, k, nil, c.method, c.path, c.body)
		if rec.Code != c.status || strings.Join(k.calls, ", ") != c.call || !strings.Contains(rec.Body.String(), c.says) {
			t.Errorf("%s %s %s: %d %s, calls %v", c.method, c.path, c.body, rec.Code, rec.Body, k.calls)
		}
		if text := rec.Body.String(); strings.Contains(text, "hash-of-it") || strings.Contains(text, "/secret/") {
			t.Errorf("%s shows too much: %s", c.path, text)
		}
	}
}

func TestUsageRoute(t *testing.T) {
	u := &fakeUsage{}
	rec := ask(t, &fakeKeys{}, u, "GET", adminapi.UsagePath+"?from=2030-01-31&to=2030-02-01T12:00:00Z&by=tenant,day", "")
	want := usage.Query{From: time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC),
		To: time.Date(2030, 2, 1, 12, 0, 0, 0, time.UTC), By: []string{"tenant", "day"}}
	var answer adminapi.UsageAnswer
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != 200 ||
		!reflect.DeepEqual(u.query, want) || answer.Sums[0].QueueSeconds != 1.5 {
		t.Errorf("%d %s, asked %+v", rec.Code, rec.Body, u.query)
	}
	rec = ask(t, &fakeKeys{}, u, "GET", adminapi.UsagePath+"?format=csv", "")
	if text := "day,tenant,model,requests,prompt_tokens,cached_tokens,completion_tokens,queue_seconds,swap_seconds,generation_seconds\n,,,2,3,1,4,1.500,0.004,0.020\n"; rec.Body.String() != text {
		t.Errorf("%s", rec.Body)
	}
	for query, says := range map[string]string{
		"by=at": "by: must be some of day, tenant", "by=day,day": "by: must be some of",
		"from=yesterday": "from: must be a day",
		"format=xml":     "format: must be json or csv", "group=day": "group: there is no such parameter",
	} {
		rec := ask(t, &fakeKeys{}, u, "GET", adminapi.UsagePath+"?"+query, "")
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s: %d %s", query, rec.Code, rec.Body)
		}
	}
}
