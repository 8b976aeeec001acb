package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestTemplatesWithOneSystemPrompt: many take one only, at the beginning. What the gateway makes of a
// request has no more where the client's own has one at each of its places, and what the template
// refuses is told in its own words, without its source.
func TestTemplatesWithOneSystemPrompt(t *testing.T) {
	t.Parallel()
	template, err := filepath.Abs(filepath.Join("testdata", "onesystem.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(realConfig(t, 1, 2), `args: ["--threads", "1"]`,
		fmt.Sprintf(`args: ["--threads", "1", "--jinja", "--chat-template-file", %q]`, template), 1)
	g := serve(t, config+"rules: [{match: ruled, model: demo, system: Be kind.}]\n")
	const system, user = `{"role":"system","content":"Be brief."}`, `{"role":"user","content":"Hi"}`
	const developer = `{"role":"developer","content":[{"type":"input_text","text":"Be brief."}]}`
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"model":"ruled","max_tokens":2,"messages":[` + system + `,` + user + `]}`},
		{"/v1/responses", `{"model":"demo","max_output_tokens":2,"instructions":"Be.","input":[` + developer + `,` + system + `,` + user + `]}`},
		{"/v1/responses", `{"model":"ruled","max_output_tokens":2,"input":[` + developer + `,` + user + `]}`},
		{"/v1/messages", `{"model":"demo","max_tokens":2,"system":"Be.","messages":[` + system + `,` + user + `]}`},
		{"/v1/messages", `{"model":"ruled","max_tokens":2,"messages":[` + system + `,` + user + `]}`},
		{"/v1/messages/count_tokens", `{"model":"ruled","system":"Be.","messages":[` + system + `,` + user + `]}`},
	} {
		if status, text := g.post(c.path, c.body); status != http.StatusOK {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, text)
		}
	}
	for path, field := range map[string]string{
		"/v1/chat/completions": "messages", "/v1/messages": "messages", "/v1/responses": "input",
	} {
		status, text := g.post(path, fmt.Sprintf(`{"model":"demo","max_tokens":2,%q:[%s,%s]}`, field, user, system))
		want := fmt.Sprintf(`The field \"%s\" is refused by the model's chat template: System message must be at the beginning.`, field)
		if status != http.StatusBadRequest || !strings.Contains(text, want) || strings.Contains(text, "{{") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
