package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/pool"
)

// events reads a stream to its end.
func events(t *testing.T, body io.Reader) []string {
	t.Helper()
	var list []string
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			list = append(list, data)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("gpt-4o-mini", "chunks=4", `,"stream":true`))
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	list := events(t, strings.NewReader(text))
	if len(list) != 5 || list[4] != "[DONE]" {
		t.Fatalf("events: %q", list)
	}
	for i, e := range list[:4] {
		if !strings.Contains(e, `"model":"gpt-4o-mini"`) || !strings.Contains(e, fmt.Sprintf(`"content":"%d "`, i)) {
			t.Errorf("event %d: %s", i, e)
		}
	}
}

// TestEventsAreFlushedAsTheyCome reads an event of a stream that then stands
// still: it can only arrive if nothing holds it back.
func TestEventsAreFlushedAsTheyCome(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	resp := s.open(ctx, chat("coding", "idle=2", `,"stream":true`))
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 2 {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, fmt.Sprintf(`"content":"%d "`, i)) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		lines.ReadString('\n')
	}
	cancel()
	line := s.access(resp.Header.Get("X-Request-Id"))
	if line["status"] != 499.0 {
		t.Errorf("status in the log %v, want 499", line["status"])
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
}

func TestStreamThatTheWorkerFails(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("coding", "fail-at=2", `,"stream":true`))
	list := events(t, strings.NewReader(text))
	want := `{"error":{"message":"failed as told","type":"server_error","param":null,"code":null}}`
	if len(list) != 3 || list[2] != want {
		t.Errorf("events: %q", list)
	}
	s.access(resp.Header.Get("X-Request-Id"))
}

