package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// call is a request for an operation that works as it is.
type call struct {
	method, path, media, body string
	header                    []string
}

const (
	octets   = "application/octet-stream"
	somePath = adminapi.AdaptersPath + "/shop"
)

// calls are one for every operation of the description, by its id.
var calls = map[string]call{
	"health":          {method: "GET", path: "/health"},
	"metrics":         {method: "GET", path: "/metrics"},
	"state":           {method: "GET", path: adminapi.StatePath},
	"listAdapters":    {method: "GET", path: adminapi.AdaptersPath},
	"getAdapter":      {method: "GET", path: somePath},
	"putAdapter":      {method: "PUT", path: somePath, media: isJSON, body: `{"source":"/a.gguf"}`},
	"uploadAdapter":   {method: "PUT", path: somePath + "/file?filename=a.gguf", media: octets, body: "GGUF"},
	"removeAdapter":   {method: "DELETE", path: somePath},
	"pinAdapter":      {method: "POST", path: somePath + "/pin", media: isJSON, body: `{"pin":true}`},
	"rollbackAdapter": {method: "POST", path: somePath + "/rollback"},
	"listWorkers":     {method: "GET", path: adminapi.WorkersPath},
	"drainWorker":     {method: "POST", path: adminapi.WorkersPath + "/0/drain"},
	"resumeWorker":    {method: "POST", path: adminapi.WorkersPath + "/0/resume"},
	"restartWorker":   {method: "POST", path: adminapi.WorkersPath + "/0/restart"},
	"listKeys":        {method: "GET", path: adminapi.KeysPath},
	"createKey":       {method: "POST", path: adminapi.KeysPath, media: isJSON, body: `{"tenant":"acme"}`},
	"revokeKey":       {method: "DELETE", path: adminapi.KeysPath + "/key_1"},
	"rotateKey": {method: "POST", path: adminapi.KeysPath + "/key_1/rotate", media: isJSON,
		body: `{"grace_seconds":60}`},
	"showUsage": {method: "GET", path: adminapi.UsagePath},
}

// trouble makes a call end with a status.
type trouble struct {
	status int
	code   string
	only   []string // operations; none is all of which the status is described
	cause  func(r *rig, c *call)
}

// fails lets the catalog or the pool refuse.
func fails(err error) func(r *rig, c *call) {
	return func(r *rig, _ *call) { r.err, r.pool.err, r.keys.err, r.usage.err = err, err, err, err }
}

func refusal(code lora.Code) func(r *rig, c *call) {
	return fails(lora.Errorf(code, "the source is at fault"))
}

var troubles = []trouble{
	{202, "", nil, func(r *rig, _ *call) { r.records[0].State = lora.Loading }},
	{400, "invalid", []string{"putAdapter", "uploadAdapter"}, refusal(lora.Invalid)},
	{400, "invalid", []string{"pinAdapter", "createKey", "rotateKey"}, func(_ *rig, c *call) { c.body = `{}` }},
	{400, "invalid", []string{"showUsage"}, func(_ *rig, c *call) { c.path += "?by=at" }},
	{401, "unauthorized", nil, func(r *rig, _ *call) { r.token = "0123456789abcdef" }},
	{403, "host_not_allowed", nil, func(_ *rig, c *call) { c.header = []string{"Host", "evil.example"} }},
	{403, "cross_origin", []string{"putAdapter", "uploadAdapter", "removeAdapter", "pinAdapter", "rollbackAdapter",
		"drainWorker", "resumeWorker", "restartWorker", "createKey", "revokeKey", "rotateKey"},
		func(_ *rig, c *call) { c.header = []string{"Origin", "http://evil.example"} }},
	{404, "not_found", []string{"getAdapter"}, func(_ *rig, c *call) { c.path = adminapi.AdaptersPath + "/nobody" }},
	{404, "not_found", []string{"drainWorker", "resumeWorker", "restartWorker"},
		func(_ *rig, c *call) { c.path = strings.Replace(c.path, "/0/", "/7/", 1) }},
	{404, "not_found", []string{"removeAdapter", "pinAdapter", "rollbackAdapter"}, refusal(lora.NotFound)},
	{404, "not_found", []string{"createKey", "revokeKey", "rotateKey"},
		fails(&auth.Refusal{Reason: auth.NotFound, Message: "There is none."})},
	{409, "conflict", []string{"restartWorker"}, fails(fmt.Errorf("worker 0 is not up: %w", ErrConflict))},
	{409, "conflict", []string{"putAdapter", "uploadAdapter", "removeAdapter", "rollbackAdapter"}, refusal(lora.Conflict)},
	{413, "too_large", nil, func(r *rig, c *call) {
		if r.max = 3; c.media == isJSON {
			c.body = strings.Repeat(" ", maxJSON+1)
		}
	}},
	{415, "unsupported_media_type", nil, func(_ *rig, c *call) { c.media = "multipart/form-data; boundary=x" }},
	{422, "refused", nil, refusal(lora.Refused)},
	{500, "internal_error", nil, func(r *rig, c *call) {
		r.pool.broken = true
		fails(errors.New("x"))(r, c)
	}},
	{501, "not_implemented", nil, func(r *rig, _ *call) { r.bare = true }},
	{502, "failed", nil, refusal(lora.Failed)},
	{503, "interrupted", nil, fails(context.Canceled)},
	{507, "disk_full", nil, fails(&state.FullError{})},
}

