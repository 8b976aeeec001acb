package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The facts of docs/llama-server.md about HTTP; facts_test.go says what they are for.

// TestFactLastDuplicateKeyCounts: the body editor resolves duplicates like this.
func TestFactLastDuplicateKeyCounts(t *testing.T) {
	s := factServer(t)
	text := fmt.Sprintf(`{"prompt":%q,"n_predict":1,"n_predict":3,"temperature":0}`, factPrompt)
	var reply struct {
		Predicted int `json:"tokens_predicted"`
	}
	s.Must(t, http.MethodPost, "/completion", json.RawMessage(text), &reply)
	if reply.Predicted != 3 {
		t.Errorf("%d tokens, want the last key's 3", reply.Predicted)
	}
}

// TestFactErrors: the proxy turns these into OpenAI's.
func TestFactErrors(t *testing.T) {
	s := factServer(t)
	status, text, err := s.Do(http.MethodPost, "/v1/completions", object{"prompt": strings.Repeat("word ", 3000)})
	var long struct {
		Error struct {
			Type   string
			Prompt int `json:"n_prompt_tokens"`
			Ctx    int `json:"n_ctx"`
		}
	}
	json.Unmarshal(text, &long)
	if err != nil || status != http.StatusBadRequest || long.Error.Type != "exceed_context_size_error" ||
		long.Error.Prompt <= long.Error.Ctx || long.Error.Ctx != 1024 { // context is slots x context a slot
		t.Errorf("too long a prompt: %d %s, %v", status, text, err)
	}
	status, text, err = s.Do(http.MethodPost, "/v1/chat/completions", json.RawMessage(`{"messages":"x"}`))
	if err != nil || status != http.StatusBadRequest || !bytes.Contains(text, []byte(`"invalid_request_error"`)) {
		t.Errorf("a bad field: %d %s, %v", status, text, err)
	}
}

// TestFactStreamedAnswerClosesTheConnection, whatever its header says: the next
// request needs another one.
func TestFactStreamedAnswerClosesTheConnection(t *testing.T) {
	s := factServer(t)
	conn, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"prompt":"x","n_predict":2,"stream":true}`
	fmt.Fprintf(conn, "POST /completion HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Close || resp.Header.Get("Keep-Alive") == "" {
		t.Error("llama-server now says what it does")
	}
	fmt.Fprint(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n") // may fail already
	if text, _ := io.ReadAll(r); len(text) > 0 {
		t.Errorf("the connection lives on: %q", text)
	}
}

// TestFactKeyProtectsAllButHealth is what the random keys of workers lean on.
func TestFactKeyProtectsAllButHealth(t *testing.T) {
	s := factServer(t, "--api-key", "secret")
	for path, want := range map[string]int{"/health": 200, "/lora-adapters": 401, "/slots": 401} {
		if status, _, err := s.Do(http.MethodGet, path, nil); err != nil || status != want {
			t.Errorf("%s without the key: %d, %v; want %d", path, status, err, want)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/completion"} {
		if status, _, err := s.Do(http.MethodPost, path, object{}); err != nil || status != 401 {
			t.Errorf("%s without the key: %d, %v; want 401", path, status, err)
		}
	}
}

// TestFactProgressOfAPrompt: it is told, when asked for, in events of its own
// before the first text.
func TestFactProgressOfAPrompt(t *testing.T) {
	s := factServer(t)
	_, text, err := s.Do(http.MethodPost, "/v1/chat/completions", object{
		"messages": []object{{"role": "user", "content": factPrompt}}, "max_tokens": 2, "stream": true,
		"return_progress": true, "lora": lora(0, 1),
	})
	before, _, _ := strings.Cut(string(text), `"content":"`)
	if n := strings.Count(before, `"prompt_progress":{"total":`); err != nil || n != 2 ||
		strings.Count(string(text), "prompt_progress") != n {
		t.Errorf("told %d times, %v: %s", n, err, text)
	}
	if !strings.Contains(before, `"cache":0,"processed":0,`) {
		t.Errorf("it does not begin with what is cached: %s", before)
	}
}

// TestFactResponsesIgnoreTheFormatOfTheirText: a schema counts where chat
// completions have it.
func TestFactResponsesIgnoreTheFormatOfTheirText(t *testing.T) {
	s := factServer(t)
	schema := object{"enum": []string{"yes"}}
	for key, format := range map[string]object{
		"text":            {"format": object{"type": "json_schema", "name": "n", "schema": schema}},
		"response_format": {"type": "json_schema", "json_schema": object{"name": "n", "schema": schema}},
	} {
		_, text, err := s.Do(http.MethodPost, "/v1/responses",
			object{"input": factPrompt, "max_output_tokens": 32, "lora": lora(0, 1), key: format})
		if obeyed := strings.Contains(string(text), `"text":"\"yes\""`); err != nil || obeyed != (key == "response_format") {
			t.Errorf("%s: %v %s", key, err, text)
		}
	}
}
