package proxy_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lora calls one of vLLM's endpoints and returns the status and the answer.
func (st *stack) lora(path, body string, header ...string) (int, string) {
	st.t.Helper()
	req, err := http.NewRequestWithContext(st.t.Context(), "POST", st.url+path, strings.NewReader(body))
	if err != nil {
		st.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
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
		{load, `{"lora_name":"new","lora_path":"` + file + `","lora_int_id":7,"base_model_name":"x"}`, 200, "Success: LoRA adapter 'new' added successfully."},
		{load, `{"lora_name":"new","lora_path":"` + file + `"}`, 400, "already been loaded"},
		{load, `{"lora_name":"new","lora_path":"` + file + `","load_inplace":true}`, 200, "added successfully"},
		{load, `{"lora_path":"/a"}`, 400, "lora_name"},
		{load, `{"lora_name":"a"}`, 400, "lora_path"},
		{load, `{"lora_name":"a b","lora_path":"/a"}`, 400, "cannot name a model"},
		{load, `{"lora_name":3}`, 400, "not valid"},
		{load, `{`, 400, "not valid"},
		{load, `{"lora_name":"coding","lora_path":"` + file + `","load_inplace":true}`, 409, "comes from the configuration"},
		{load, `{"lora_name":"gone","lora_path":"/no/such/file"}`, 502, "no such file"},
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
	st := start(t, func(s *settings) { s.vllm, s.adminToken = true, "0123456789abcdef" })
	for header, want := range map[string]int{"": 401, "Bearer wrong": 401, "0123456789abcdef": 401, "Bearer 0123456789abcdef": 404} {
		if status, text := st.lora(unload, `{"lora_name":"nobody"}`, "Authorization", header); status != want {
			t.Errorf("%q: %d %s, want %d", header, status, text, want)
		}
	}
}

func TestVLLMEndpointsAreOff(t *testing.T) {
	st := start(t, nil)
	for _, path := range []string{load, unload} {
		if status, text := st.lora(path, `{"lora_name":"coding"}`); status != 404 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
