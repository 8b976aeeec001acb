package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// lora calls one of vLLM's endpoints and returns the status and the answer.
func (st *stack) lora(path, body string, header ...string) (int, string) {
	st.t.Helper()
	return st.call("POST", path, body, header...)
}

// call sends a request; headers come in pairs, Host is one.
func (st *stack) call(method, path, body string, header ...string) (int, string) {
	st.t.Helper()
	req, err := http.NewRequestWithContext(st.t.Context(), method, st.url+path, strings.NewReader(body))
	if err != nil {
		st.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		st.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const (
	load   = "/v1/load_lora_adapter"
	unload = "/v1/unload_lora_adapter"
)

// TestVLLMEndpoints loads and unloads adapters as clients of vLLM do.
func TestVLLMEndpoints(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.vllm = true })
	file := filepath.Join(t.TempDir(), "new.gguf")
	if err := os.WriteFile(file, []byte("GGUF new"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{load, `{"lora_name":"new","lora_path":"` + file + `","lora_int_id":7,"base_model_name":"x"}`, 200,
			"Success: LoRA adapter 'new' added successfully."},
		{load, `{"lora_name":"new","lora_path":"` + file + `"}`, 400, "already been loaded"},
		{load, `{"lora_name":"new","lora_path":"` + file + `","load_inplace":true}`, 200, "added successfully"},
		{load, `{"lora_path":"/a"}`, 400, "lora_name"},
		{load, `{"lora_name":"a"}`, 400, "lora_path"},
		{load, `{"lora_name":"a b","lora_path":"/a"}`, 400, "cannot name a model"},
		{load, `{"lora_name":3,"lora_path":"/a"}`, 400, "\\\"lora_name\\\" must be a string"},
		{load, `{"lora_name":"a","lora_path":["/a"]}`, 400, "\\\"lora_path\\\" must be a string"},
		{load, `{"lora_name":"a","lora_path":"/a","load_inplace":"yes"}`, 400, "must be true or false"},
		{load, `{"lora_name":null,"lora_path":"/a"}`, 400, "\\\"lora_name\\\" is missing"},
		{load, `{"LORA_NAME":"a","lora_path":"/a"}`, 400, "\\\"lora_name\\\" is missing"},
		{load, `{`, 400, "not valid"},
		{load, ``, 400, "not valid"},
		{load, `[]`, 400, "must be a JSON object"},
		{load, `{"lora_name":"base","lora_path":"` + file + `"}`, 409, "taken by the base model"},
		{load, `{"lora_name":"gpt-4o-mini","lora_path":"` + file + `"}`, 409, "is taken by"},
		{load, `{"lora_name":"coding","lora_path":"` + file + `","load_inplace":true}`, 409, "comes from the configuration"},
		{load, `{"lora_name":"gone","lora_path":"/no/such/file"}`, 404, "no such file"},
		{load, `{"lora_name":"gone","lora_path":"` + file + `"}`, 200, "added successfully"}, // what failed was not loaded
		{unload, `{"lora_name":"gone","lora_int_id":3}`, 200, "removed successfully"},
		{unload, `{"lora_int_id":3}`, 400, "lora_name"},
		{unload, `{"lora_name":"new"}`, 200, "Success: LoRA adapter 'new' removed successfully."},
		{unload, `{"lora_name":"new"}`, 404, "no adapter"},
		{unload, `{"lora_name":"coding"}`, 409, "comes from the configuration"},
		{unload, `{}`, 400, "lora_name"},
	} {
		status, text := st.lora(c.path, c.body)
		if status != c.status || !strings.Contains(text, c.says) || status != 200 && !strings.HasPrefix(text, `{"error":{`) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.path, c.body, status, text, c.status, c.says)
		}
	}
	if status, text := st.lora(unload, `{"lora_name":"gone"}`, "Origin", "http://evil.example"); status != 403 {
		t.Errorf("for a page of another origin: %d %s", status, text)
	}
	if status, text := st.lora(load, `{"lora_name":"`+strings.Repeat("a", 2<<20)+`"}`); status != 413 {
		t.Errorf("a large body: %d %.200s", status, text)
	}
}

