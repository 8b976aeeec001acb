package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes on a connection of its own and returns all that comes back.
func (s *stack) raw(text string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn) // a reset after the answer is the server's right
	return string(answer)
}

// TestSmuggledRequestsAreRefused sends requests whose end two servers could see in
// different places: each is refused, and nothing behind it is read as another.
func TestSmuggledRequestsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const hidden = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
	body := chat("coding", "hi", "")
	for name, headers := range map[string]string{
		"two lengths":          fmt.Sprintf("Content-Length: %d\r\nContent-Length: 5\r\n", len(body)),
		"a list of lengths":    fmt.Sprintf("Content-Length: %d, 5\r\n", len(body)),
		"a signed length":      fmt.Sprintf("Content-Length: +%d\r\n", len(body)),
		"an unknown encoding":  "Transfer-Encoding: xchunked\r\n",
		"two encodings":        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"a space before colon": fmt.Sprintf("Content-Length : %d\r\n", len(body)),
		"a folded header": fmt.Sprintf("X: a\r\n Content-Length: 0\r\nContent-Length: %d\r\nContent-Length: 0\r\n",
			len(body)),
		"a header with a zero": fmt.Sprintf("X: a\x00b\r\nContent-Length: %d\r\n", len(body)),
	} {
		answer := s.raw("POST " + chatPath + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n" + body + hidden)
		if status, _, _ := strings.Cut(answer, "\r\n"); !strings.HasPrefix(status, "HTTP/1.1 400") &&
			!strings.HasPrefix(status, "HTTP/1.1 501") || strings.Contains(answer, `"ok"`) {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

func TestHeadersThatAreTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	answer := s.raw("GET /health HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 1<<20) + "\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 431") {
		t.Errorf("%.200q", answer)
	}
}

// TestHeadersThatClientsMakeUp: what the gateway says of itself in answers is not
// the client's to say, and the log has the address that the connection comes from.
func TestHeadersThatClientsMakeUp(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+chatPath,
		strings.NewReader(chat("coding", "echo", "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Adapter", "X-Worker", "X-Adapter-State", "X-Adapter-Digest", "X-Queue-Ms",
		"X-Forwarded-For", "X-Real-Ip", "X-Conversation-Id"} {
		req.Header.Set(name, "made-up")
	}
	req.Header.Set("X-Request-Id", "a\tb")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text := readAll(t, resp)
	if resp.StatusCode != 200 || resp.Header.Get("X-Adapter") != "coding" ||
		strings.Contains(text+fmt.Sprint(resp.Header), "made-up") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	if id := resp.Header.Get("X-Request-Id"); !strings.HasPrefix(id, "req_") {
		t.Errorf("a request id that could break a log line is kept: %q", id)
	}
	line := s.log.wait(t, func(l map[string]any) bool { return l["msg"] == "request" })
	if line["client"] != "127.0.0.1" || strings.Contains(fmt.Sprint(line), "made-up") {
		t.Errorf("the log believes it: %v", line)
	}
}

// TestLogsOfNamesThatBreakLines: what a client names stays within its line, in both
// formats.
func TestLogsOfNamesThatBreakLines(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	name := "x\nlevel=INFO msg=forged\r\n\x1b[31m"
	body, err := json.Marshal(map[string]any{"model": name, "messages": []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if resp, text := s.post(chatPath, string(body)); resp.StatusCode != 404 || !json.Valid([]byte(text)) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	line := s.log.wait(t, func(l map[string]any) bool { return strings.Contains(fmt.Sprint(l["error"]), "forged") })
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Warn("request", "error", line["error"])
	if strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("as text: %q", out.String())
	}
}

// TestHostileJSON: bodies that parsers choke on, or see in different ways.
func TestHostileJSON(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.body = 8 << 20 })
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"deep": {`{"model":"coding","x":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]",
			1_000_000) + `}`, 400},
		"deep objects": {`{"model":"coding","x":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}",
			100_000) + `}`, 400},
		"a huge number":         {`{"model":"coding","messages":[],"x":1e999999}`, 200},
		"a long number":         {`{"model":"coding","messages":[],"x":` + strings.Repeat("9", 10_000) + `}`, 200},
		"a number without end":  {`{"model":"coding","messages":[],"x":` + strings.Repeat("9", 1_000_000) + `}`, 400},
		"a huge n":              {`{"model":"coding","messages":[],"n":1e99}`, 400},
		"a model twice":         {`{"model":"coding","messages":[],"model":"nope"}`, 404},
		"a model in two ways":   {`{"model":"coding","messages":[],"mo\u0064el":"nope"}`, 404},
		"a model of other case": {`{"MODEL":"coding","messages":[]}`, 400},
		"no UTF-8 in the name":  {"{\"model\":\"cod\xffing\",\"messages\":[]}", 404},
		"half a surrogate":      {`{"model":"\ud800","messages":[]}`, 404},
		"a zero in the name":    {`{"model":"coding\u0000","messages":[]}`, 404},
		"two byte order marks":  {"\ufeff\ufeff" + `{"model":"coding","messages":[]}`, 400},
		"two bodies":            {`{"model":"coding","messages":[]}{"model":"nope"}`, 400},
		"a comment":             {`{"model":"coding",/* */"messages":[]}`, 400},
		"NaN":                   {`{"model":"coding","messages":[],"temperature":NaN}`, 400},
		"no object":             {`["coding"]`, 400},
		"a name like a file":    {`{"model":"../../etc/passwd","messages":[]}`, 404},
		"a name like a sum":     {`{"model":"coding@1e999","messages":[]}`, 404},
		"a name without an end": {`{"model":"` + strings.Repeat("x", 1_000_000) + `","messages":[]}`, 404},
		"a sum without an end":  {`{"model":"` + strings.Repeat("coding+", 100_000) + `coding","messages":[]}`, 404},
	} {
		if resp, text := s.post(chatPath, c.body); resp.StatusCode != c.status || len(text) > 10_000 {
			t.Errorf("%s: %d %.300s", name, resp.StatusCode, text)
		}
	}
	if resp, text := s.post(chatPath, chat("coding", "hi", "")); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, text)
	}
}

