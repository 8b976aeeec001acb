package overhead

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// streamChunks is how many events a streamed answer has, less the final
// "data: [DONE]".
const streamChunks = 200

// upstream is a program that looks enough like llama-server for the gateway to
// run on it and that answers at once, with bytes made at the start. Keys are not
// checked. Nothing in it changes after newUpstream.
type upstream struct {
	health, adapters, applied, slots, erased, missing []byte   // whole answers
	completion                                        []byte   // whole answer
	streamed                                          [][]byte // the same as a stream, for those who put it together
	stream                                            [][]byte
}

func newUpstream(lora string, slots int) *upstream {
	type adapter struct {
		ID    int     `json:"id"`
		Path  string  `json:"path"`
		Scale float64 `json:"scale"`
	}
	type slot struct {
		ID         int  `json:"id"`
		Processing bool `json:"is_processing"`
	}
	loaded, idle := []adapter{}, []slot{}
	if lora != "" {
		for id, path := range strings.Split(lora, ",") {
			loaded = append(loaded, adapter{ID: id, Path: path})
		}
	}
	for id := range slots {
		idle = append(idle, slot{ID: id})
	}
	return &upstream{
		health:     answer("200 OK", []byte(`{"status":"ok"}`)),
		adapters:   answer("200 OK", mustJSON(loaded)),
		applied:    answer("200 OK", []byte(`{"success":true}`)),
		slots:      answer("200 OK", mustJSON(idle)),
		erased:     answer("200 OK", []byte(`{"id_slot":0,"n_erased":0}`)),
		missing:    answer("404 Not Found", []byte(`{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}`)),
		completion: answer("200 OK", []byte(completionJSON)),
		streamed:   streamAnswer(answerWords(), `"usage":`+usageJSON+`,`),
		stream:     streamAnswer(streamWords(), ""),
	}
}

// mustJSON encodes what cannot fail to be encoded.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// answerText is what completions say; the load generator looks for it.
const answerText = "Binary search halves the sorted range until the value is found or nothing is left."

// completionJSON is built as llama-server's answers are.
const completionJSON = `{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"` + answerText + `"}}],` +
	`"created":1763900000,"model":"demo","system_fingerprint":"b11669-5e1c8f3d2","object":"chat.completion",` +
	`"usage":` + usageJSON + `,` +
	`"id":"chatcmpl-Qm3vXo7hT2LrYkWc9ZpBn5sJd8EfGa1U",` +
	`"timings":{"cache_n":42,"prompt_n":16,"prompt_ms":9.182,"prompt_per_token_ms":0.573875,"prompt_per_second":1742.539,` +
	`"predicted_n":17,"predicted_ms":41.337,"predicted_per_token_ms":2.431588,"predicted_per_second":411.254}}`

const usageJSON = `{"completion_tokens":17,"prompt_tokens":58,"total_tokens":75,"prompt_tokens_details":{"cached_tokens":42}}`

