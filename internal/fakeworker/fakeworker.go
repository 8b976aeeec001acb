// Package fakeworker is a program that looks like llama-server from outside, for
// what a real one cannot be made to do: die at a chosen byte, hang, stream for
// ever without work. A test's TestMain calls MaybeMain, which takes over when the
// test binary was started again under the name Name.
//
// The last message of a chat request, or the prompt, says what to do in words
// separated by spaces; see the method run of answer.
package fakeworker

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Name is the program's name; MaybeMain runs it when the test binary has it.
const Name = "fake-llama-server"

// Poison in an adapter's file ends the program when it is to load it. Its length
// is even, so that it can stand among 16-bit weights.
const Poison = "fake-llama-server: end at load!!"

// Link puts a link to the running test binary under Name into a temporary
// directory and returns its path.
func Link(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), Name)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// MaybeMain runs the fake and exits, if the program was started as one.
func MaybeMain() {
	if filepath.Base(os.Args[0]) != Name {
		return
	}
	if len(os.Args) == 2 && slices.Contains([]string{"--version", "--help", "--list-devices"}, os.Args[1]) {
		fmt.Println("version: 99999 (fake)\n--kv-unified-per-slot N\nAvailable devices:\n  (none)")
		syscall.Exit(0) // os.Exit would wait for a second under the race detector
	}
	os.Exit(run(os.Args[1:]))
}

// server is one fake worker.
type server struct {
	alias    string
	key      string
	adapters []string

	mu   sync.Mutex
	busy []bool // by slot
}

func run(args []string) int {
	flags := flag.NewFlagSet(Name, flag.ContinueOnError)
	socket := flags.String("host", "", "")
	alias := flags.String("alias", "", "")
	s := &server{key: os.Getenv("LLAMA_API_KEY")}
	flags.Func("lora", "", func(paths string) error {
		s.adapters = append(s.adapters, strings.Split(paths, ",")...)
		return nil
	})
	slots := flags.Int("parallel", 1, "")
	failStart := flags.String("fail-start", "", "exit with 1 if this file exists")
	deaf := flags.Bool("deaf", false, "never become healthy")
	memory := flags.Int64("memory", math.MaxInt64, "exit with 1 if the adapters' files have more bytes")
	forget := flags.Bool("forget-last", false, "hold one adapter less than asked for")
	for _, ignored := range []string{"model", "ctx-size", "cache-ram", "slot-save-path", "threads", "device",
		"kv-unified-per-slot"} {
		flags.String(ignored, "", "")
	}
	for _, ignored := range []string{"no-webui", "metrics", "lora-init-without-apply", "kv-unified", "no-kv-unified"} {
		flags.Bool(ignored, false, "")
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if _, err := os.Stat(*failStart); err == nil {
		fmt.Fprintln(os.Stderr, "fake: told to fail at the start")
		return 1
	}
	s.alias, s.busy = *alias, make([]bool, *slots)
	taken := int64(0)
	for _, path := range s.adapters {
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte(Poison)) {
			fmt.Fprintln(os.Stderr, "fake: told to end by", path)
			return 1
		}
		taken += int64(len(text))
	}
	if taken > *memory {
		fmt.Fprintln(os.Stderr, "fake: failed to allocate buffer for lora adapter")
		return 1
	}
	if *forget {
		s.adapters = s.adapters[:len(s.adapters)-1]
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, "fake: listening")
	err = http.Serve(listener, s.routes(*deaf))
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func (s *server) routes(deaf bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		if deaf {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, `{"status":"ok"}`)
	})
	mux.HandleFunc("GET /props", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"default_generation_settings":{"n_ctx":256},"modalities":{"vision":true,"audio":false}}`)
	})
	mux.HandleFunc("GET /lora-adapters", s.listAdapters)
	mux.HandleFunc("POST /lora-adapters", func(w http.ResponseWriter,
		r *http.Request) {
		io.WriteString(w, `{"success":true}`)
	})
	mux.HandleFunc("GET /slots", s.listSlots)
	mux.HandleFunc("POST /slots/{id}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) })
	mux.HandleFunc("POST /completion", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"completion_probabilities":[]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", s.complete)
	mux.HandleFunc("POST /v1/completions", s.complete)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" && r.Header.Get("Authorization") != "Bearer "+s.key {
			http.Error(w, `{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}`,
				http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) listAdapters(w http.ResponseWriter, _ *http.Request) {
	type adapter struct {
		ID   int    `json:"id"`
		Path string `json:"path"`
	}
	list := []adapter{}
	for id, path := range s.adapters {
		list = append(list, adapter{id, path})
	}
	json.NewEncoder(w).Encode(list)
}

func (s *server) listSlots(w http.ResponseWriter, _ *http.Request) {
	type slot struct {
		ID         int  `json:"id"`
		Processing bool `json:"is_processing"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]slot, len(s.busy))
	for id, busy := range s.busy {
		list[id] = slot{id, busy}
	}
	json.NewEncoder(w).Encode(list)
}

// order is what a request asks the fake to do.
type order struct {
	Messages []struct {
		Content string `json:"content"`
	} `json:"messages"`
	Prompt string `json:"prompt"`
	Stream bool   `json:"stream"`
	// Options of a stream that asks for the usage make it tell what a whole answer
	// would.
	Options struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
	Slot *int `json:"id_slot"`
}

func (s *server) complete(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var o order
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		http.Error(w, `{"error":{"code":400,"message":"bad body","type":"invalid_request_error"}}`, http.StatusBadRequest)
		return
	}
	text := o.Prompt
	if n := len(o.Messages); n > 0 {
		text = o.Messages[n-1].Content
	}
	if o.Slot != nil && *o.Slot >= 0 && *o.Slot < len(s.busy) {
		s.occupy(*o.Slot, true)
		defer s.occupy(*o.Slot, false)
	}
	a := &answer{w: w, r: r, s: s, order: o, body: body, words: strings.Fields(text)}
	a.run()
}

