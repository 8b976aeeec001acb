package overhead

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// conversation is a connection whose other side has said all that it will.
type conversation struct {
	io.Reader
	said strings.Builder
}

func (c *conversation) Write(text []byte) (int, error) { return c.said.Write(text) }

func TestUpstreamTakesRequestsInEveryFraming(t *testing.T) {
	u := newUpstream("", 1)
	const chat = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		input string
		want  []string // what answers hold, in order
	}{
		"length": {chat + "content-length: 2\r\n\r\n{}", []string{answerText}},
		"chunked": {chat + "Transfer-Encoding: Chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n",
			[]string{answerText}},
		"stream":        {chat + "Content-Length: 15\r\n\r\n{\"stream\":true}", []string{"[DONE]"}},
		"stream, space": {chat + "Content-Length: 16\r\n\r\n{\"stream\": true}", []string{"[DONE]"}},
		"no stream":     {chat + "Content-Length: 16\r\n\r\n{\"stream\":false}", []string{answerText}},
		"two requests": {chat + "Content-Length: 2\r\n\r\n{}GET /health HTTP/1.1\r\n\r\n",
			[]string{answerText, `{"status":"ok"}`}},
		"after a stream": {chat + "Content-Length: 15\r\n\r\n{\"stream\":true}GET /health HTTP/1.1\r\n\r\n",
			[]string{"[DONE]", "ok"}},
		"to be closed": {"GET /health HTTP/1.1\r\nConnection: Close\r\n\r\nGET /health HTTP/1.1\r\n\r\n", []string{"ok"}},
		"old version":  {"GET /health HTTP/1.0\r\n\r\nGET /health HTTP/1.1\r\n\r\n", []string{"ok"}},
		"expects": {chat + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
			[]string{"100 Continue", answerText}},
		"query":            {"POST /slots/3?action=erase HTTP/1.1\r\nContent-Length: 0\r\n\r\n", []string{"n_erased"}},
		"unknown":          {"GET /nothing HTTP/1.1\r\n\r\n", []string{"404 Not Found"}},
		"cut body":         {chat + "Content-Length: 3\r\n\r\n{}", nil},
		"bad length":       {chat + "Content-Length: -1\r\n\r\n{}", nil},
		"bad chunk":        {chat + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", nil},
		"unknown encoding": {chat + "Transfer-Encoding: gzip\r\n\r\n{}", nil},
		"no request":       {"hello\r\n\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reader := range []io.Reader{strings.NewReader(c.input), iotest.OneByteReader(strings.NewReader(c.input))} {
				if _, slow := reader.(*strings.Reader); !slow && strings.Contains(name, "stream") {
					continue // the fake looks for the field in what came at once
				}
				talk := &conversation{Reader: reader}
				u.answerAll(talk)
				said := talk.said.String()
				if n := strings.Count(said, "HTTP/1.1 "); n != len(c.want) {
					t.Errorf("%d answers, want %d: %q", n, len(c.want), said)
				}
				for _, want := range c.want {
					_, after, found := strings.Cut(said, want)
					if !found {
						t.Errorf("no %q in %q", want, said)
					}
					said = after
				}
			}
		})
	}
}

// TestUpstreamIsRightHTTP lets the standard library judge the fake's answers.
func TestUpstreamIsRightHTTP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go newUpstream("/a.gguf,/b.gguf", 2).serve(listener)
	get := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+listener.Addr().String()+path,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
		}
		return string(text)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if got := get("GET", "/lora-adapters", ""); got != `[{"id":0,"path":"/a.gguf","scale":0},{"id":1,"path":"/b.gguf","scale":0}]` {
		t.Errorf("adapters: %s", got)
	}
	if got := get("GET", "/slots", ""); got != `[{"id":0,"is_processing":false},{"id":1,"is_processing":false}]` {
		t.Errorf("slots: %s", got)
	}
	if got := get("POST", "/v1/chat/completions", "{}"); !json.Valid([]byte(got)) || !strings.Contains(got, answerText) {
		t.Errorf("completion: %s", got)
	}
	events := strings.Split(strings.TrimSuffix(get("POST", "/v1/chat/completions", `{"stream":true}`), "\n\n"), "\n\n")
	if len(events) != streamChunks+1 || events[streamChunks] != "data: [DONE]" {
		t.Fatalf("%d events, the last %q", len(events), events[len(events)-1])
	}
	for _, event := range events[:streamChunks] {
		if data, ok := strings.CutPrefix(event, "data: "); !ok || !json.Valid([]byte(data)) {
			t.Errorf("event %q", event)
		}
	}
}