func TestWholeAnswerThatTheWorkerFails(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, text := s.post("/v1/completions", `{"model":"coding","prompt":"fail-at=2"}`)
	if resp.StatusCode != 500 || text != `{"error":{"message":"failed as told","type":"server_error","param":null,"code":null}}` {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	// A chat may have failed for being streamed.
	if resp, text := s.post(chatPath, chat("coding", "fail-at=2", "")); resp.StatusCode != 200 ||
		!strings.Contains(text, `"content":"fake"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// leave sends a request, waits until it runs and leaves it.
func (s *stack) leave(path, body string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	left := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "POST", s.url+path, strings.NewReader(body))
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				err = fmt.Errorf("answered with %d", resp.StatusCode)
			}
		}
		left <- err
	}()
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight > 0 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		s.t.Errorf("%s: %v", body, err)
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
}

func TestWhoLeavesAWholeAnswerFreesItsSlot(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots = 1 })
	s.leave(chatPath, chat("coding", "idle=1", ""))
	s.leave("/v1/completions", `{"model":"coding","prompt":"idle=3"}`)
	// The last prompt would end the worker.
	s.leave("/v1/completions", `{"model":"coding","prompt":["chunks=1","idle=1","die"]}`)
	resp, text := s.post("/v1/completions", `{"model":"coding","prompt":["chunks=1","chunks=2","hi"]}`)
	if resp.StatusCode != 200 || !strings.Contains(text, `"index":2`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if w := s.pool.Stats().Workers[0]; w.Restarts != 0 {
		t.Errorf("the worker was restarted: %+v", w)
	}
}

func TestWorkerDiesInMidStream(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("coding", "die-at=3", `,"stream":true`))
	list := events(t, strings.NewReader(text))
	want := `{"error":{"message":"The model's process ended while it was answering.","type":"server_error","param":null,"code":"worker_died"}}`
	if len(list) != 4 || list[3] != want {
		t.Errorf("events: %q", list)
	}
	line := s.access(resp.Header.Get("X-Request-Id"))
	if cause, _ := line["error"].(string); !strings.Contains(cause, "exit status 7") ||
		!strings.Contains(cause, "fake: told to die") {
		t.Errorf("the log does not tell how the worker ended: %v", line["error"])
	}
	if resp, text := s.post(chatPath, chat("coding", "hi", "")); resp.StatusCode != 200 {
		t.Errorf("after the restart: %d %s", resp.StatusCode, text)
	}
}

// TestResponseThatFails has its failure among its events, and then the error that OpenAI's SDKs raise.
func TestResponseThatFails(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for prompt, code := range map[string]string{"die-at=3": "worker_died", "fail-at=2": ""} {
		_, text := s.post("/v1/responses", fmt.Sprintf(`{"model":"coding","input":%q,"stream":true}`, prompt))
		list := events(t, strings.NewReader(text))
		var kinds []string
		for n, event := range list {
			var e struct {
				Type     string
				Number   int `json:"sequence_number"`
				Code     string
				Response struct{ Status string }
			}
			if err := json.Unmarshal([]byte(event), &e); err != nil || e.Number != n || e.Type == "error" && e.Code != code ||
				e.Type == "response.failed" && e.Response.Status != "failed" {
				t.Errorf("%v: event %d: %s", err, n, event)
			}
			kinds = append(kinds, e.Type)
		}
		if n := len(kinds); n < 5 || kinds[0] != "response.created" || kinds[n-2] != "response.failed" || kinds[n-1] != "error" {
			t.Errorf("%s: %q", prompt, kinds)
		}
	}
}

// TestAnswerThatTakesTooLong: it ends, its worker lives, and it does not run
// again.
func TestAnswerThatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.generation = 100 * time.Millisecond })
	resp, text := s.post(chatPath, chat("coding", "hang", ""))
	if resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(text, `"generation_timeout"`) {
		t.Errorf("whole: %d %s", resp.StatusCode, text)
	}
	_, text = s.post(chatPath, chat("coding", "idle=2", `,"stream":true`))
	list := events(t, strings.NewReader(text))
	if len(list) != 3 || !strings.Contains(list[2], `"generation_timeout"`) {
		t.Errorf("streamed: %q", list)
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
	if n := s.pool.Stats().Workers[0].Restarts; n != 0 {
		t.Errorf("the worker was replaced %d times", n)
	}
}

func TestWorkerDiesBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"", `,"stream":true`} {
		s := start(t, func(s *settings) { s.workers = 2 })
		marker := filepath.Join(t.TempDir(), "died")
		resp, text := s.post(chatPath, chat("coding", "die-once="+marker, stream))
		if resp.StatusCode != 200 {
			t.Errorf("stream %q: status %d: %s", stream, resp.StatusCode, text)
		}
		if _, err := os.Stat(marker); err != nil {
			t.Error("no worker died, so nothing was tested")
		}
		s.eventually(func(st pool.Stats) bool {
			return st.Workers[0].Up() && st.Workers[1].Up() && st.Workers[0].Restarts+st.Workers[1].Restarts == 1
		})
	}
}

// TestPoisonousRequest sends a request that ends every worker it runs on, beside others:
// it gets two workers, the others get their answers, and sent again it gets none.
func TestPoisonousRequest(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.workers = 3 })
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() {
			if resp, text := s.post(chatPath, chat("coding", "hi", "")); resp.StatusCode != 200 {
				t.Errorf("a request beside it: %d: %s", resp.StatusCode, text)
			}
		})
	}
	resp, text := s.post(chatPath, chat("coding", "die", ""))
	if resp.StatusCode != 502 || !strings.Contains(text, `"code":"worker_died"`) {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
	group.Wait()
	twoRestarts := func(st pool.Stats) bool {
		restarts := 0
		for _, w := range st.Workers {
			if !w.Up() {
				return false
			}
			restarts += w.Restarts
		}
		return restarts == 2
	}
	s.eventually(twoRestarts)
	resp, text = s.post(chatPath, chat("coding", "die", ""))
	if resp.StatusCode != 422 || resp.Header.Get("Retry-After") == "" ||
		!strings.Contains(text, `"code":"request_quarantined"`) {
		t.Errorf("sent again: %d: %s", resp.StatusCode, text)
	}
	if resp, text := s.post(chatPath, chat("base", "hi", "")); resp.StatusCode != 200 {
		t.Errorf("another request: %d: %s", resp.StatusCode, text)
	}
	s.eventually(twoRestarts)
}

func TestQueueFullAndWaitedTooLong(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots, s.queue, s.maxWait = 1, 1, 2*time.Second })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := s.open(ctx, chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()

	waiting := make(chan *http.Response)
	go func() {
		resp, err := http.Post(s.url+chatPath, "application/json", strings.NewReader(chat("coding", "hi", "")))
		if err != nil {
			t.Error(err)
		}
		waiting <- resp
	}()
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 1 })
	full, text := s.post(chatPath, chat("coding", "hi", ""))
	if full.StatusCode != 429 || full.Header.Get("Retry-After") == "" || !strings.Contains(text, `"code":"queue_full"`) {
		t.Errorf("full queue: %d, Retry-After %q: %s", full.StatusCode, full.Header.Get("Retry-After"), text)
	}
	waited := <-waiting
	if text := readAll(t, waited); waited.StatusCode != 429 || waited.Header.Get("Retry-After") == "" ||
		!strings.Contains(text, `"code":"queue_wait"`) {
		t.Errorf("waited too long: %d: %s", waited.StatusCode, text)
	}
}

func TestClientThatLeavesTheQueueFreesItsPlace(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := s.open(ctx, chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()
	ctx2, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx2, "POST", s.url+chatPath, strings.NewReader(chat("base", "hi", "")))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 1 })
	leave()
	if err := <-left; err == nil {
		t.Error("the request was answered")
	}
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 0 })
}

func TestDrainRefusesNewRequests(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.proxy.Drain()
	resp, text := s.post(chatPath, chat("coding", "hi", ""))
	if resp.StatusCode != 503 || !strings.Contains(text, `"code":"stopping"`) || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
	ready, err := http.Get(s.url + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, ready); ready.StatusCode != 503 {
		t.Errorf("/ready: %d, want 503", ready.StatusCode)
	}
}

func TestSlowBodyIsEnded(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.readTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", chatPath)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 408 {
		t.Errorf("status %d, want 408", resp.StatusCode)
	}
}

// TestBodyThatNobodyReadsDoesNotHoldTheConnection: the server reads a body to its
// end before it answers, also on routes that have no use for one.
func TestBodyThatNobodyReadsDoesNotHoldTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.readTimeout = 50 * time.Millisecond })
	for _, line := range []string{"POST /v1/nope", "GET /health"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", line)
		if _, err := io.ReadAll(conn); err != nil { // to the end: the server hangs up
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestClientThatDoesNotReadIsDropped lets a stream run into a client that reads
// nothing: its buffers fill up, and it must not keep the slot.
func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.writeTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := chat("coding", "chunks=100000000 size=100000", `,"stream":true`)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-Request-Id: deaf\r\nContent-Length: %d\r\n\r\n%s", chatPath,
		len(body), body)
	if line := s.access("deaf"); line["status"] != 499.0 {
		t.Errorf("status in the log %v, want 499", line["status"])
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
}

// TestConnectionOutlivesTheWriteDeadline uses a connection again when the write
// deadline of its last answer is over.
func TestConnectionOutlivesTheWriteDeadline(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.writeTimeout = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range 2 {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", chatPath)
		line, err := r.ReadString('\n') // "100 Continue", which nothing but the server writes
		if err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
		r.ReadString('\n')
		fmt.Fprint(conn, "{}")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		<-time.After(2 * 300 * time.Millisecond) // the deadline is the matter of this test
	}
}

// TestIdleStreamsLeaveNothingBehind holds 1,000 streams open that stand still
// and lets them all go: the requests end, in the log and in the pool, and no
// file descriptor stays. goleak checks the goroutines when all tests are over.
// It counts what the whole process has open, and so runs beside no other test.
func TestIdleStreamsLeaveNothingBehind(t *testing.T) {
	clients := 1000
	if testing.Short() {
		clients = 100
	}
	s := start(t, func(s *settings) { s.slots, s.queue = clients, clients })
	before := descriptors(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	bodies := make(chan io.Closer, clients)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", s.url+chatPath,
				strings.NewReader(chat("coding", "idle=1", `,"stream":true`)))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			bodies <- resp.Body
		})
	}
	wg.Wait()
	if st := s.pool.Stats(); st.Workers[0].InFlight != clients {
		t.Fatalf("%d streams in flight", st.Workers[0].InFlight)
	}
	leave()
	close(bodies)
	for body := range bodies {
		body.Close()
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
	http.DefaultClient.CloseIdleConnections()
	s.eventually(func(pool.Stats) bool { return descriptors(t) <= before+8 }) // the pool's own connections
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: file descriptors cannot be counted here")
	}
	return len(entries)
}

func TestLogHoldsNoPrompt(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, _ := s.post(chatPath, chat("coding", "my-secret-word", ""))
	s.access(resp.Header.Get("X-Request-Id"))
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	all, _ := json.Marshal(s.log.lines)
	if bytes.Contains(all, []byte("my-secret-word")) {
		t.Error("the prompt is in the log")
	}
}