// TestEveryDescribedAnswerIsGiven asks every operation for every status that is
// described of it. That they are as described is what the rig checks of all
// answers.
func TestEveryDescribedAnswerIsGiven(t *testing.T) {
	given := map[string]bool{}                           // "id status"
	codes := map[string]bool{"method_not_allowed": true} // no operation's: TestUnroutedCalls has it
	ask := func(id string, status int, code string, c call, r *rig) {
		rec, operation := r.operate(t, request(c.method, c.path, c.media, c.body, c.header...), c.body)
		if rec.Code != status || operation == nil || operation.OperationID != id {
			t.Errorf("%s: %d %s, want %d", id, rec.Code, rec.Body, status)
			return
		}
		if code != "" {
			e := detail(t, rec)
			if *e.Code != code || e.Type != typeFor(status) {
				t.Errorf("%s: %d has the code %s and the type %s, want %s and %s", id, status, *e.Code, e.Type, code,
					typeFor(status))
			}
			codes[code] = true
		}
		given[id+" "+strconv.Itoa(status)] = true
	}
	for id, c := range calls {
		status := http.StatusOK
		if c.method == http.MethodDelete {
			status = http.StatusNoContent
		}
		ask(id, status, "", c, newCatalog())
	}
	described, byStatus := map[string]bool{}, map[int][]string{}
	for _, item := range description(t).Paths.Map() {
		for _, operation := range item.Operations() {
			for text := range operation.Responses.Map() {
				if status, err := strconv.Atoi(text); err == nil { // not "default"
					described[operation.OperationID+" "+text] = true
					byStatus[status] = append(byStatus[status], operation.OperationID)
				}
			}
		}
	}
	for _, trouble := range troubles {
		only := trouble.only
		if only == nil {
			only = byStatus[trouble.status]
		}
		for _, id := range only {
			c, r := calls[id], newCatalog()
			trouble.cause(r, &c)
			ask(id, trouble.status, trouble.code, c, r)
		}
	}
	for _, what := range differ(described, given) {
		t.Errorf("described or given, not both: %s", what)
	}
	enum := map[string]bool{}
	for _, v := range description(t).Components.Schemas["ErrorDetail"].Value.Properties["code"].Value.Enum {
		enum[v.(string)] = true
	}
	for _, code := range differ(enum, codes) {
		t.Errorf("described or given, not both: the code %s", code)
	}
}

// differ returns what is in one set alone.
func differ(a, b map[string]bool) (list []string) {
	for _, pair := range [][2]map[string]bool{{a, b}, {b, a}} {
		for s := range pair[0] {
			if !pair[1][s] {
				list = append(list, s)
			}
		}
	}
	slices.Sort(list)
	return list
}

func typeFor(status int) string {
	switch {
	case status >= http.StatusInternalServerError:
		return "server_error"
	case status == http.StatusUnauthorized:
		return "authentication_error"
	}
	return "invalid_request_error"
}