// wholeStream is a stream as clients see it, less HTTP.
func wholeStream() string {
	return strings.Repeat("data: {}\n\n", streamChunks) + "data: [DONE]\n\n"
}

func TestClientAcceptsOnlyWholeAnswers(t *testing.T) {
	whole := `{"content":"` + answerText + `"}`
	sized := func(body string, size int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body)
	}
	chunked := func(parts ...string) string {
		text := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, part := range parts {
			text += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
		}
		return text
	}
	const end = "0\r\n\r\n"
	stream := wholeStream()
	half := 100*len("data: {}\n\n") - 1 // between the two line feeds that end an event
	for name, c := range map[string]struct {
		answer string
		stream bool
		want   string // in the error; "" is none
	}{
		"whole":           {sized(whole, len(whole)), false, ""},
		"chunked":         {chunked(whole[:30], whole[30:]) + end, false, ""},
		"stream":          {chunked(stream) + end, true, ""},
		"stream in parts": {chunked(stream[:half], stream[half:]) + end, true, ""},
		"status": {strings.Replace(sized("busy", 4), "200 OK", "429 Too Many Requests", 1), false,
			`"HTTP/1.1 429 Too Many Requests": busy`},
		"short":      {sized(whole, len(whole)+1), false, "unexpected EOF"},
		"nothing":    {"", false, "unexpected EOF"},
		"other text": {sized("{}", 2), false, "not whole"},
		"cut text":   {sized(whole[:len(whole)-1], len(whole)-1), false, "not whole"},
		"no length":  {"HTTP/1.1 200 OK\r\n\r\n" + whole, false, "says nothing of its length"},
		"closing": {strings.Replace(sized(whole, len(whole)), "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1),
			false, errClosing.Error()},
		"stream without end": {chunked(stream), true, "unexpected EOF"},
		"not done": {chunked(strings.TrimSuffix(stream, "data: [DONE]\n\n")) + end, true,
			"does not end with [DONE]"},
		"lost event": {chunked(strings.TrimPrefix(stream, "data: {}\n\n")) + end, true, "199 events, not 200"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				defer theirs.Close()
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
					io.WriteString(theirs, c.answer)
				}
			}()
			client := &client{conn: ours, r: bufio.NewReader(ours), request: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
				stream: c.stream}
			_, err := client.once()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestLoadCountsFailures(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not today", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	f, err := dial(t.Context(), server.Listener.Addr().String(), 4, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	_, err = f.load(t.Context(), amount{time: time.Hour})
	if err == nil || !strings.Contains(err.Error(), "4 requests failed and 0 were answered") ||
		!strings.Contains(err.Error(), "not today") {
		t.Errorf("error %v", err)
	}
	if errors.Is(err, io.EOF) {
		t.Errorf("the answers were not read: %v", err)
	}
}

func TestValueOfAFlag(t *testing.T) {
	args := []string{"--kv-unified", "--port", "8001", "--lora"}
	for flag, want := range map[string]string{"--port": "8001", "--parallel": "1", "--lora": "1"} {
		if got := valueOf(args, flag, "1"); got != want {
			t.Errorf("%s is %q, not %q", flag, got, want)
		}
	}
}