func TestVLLMEndpointsAskForTheToken(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.vllm, s.adminToken = true, "0123456789abcdef" })
	for header, want := range map[string]int{
		"": 401, "Bearer wrong": 401, "0123456789abcdef": 401, "Basic 0123456789abcdef": 401, "Bearer 0123456789abcde": 401,
		"Bearer 0123456789abcdef": 404, "bearer 0123456789abcdef": 404,
	} {
		// Whoever knows the token may come through any host.
		status, text := st.lora(unload, `{"lora_name":"nobody"}`, "Authorization", header, "Host", "gateway.example")
		if status != want {
			t.Errorf("%q: %d %s, want %d", header, status, text, want)
		}
	}
	// What nobody may ask for is not read.
	if status, text := st.lora(load, strings.Repeat("a", 2<<20)); status != 401 {
		t.Errorf("a large body: %d %s", status, text)
	}
	if status, text := st.lora(unload, `{"lora_name":"nobody"}`, "Authorization", "Bearer 0123456789abcdef", "Origin",
		"http://evil.example"); status != 403 {
		t.Errorf("for a page of another origin: %d %s", status, text)
	}
}

// TestVLLMEndpointsAreLocal without a token: a page whose name was made to point
// here is of the same origin.
func TestVLLMEndpointsAreLocal(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.vllm = true })
	for host, want := range map[string]int{
		"127.0.0.1:8080": 404, "127.0.0.1": 404, "localhost:8080": 404, "LOCALHOST": 404, "[::1]:8080": 404, "[::1]": 404,
		"evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
		"10.0.0.7:8080": 403,
		"0.0.0.0":       403,
	} {
		status, text := st.lora(unload, `{"lora_name":"nobody"}`, "Host", host, "Origin", "http://"+host)
		if status != want || want == 403 && !strings.Contains(text, "host_not_allowed") {
			t.Errorf("%s: %d %s, want %d", host, status, text, want)
		}
	}
}

// fakeAdapters has one adapter, if any, and refuses every change with err.
type fakeAdapters struct {
	record  *lora.Record
	err     error
	spec    lora.Spec // of the last Put
	waiting chan context.Context
}

func (a *fakeAdapters) Get(string) (lora.Record, bool) {
	if a.record == nil {
		return lora.Record{}, false
	}
	return *a.record, true
}

func (a *fakeAdapters) Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error) {
	a.spec = spec
	if a.waiting != nil {
		a.waiting <- ctx
		<-ctx.Done()
		return lora.Record{}, context.Cause(ctx)
	}
	if !wait {
		return lora.Record{}, errors.New("nobody waits")
	}
	return lora.Record{}, a.err
}

func (a *fakeAdapters) Remove(string) error { return a.err }

// TestVLLMSources is how vLLM's paths are understood.
func TestVLLMSources(t *testing.T) {
	t.Parallel()
	fake := &fakeAdapters{}
	st := start(t, func(s *settings) { s.adapters = fake })
	for path, want := range map[string]string{
		"/models/a": "/models/a", "owner/repo": "hf://owner/repo", "owner/repo.v1-x": "hf://owner/repo.v1-x",
		"hf://owner/repo@v1":  "hf://owner/repo@v1",
		"https://host/a.gguf": "https://host/a.gguf", "s3://bucket/a": "s3://bucket/a", "./owner/repo": "./owner/repo",
		"../repo": "../repo",
		"~/repo":  "~/repo", "a/b/c": "a/b/c", "repo": "repo",
	} {
		status, text := st.lora(load, fmt.Sprintf(`{"lora_name":"a","lora_path":%q}`, path))
		if wanted := (lora.Spec{Name: "a", Source: want, Scale: 1, Settings: lora.Settings{Weight: 1}}); status != 200 ||
			!reflect.DeepEqual(fake.spec, wanted) {
			t.Errorf("%s: %d %s, asked for %+v", path, status, text, fake.spec)
		}
	}
}