// TestCORS: web pages may call only if their origin is configured.
func TestCORS(t *testing.T) {
	t.Parallel()
	ask := func(s *stack, method, origin string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			req.Header.Set("Access-Control-Request-Method", "POST")
			req.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		return resp
	}
	off, on := start(t, nil), start(t, func(s *settings) {
		s.origins = []string{"https://app.example",
			"http://localhost:*"}
	})
	for _, c := range []struct {
		s      *stack
		origin string
		may    bool
	}{{off, "https://app.example", false}, {on, "https://app.example", true}, {on, "https://evil.example", false},
		{on, "null", false}, {on, "http://localhost:3000", true}, {on, "https://localhost:3000", false},
		{on, "http://localhost.evil.example:1", false}} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			h := ask(c.s, method, c.origin).Header
			if got := h.Get("Access-Control-Allow-Origin") == c.origin; got != c.may {
				t.Errorf("configured %v, %s from %s: %v", c.s == on, method, c.origin, h)
			}
		}
	}
	if h := ask(on, http.MethodOptions, "https://app.example").Header; h.Get("Access-Control-Allow-Headers") != "authorization,content-type" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %v", h)
	}
	if h := ask(on, http.MethodGet, "https://app.example").Header; !strings.Contains(h.Get("Access-Control-Expose-Headers"), "X-Ratelimit-Remaining-Tokens") || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("answer: %v", h)
	}
}

// TestPromptsAreLoggedOnDemand, and keys are not even then.
func TestPromptsAreLoggedOnDemand(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.logPrompts = true })
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+chatPath,
		strings.NewReader(chat("coding", "a secret wish", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer lg-secret-key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp)
	line := s.log.wait(t, func(l map[string]any) bool { return strings.Contains(fmt.Sprint(l["body"]), "a secret wish") })
	if strings.Contains(fmt.Sprint(line), "lg-secret-key") || line["request_id"] != resp.Header.Get("X-Request-Id") {
		t.Errorf("the log has %v", line)
	}
}

// TestHalfClosedConnection: to a client that has closed its side the request is
// over. It gets no answer, and not an empty one, which would look like success.
func TestHalfClosedConnection(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	body := chat("coding", "chunks=100000", "")
	if answer := s.raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(body),
		body)); answer != "" {
		t.Errorf("%q", answer)
	}
	s.log.wait(t, func(l map[string]any) bool { return l["status"] == 499.0 })
}

