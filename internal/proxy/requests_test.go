package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.body = 2000 })
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"not JSON", "POST", chatPath, `{"model":`, 400,
			`{"error":{"message":"The request body is not valid JSON: unexpected end of JSON input at byte 9.","type":"invalid_request_error","param":null,"code":null}}`},
		{"not an object", "POST", chatPath, `[]`, 400,
			`{"error":{"message":"The request body must be a JSON object.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no body", "POST", chatPath, ``, 400, `{"error":{"message":"The request body is not valid JSON: unexpected end of JSON input at byte 0.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no model", "POST", chatPath, `{"messages":[]}`, 400,
			`{"error":{"message":"The field \"model\" is missing: name a model, as GET /v1/models lists them.","type":"invalid_request_error","param":"model","code":null}}`},
		{"model is null", "POST", chatPath, `{"model":null}`, 400,
			`{"error":{"message":"The field \"model\" is missing: name a model, as GET /v1/models lists them.","type":"invalid_request_error","param":"model","code":null}}`},
		{"model is a number", "POST", chatPath, `{"model":1}`, 400,
			`{"error":{"message":"The field \"model\" must be a string.","type":"invalid_request_error","param":"model","code":null}}`},
		{"unknown model", "POST", chatPath, chat("nope", "x", ""), 404,
			`{"error":{"message":"The model \"nope\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"the last duplicate counts", "POST", chatPath, `{"model":"coding","model":"nope"}`, 404,
			`{"error":{"message":"The model \"nope\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"stream is a word", "POST", chatPath, `{"model":"base","stream":"yes"}`, 400,
			`{"error":{"message":"The field \"stream\" must be true or false.","type":"invalid_request_error","param":"stream","code":null}}`},
		{"n is 0", "POST", chatPath, `{"model":"base","messages":[],"n":0}`, 400,
			`{"error":{"message":"The field \"n\" must be a whole number of at least 1.","type":"invalid_request_error","param":"n","code":null}}`},
		{"too large", "POST", chatPath, chat("base", strings.Repeat("x", 3000), ""), 413,
			`{"error":{"message":"The request body is larger than the limit of 2000 bytes.","type":"invalid_request_error","param":null,"code":"request_too_large"}}`},
		{"the worker's own", "POST", chatPath, chat("base", "refuse=400", ""), 400,
			`{"error":{"message":"refused as told","type":"invalid_request_error","param":null,"code":"context_length_exceeded","n_ctx":1}}`},
		{"the worker's own, for a stream", "POST", chatPath, chat("base", "refuse=400", `,"stream":true`), 400,
			`{"error":{"message":"refused as told","type":"invalid_request_error","param":null,"code":"context_length_exceeded","n_ctx":1}}`},
		{"no such endpoint", "POST", "/v1/nope", `{}`, 404,
			`{"error":{"message":"Not Found: there is no such endpoint.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no such method", "GET", chatPath, ``, 405,
			`{"error":{"message":"Method Not Allowed: there is no such endpoint.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no such model to show", "GET", "/v1/models/a/b", ``, 404,
			`{"error":{"message":"The model \"a/b\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.url+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp)
			if resp.StatusCode != tt.status || body != tt.want {
				t.Errorf("status %d, want %d\ngot  %s\nwant %s", resp.StatusCode, tt.status, body, tt.want)
			}
			if resp.Header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
		})
	}
}

func TestTooLargeWithoutALength(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.body = 2000 })
	body := io.MultiReader(strings.NewReader(chat("base", strings.Repeat("x", 3000), ""))) // chunked
	resp, err := http.Post(s.url+chatPath, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 413 {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", chatPath)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, resp); resp.StatusCode != 400 || !strings.Contains(text, "could not be read") {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
}

// seen returns the body that the worker got for a chat request.
func (s *stack) seen(body string) map[string]json.RawMessage {
	s.t.Helper()
	resp, text := s.post(chatPath, body)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		s.t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(answer.Choices[0].Message.Content), &got); err != nil {
		s.t.Fatal(err)
	}
	return got
}

func TestWorkerGetsTheLeasesAdapterAndSlot(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	tests := []struct {
		name, body, lora string
		slot             bool
	}{
		{"adapter", chat("coding", "echo", ""), `[{"id":0,"scale":1}]`, true},
		{"alias", chat("gpt-4o-mini", "echo", ""), `[{"id":0,"scale":1}]`, true},
		{"scale", chat("team/legal", "echo", ""), `[{"id":1,"scale":0.5}]`, true},
		{"base", chat("base", "echo", ""), `[{"id":0,"scale":0}]`, true},
		{"the client's own are overruled", chat("base", "echo",
			`,"lora":[{"id":1,"scale":9}],"id_slot":77,"lor\u0061":[]`), `[{"id":0,"scale":0}]`, true},
		{"several choices pick their slots", chat("coding", "echo", `,"n":2,"id_slot":1`), `[{"id":0,"scale":1}]`, false},
		{"under llama-server's name for n, too", chat("coding", "echo", `,"n_cmpl":2`), `[{"id":0,"scale":1}]`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.seen(tt.body)
			if string(got["lora"]) != tt.lora {
				t.Errorf("lora %s, want %s", got["lora"], tt.lora)
			}
			slot, ok := got["id_slot"]
			if ok != tt.slot || ok && string(slot) != "0" && string(slot) != "1" {
				t.Errorf("id_slot %s, %v", slot, ok)
			}
			if string(got["model"]) != `"base"` {
				t.Errorf("model %s", got["model"])
			}
		})
	}
}

func TestTransparent(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	got := s.seen(chat("coding", "echo", `,"temperature":0,"unknown":{"b":1,"a":0.10},"big":123456789012345678901234567890,"none":null`))
	for key, want := range map[string]string{
		"temperature": `0`, "unknown": `{"b":1,"a":0.10}`, "big": `123456789012345678901234567890`, "none": ``,
	} {
		if string(got[key]) != want {
			t.Errorf("%s reached the worker as %s, want %s", key, got[key], want)
		}
	}
	_, answer := s.post(chatPath, chat("gpt-4o-mini", "hi", ""))
	for _, want := range []string{`"model":"gpt-4o-mini"`, `"zero":0`, `"unknown":null`} {
		if !strings.Contains(answer, want) {
			t.Errorf("answer lacks %s: %s", want, answer)
		}
	}
}

func TestHeadersAndAccessLine(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, _ := s.post(chatPath, chat("gpt-4o-mini", "hi", ""))
	for key, want := range map[string]string{"X-Adapter": "coding", "X-Worker": "0", "X-Adapter-State": "swap"} {
		if got := resp.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if resp.Header.Get("X-Queue-Ms") == "" {
		t.Error("no X-Queue-Ms")
	}
	line := s.access(resp.Header.Get("X-Request-Id"))
	for key, want := range map[string]any{
		"model": "gpt-4o-mini", "adapter": "coding", "adapter_state": "swap", "status": 200.0, "stream": false,
		"prompt_tokens": 5.0, "completion_tokens": 3.0, "path": chatPath, "method": "POST", "level": "INFO",
	} {
		if line[key] != want {
			t.Errorf("access line: %s = %v, want %v", key, line[key], want)
		}
	}
	resp, _ = s.post(chatPath, chat("coding", "hi", ""))
	if got := resp.Header.Get("X-Adapter-State"); got != "warm" {
		t.Errorf("second request: %q, want warm", got)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for given, kept := range map[string]bool{"my-id.1": true, "": false, "a b": false, strings.Repeat("x", 129): false} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+"/health", nil)
		req.Header.Set("X-Request-Id", given)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if got := resp.Header.Get("X-Request-Id"); (got == given) != kept || got == "" {
			t.Errorf("given %q, answered %q", given, got)
		}
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	get := func(path string) map[string]any {
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(readAll(t, resp)), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var names []string
	for _, m := range get("/v1/models")["data"].([]any) {
		m := m.(map[string]any)
		names = append(names, fmt.Sprintf("%s %s of %s", m["id"], m["kind"], m["base"]))
	}
	want := "base base of base, coding adapter of base, gpt-4o-mini alias of base, team/legal adapter of base"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("models: %s\nwant:   %s", got, want)
	}
	for _, path := range []string{"/v1/models/team/legal", "/v1/models/team%2Flegal"} {
		if m := get(path); m["id"] != "team/legal" || m["parent"] != "base" {
			t.Errorf("%s: %v", path, m)
		}
	}
	m := get("/v1/models/coding")
	if text := fmt.Sprint(m["context_length"], m["max_model_len"],
		m["architecture"]); text != "256 256 map[input_modalities:[text image] modality:text+image->text "+
		"output_modalities:[text]]" {
		t.Errorf("what it takes: %s", text)
	}
	if m := get("/v1/models/gpt-4o-mini"); m["root"] != "coding" || m["description"] != "Writes <code>." {
		t.Errorf("an alias does not tell what it stands for: %v", m)
	}
}