func (s *server) occupy(slot int, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[slot] = busy
}

// answer carries out one order.
type answer struct {
	w     http.ResponseWriter
	r     *http.Request
	s     *server
	order order
	body  []byte
	words []string
}

// run does what the order's words say:
//
//	die             end the process before a byte is sent
//	die-once=FILE   the same, unless FILE exists, which is then made
//	die-at=N        send N events of a stream, then end the process
//	gate=FILE       if it is a stream, begin it with llama-server's comment for one that is silent,
//	                and do the rest when FILE exists
//	hang            send nothing until the client leaves
//	idle=N          send N events, then nothing until the client leaves
//	chunks=N        send N events and finish (default 3)
//	until=FILE      send events until FILE exists, then finish
//	size=N          make each event about N bytes long
//	echo            answer with the body that the worker got
//	refuse=N        answer with status N and llama-server's error
//	fail-at=N       send N events, then an error event
func (a *answer) run() {
	if file, ok := a.value("gate"); ok && !a.wait(file) {
		return
	}
	if file, ok := a.value("die-once"); ok {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			f.Close()
			a.die()
		}
	}
	switch {
	case slices.Contains(a.words, "die"):
		a.die()
	case slices.Contains(a.words, "hang"):
		<-a.r.Context().Done()
	case a.has("refuse"):
		status := a.number("refuse", 0)
		a.w.WriteHeader(status)
		fmt.Fprintf(a.w, `{"error":{"code":%d,"message":"refused as told","type":"exceed_context_size_error","n_ctx":1}}`,
			status)
	case a.order.Stream && a.order.Options.Usage && !a.paced():
		a.wholeStream()
	case a.order.Stream:
		a.stream()
	default:
		a.whole()
	}
}

// wait blocks until a file exists. It reports false if the client left before.
func (a *answer) wait(file string) bool {
	if a.order.Stream && !a.has("refuse") {
		a.w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(a.w, ":\n\n")
		a.w.(http.Flusher).Flush()
	}
	for a.r.Context().Err() == nil {
		if _, err := os.Stat(file); err == nil {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func (a *answer) die() {
	fmt.Fprintln(os.Stderr, "fake: told to die")
	os.Exit(7)
}

func (a *answer) value(name string) (string, bool) {
	for _, word := range a.words {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func (a *answer) has(name string) bool {
	_, ok := a.value(name)
	return ok
}

func (a *answer) number(name string, otherwise int) int {
	value, ok := a.value(name)
	n, err := strconv.Atoi(value)
	if !ok || err != nil {
		return otherwise
	}
	return n
}

func (a *answer) content() string {
	if slices.Contains(a.words, "echo") {
		return string(a.body)
	}
	return "fake"
}

func (a *answer) whole() {
	reply := map[string]any{
		"id": "fake", "object": "chat.completion", "created": 1, "model": a.s.alias, "zero": 0, "unknown": nil,
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop",
			"message": map[string]string{"role": "assistant", "content": a.content()},
			"text":    a.content(),
		}},
		"usage": map[string]int{"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
	}
	a.w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(a.w).Encode(reply)
}

// paced reports whether the order tells of single events.
func (a *answer) paced() bool {
	return slices.ContainsFunc([]string{"die-at", "idle", "chunks", "until", "size", "fail-at"}, a.has)
}

// wholeStream streams what whole answers.
func (a *answer) wholeStream() {
	a.w.Header().Set("Content-Type", "text/event-stream")
	event := func(choices any, more string) {
		text, _ := json.Marshal(choices) // strings and numbers always encode
		fmt.Fprintf(a.w, "data: {\"choices\":%s,\"created\":1,\"id\":\"fake\",\"model\":%q,\"object\":\"chat.completion.chunk\"%s}\n\n", text, a.s.alias, more)
	}
	choice := func(content string, finish any) []any {
		return []any{map[string]any{"index": 0, "delta": map[string]string{"content": content}, "text": content,
			"finish_reason": finish}}
	}
	event(choice(a.content(), nil), "")
	const usage = `,"zero":0,"unknown":null,"usage":{"completion_tokens":3,"prompt_tokens":5,"total_tokens":8}`
	if len(a.order.Messages) == 0 {
		event(choice("", "stop"), usage)
	} else {
		event(choice("", "stop"), "")
		event([]any{}, usage)
	}
	fmt.Fprint(a.w, "data: [DONE]\n\n")
}

func (a *answer) stream() {
	a.w.Header().Set("Content-Type", "text/event-stream")
	last := a.number("chunks", 3)
	release, until := a.value("until")
	padding := strings.Repeat("x", a.number("size", 0))
	for i := 0; a.r.Context().Err() == nil; i++ {
		if until {
			last = i + 1
			if _, err := os.Stat(release); err == nil {
				last = i
			}
		}
		switch {
		case i == a.number("die-at", -1):
			a.die()
		case i == a.number("idle", -1):
			<-a.r.Context().Done()
			return
		case i == a.number("fail-at", -1):
			fmt.Fprint(a.w, "data: {\"error\":{\"code\":500,\"message\":\"failed as told\",\"type\":\"server_error\"}}\n\n")
			return
		case i == last && !a.has("die-at") && !a.has("idle") && !a.has("fail-at"):
			fmt.Fprint(a.w, "data: [DONE]\n\n")
			return
		}
		fmt.Fprintf(a.w, "data: {\"object\":\"chat.completion.chunk\",\"id\":\"fake\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%d %s\"},\"finish_reason\":null}]}\n\n", a.s.alias, i, padding)
		a.w.(http.Flusher).Flush()
	}
}