// TestRemoteMediaIsRefused in every way to name it; text may have addresses.
func TestRemoteMediaIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	part := func(text string) string {
		return `{"model":"coding","max_tokens":4,"messages":[{"role":"user","content":[` + text + `]}]}`
	}
	for name, c := range map[string]struct {
		path, body string
		refused    bool
	}{
		"http":     {chatPath, part(`{"type":"image_url","image_url":{"url":"http://10.0.0.1/"}}`), true},
		"capitals": {chatPath, part(`{"type":"image_url","image_url":{"url":"HTTPS://x/"}}`), true},
		"escaped": {chatPath, part(`{"type":"image_url","image\u005furl":{"url":"\u0068ttp:\/\/10.0.0.1\/"}}`),
			true},
		"a string":       {chatPath, part(`{"type":"image_url","image_url":"http://x/"}`), true},
		"a file":         {chatPath, part(`{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}`), true},
		"a file by path": {chatPath, part(`{"type":"image_url","image_url":{"url":"file:etc"}}`), true},
		"another scheme": {chatPath, part(`{"type":"image_url","image_url":{"url":"ftp://x/"}}`), true},
		"no scheme":      {chatPath, part(`{"type":"image_url","image_url":{"url":"//x/"}}`), true},
		"a path":         {chatPath, part(`{"type":"image_url","image_url":"/etc/passwd"}`), true},
		"capital data":   {chatPath, part(`{"type":"image_url","image_url":{"url":"DATA:image/png;base64,aHR0cDovLw==","detail":"auto"}}`), false},
		"a citation":     {chatPath, `{"model":"coding","messages":[{"role":"assistant","content":"x","annotations":[{"type":"url_citation","url_citation":{"url":"https://x/"}}]}]}`, false},
		"sound":          {chatPath, part(`{"type":"input_audio","input_audio":{"data":"http://x/"}}`), true},
		"video":          {chatPath, part(`{"type":"video_url","video_url":{"url":"http://x/"}}`), true},
		"responses":      {"/v1/responses", `{"model":"coding","input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x/"}]}]}`, true},
		"messages":       {"/v1/messages", part(`{"type":"image","source":{"type":"url","url":"http://x/"}}`), true},
		"counting": {"/v1/messages/count_tokens",
			part(`{"type":"image","source":{"type":"url","url":"http://x/"}}`), true},
		"a template":       {"/apply-template", part(`{"type":"image_url","image_url":{"url":"http://x/"}}`), true},
		"the last message": {chatPath, `{"model":"coding","messages":[],"messages":[{"role":"user","content":[{"type":"image_url","image_url":"http://x/"}]}]}`, true},
		"capital keys":     {"/v1/messages", part(`{"type":"image","source":{"type":"url","URL":"http://x/","url":"http://x/"}}`), true},
		"both keys":        {chatPath, part(`{"type":"image_url","image_url":{"url":"http://x/"},"image_url":{"url":"data:,"}}`), true},
		"in a result":      {chatPath, `{"model":"coding","messages":[{"role":"tool","content":[{"type":"image_url","image_url":{"url":"http://x/"}}]}]}`, true},
		"a tool's call":    {"/v1/messages", `{"model":"coding","max_tokens":4,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{"page_url":"https://x/","source":"http://y"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"see http://x"}]}]}`, false},
		"a chat's call":    {chatPath, `{"model":"coding","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"page_url":"https://x/"}}}]}]}`, false},
		"a response's":     {"/v1/responses", `{"model":"coding","input":[{"type":"function_call","call_id":"1","name":"f","arguments":"{\"page_url\":\"https://x/\"}"}]}`, false},
		"text":             {chatPath, part(`{"type":"text","text":"See http://x/ and file:///y"}`), false},
		"data":             {chatPath, part(`{"type":"image_url","image_url":{"url":"data:image/png;base64,aHR0cDovLw=="}}`), false},
		"a tool":           {chatPath, `{"model":"coding","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"image_url":{"default":"http://x"}}}}}]}`, false},
	} {
		resp, text := s.post(c.path, c.body) // what is let through may be nothing for the fake
		if refused := resp.StatusCode == 400 && strings.Contains(text, "limits.remote_media"); refused != c.refused {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	for _, key := range []string{"Source", "SOURCE"} {
		resp, text := s.post("/v1/messages", part(`{"type":"image","`+key+`":{"type":"url","url":"http://x/"}}`))
		if resp.StatusCode != 400 {
			t.Errorf("%s is taken for source: %d %s", key, resp.StatusCode, text)
		}
	}
	if resp, text := s.post("/v1/completions", `{"model":"coding","prompt":["x"`+strings.Repeat(`,"x"`,
		128)+`]}`); resp.StatusCode != 400 || !strings.Contains(text, "129 prompts") {
		t.Errorf("too many prompts: %d %s", resp.StatusCode, text)
	}
}

// TestGrammarsAreBounded: some end llama-server, or keep it at work for ever.
func TestGrammarsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.body = 8 << 20 })
	nested := func(n int) string { return "root ::= " + strings.Repeat("(", n) + "[a]" + strings.Repeat(")", n) }
	schema := func(n int) string { return strings.Repeat(`{"items":`, n) + "{}" + strings.Repeat("}", n) }
	for name, c := range map[string]struct {
		more  string
		param string // "" passes
	}{
		"a grammar":      {fmt.Sprintf(`,"grammar":%q`, nested(100)), ""},
		"a deep grammar": {fmt.Sprintf(`,"grammar":%q`, nested(200)), "grammar"},
		"a long grammar": {fmt.Sprintf(`,"grammar":%q`, strings.Repeat("x", 70_000)), "grammar"},
		"triggers":       {`,"grammar_triggers":[{"type":2,"value":"(.*)*z"}]`, "grammar_triggers"},
		"no triggers":    {`,"grammar_triggers":[]`, ""},
		"a schema":       {`,"response_format":` + schema(100), ""},
		"a deep schema":  {`,"response_format":` + schema(200), "response_format"},
		"a deep tool":    {`,"tools":[{"type":"function","function":{"name":"a","parameters":` + schema(200) + `}}]`, "tools"},
	} {
		resp, text := s.post(chatPath, chat("coding", "hi", c.more))
		if got := strings.Contains(text, fmt.Sprintf(`"param":%q`, c.param)); resp.StatusCode == 200 == (c.param != "") ||
			c.param != "" && !got {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	if resp, text := s.post("/tokenize", fmt.Sprintf(`{"content":%q}`,
		strings.Repeat("a ", 1_100_000))); resp.StatusCode != 413 {
		t.Errorf("a long text to count: %d %.200s", resp.StatusCode, text)
	}
}