func answer(status string, body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"+
		"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// streamWords are the texts of a long stream's events.
func streamWords() []string {
	words, all := strings.Fields(answerText), make([]string, streamChunks-2)
	for i := range all {
		all[i] = " " + words[i%len(words)]
	}
	return all
}

// answerWords are those of a stream that says no more than answerText.
func answerWords() []string { return strings.SplitAfter(answerText, " ") }

// streamAnswer returns what is written one by one: the header, an HTTP chunk for
// each event, and the chunk that ends the body. What more there is goes into an event
// of its own behind the others, as the usage does.
func streamAnswer(texts []string, more string) [][]byte {
	writes := [][]byte{[]byte("HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n" +
		"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")}
	chunk := func(event string) {
		text := "data: " + event + "\n\n"
		writes = append(writes, fmt.Appendf(nil, "%x\r\n%s\r\n", len(text), text))
	}
	event := func(finish, delta, more string) {
		chunk(`{"choices":[{"finish_reason":` + finish + `,"index":0,"delta":` + delta + `}],"created":1763900000,` +
			`"id":"chatcmpl-Qm3vXo7hT2LrYkWc9ZpBn5sJd8EfGa1U","model":"demo",` +
			`"system_fingerprint":"b11669-5e1c8f3d2","object":"chat.completion.chunk"` + more + `}`)
	}
	event("null", `{"role":"assistant","content":null}`, "")
	for _, text := range texts {
		event("null", `{"content":"`+text+`"}`, "")
	}
	const timings = `"timings":{"cache_n":42,"prompt_n":16,"prompt_ms":9.182,"predicted_n":198,"predicted_ms":481.5}`
	if more == "" {
		event(`"stop"`, "{}", ","+timings)
	} else {
		event(`"stop"`, "{}", "")
		chunk(`{"choices":[],"created":1763900000,"id":"chatcmpl-Qm3vXo7hT2LrYkWc9ZpBn5sJd8EfGa1U","model":"demo",` +
			`"system_fingerprint":"b11669-5e1c8f3d2","object":"chat.completion.chunk",` + more + timings + `}`)
	}
	chunk("[DONE]")
	return append(writes, []byte("0\r\n\r\n"))
}

// serve answers connections until the listener fails.
func (u *upstream) serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			u.answerAll(conn)
		}()
	}
}

// answerAll answers one connection's requests until it is to be closed. There is
// nobody to tell of an error: the other side sees the connection end.
func (u *upstream) answerAll(conn io.ReadWriter) {
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		again, err := u.answerOne(r, conn)
		if err != nil || !again {
			return
		}
	}
}

var (
	errRequestLine = errors.New("not a request line")
	goOn           = []byte("HTTP/1.1 100 Continue\r\n\r\n")
	streamTrue     = [][]byte{[]byte(`"stream":true`), []byte(`"stream": true`)}
	usageTrue      = []byte(`"include_usage":true`) // asks for what a whole answer tells
)

// answerOne reads one request, whole, and answers it. It reports whether the
// connection goes on.
func (u *upstream) answerOne(r *bufio.Reader, w io.Writer) (again bool, err error) {
	line, err := readLine(r)
	if err != nil {
		return false, err
	}
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 {
		return false, errRequestLine
	}
	again = string(version) == "HTTP/1.1"
	reply := u.route(method, target) // before the next read takes the line away
	f, err := readHeaders(r)
	if err != nil {
		return false, err
	}
	if f.expect {
		if _, err := w.Write(goOn); err != nil {
			return false, err
		}
	}
	var streamed, usage bool
	err = readBody(r, f, func(part []byte) {
		// Bodies are one write of less than the buffer, so the field is in one part.
		streamed = streamed || bytes.Contains(part, streamTrue[0]) || bytes.Contains(part, streamTrue[1])
		usage = usage || bytes.Contains(part, usageTrue)
	})
	if err != nil {
		return false, err
	}
	if reply == nil && streamed && usage {
		return again && !f.close, writeAll(w, u.streamed)
	}
	if reply == nil && streamed {
		return again && !f.close, writeAll(w, u.stream)
	}
	if reply == nil {
		reply = u.completion
	}
	_, err = w.Write(reply)
	return again && !f.close, err
}

// route returns the answer, or nil for a completion.
func (u *upstream) route(method, target []byte) []byte {
	path, _, _ := bytes.Cut(target, []byte("?"))
	get, post := string(method) == "GET", string(method) == "POST"
	switch {
	case post && string(path) == "/v1/chat/completions":
		return nil
	case get && string(path) == "/health":
		return u.health
	case get && string(path) == "/lora-adapters":
		return u.adapters
	case post && string(path) == "/lora-adapters":
		return u.applied
	case get && string(path) == "/slots":
		return u.slots
	case post && bytes.HasPrefix(path, []byte("/slots/")):
		return u.erased
	default:
		return u.missing
	}
}

// writeAll writes the parts one by one, as llama-server does.
func writeAll(w io.Writer, parts [][]byte) error {
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