// TestVLLMStates is what a name that is there already means.
func TestVLLMStates(t *testing.T) {
	t.Parallel()
	active := &lora.Version{Number: 1}
	for _, c := range []struct {
		name   string
		record lora.Record
		status int
	}{
		{"ready", lora.Record{State: lora.Ready, Active: active}, 400},
		{"replaced in vain", lora.Record{State: lora.Rejected, Active: active}, 400},
		{"being loaded", lora.Record{State: lora.Downloading}, 400},
		{"rejected", lora.Record{State: lora.Rejected}, 200},
		{"quarantined", lora.Record{State: lora.Quarantined}, 200},
	} {
		c.record.Kind = lora.KindAdapter
		c.record.Spec = lora.Spec{Name: "a", Source: "/old", Digest: "d", Scale: .5,
			Settings: lora.Settings{Aliases: []string{"x"}, Weight: 2}, Pin: true}
		fake := &fakeAdapters{record: &c.record}
		st := start(t, func(s *settings) { s.adapters = fake })
		if status, text := st.lora(load, `{"lora_name":"a","lora_path":"/new"}`); status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, status, text, c.status)
		}
		status, text := st.lora(load, `{"lora_name":"a","lora_path":"/new","load_inplace":true}`)
		want := lora.Spec{Name: "a", Source: "/new", Scale: .5, Settings: lora.Settings{Aliases: []string{"x"}, Weight: 2},
			Pin: true}
		if status != 200 || !reflect.DeepEqual(fake.spec, want) {
			t.Errorf("%s, in place: %d %s, asked for %+v", c.name, status, text, fake.spec)
		}
	}
}

// TestVLLMRefusals maps every code of the catalog, and shows no cause.
func TestVLLMRefusals(t *testing.T) {
	t.Parallel()
	fake := &fakeAdapters{}
	st := start(t, func(s *settings) { s.adapters = fake })
	secret := errors.New("/secret/path")
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{lora.Errorf(lora.NotFound, "m").Because(secret), 404, "invalid_request_error"},
		{lora.Errorf(lora.Conflict, "m").Because(secret), 409, "invalid_request_error"},
		{lora.Errorf(lora.Invalid, "m").Because(secret), 400, "invalid_request_error"},
		{lora.Errorf(lora.Refused, "m").Because(secret), 400, "invalid_request_error"},
		{lora.Errorf(lora.TooLarge, "m").Because(secret), 400, "invalid_request_error"},
		{lora.Errorf(lora.Failed, "m").Because(secret), 502, "server_error"},
		{lora.Errorf(lora.Failed, "m").Because(fs.ErrNotExist), 404, "invalid_request_error"},
		{secret, 500, "server_error"},
	} {
		fake.err = c.err
		for path, body := range map[string]string{load: `{"lora_name":"a","lora_path":"/a"}`, unload: `{"lora_name":"a"}`} {
			status, text := st.lora(path, body)
			if status != c.status || !strings.Contains(text, `"type":"`+c.kind+`"`) || strings.Contains(text, "secret") {
				t.Errorf("%v at %s: %d %s, want %d", c.err, path, status, text, c.status)
			}
		}
	}
}

// TestVLLMClientThatLeaves ends the wait, which is nobody's fault.
func TestVLLMClientThatLeaves(t *testing.T) {
	t.Parallel()
	fake := &fakeAdapters{waiting: make(chan context.Context)}
	st := start(t, func(s *settings) { s.adapters = fake })
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", st.url+load,
		strings.NewReader(`{"lora_name":"a","lora_path":"/a"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "left")
	left := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	<-fake.waiting
	leave()
	if err := <-left; err == nil {
		t.Error("it was answered")
	}
	if line := st.access("left"); line["status"] != 499.0 {
		t.Errorf("%v", line)
	}
}

// TestVLLMEndpointsWhileDraining change nothing any more.
func TestVLLMEndpointsWhileDraining(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.vllm = true })
	st.proxy.Drain()
	for _, path := range []string{load, unload} {
		if status, text := st.lora(path, `{"lora_name":"a","lora_path":"/a"}`); status != 503 ||
			!strings.Contains(text, "stopping") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

func TestVLLMEndpointsAreOff(t *testing.T) {
	t.Parallel()
	st := start(t, nil)
	for _, path := range []string{load, unload} {
		if status, text := st.lora(path, `{"lora_name":"coding"}`); status != 404 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
