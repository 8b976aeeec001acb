package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	soakClients = 12
	soakTime    = 15 * time.Second // unless LORAGATE_SOAK says otherwise
	// soakLimit is how long any one request may take: what takes longer hangs.
	soakLimit = 60 * time.Second
)

// hangUp says when a client breaks its request off.
type hangUp int

const (
	never       hangUp = iota
	inBody             // before the request is sent whole
	anyTime            // at a moment that has nothing to do with the answer
	inMidAnswer        // after some of the answer
)

// soakRequest is one random request.
type soakRequest struct {
	path, body string
	stream     bool
	choices    int
	hangUp     hangUp
	after      int // of the moment: milliseconds, or bytes of the answer
}

func randomRequest(rng *rand.Rand) soakRequest {
	models := []string{"demo", "coding", "chat", "medical", "legal", "legal-r4", "chat-r16"}
	r := soakRequest{path: chatPath, stream: rng.IntN(2) == 0, choices: 1}
	if rng.IntN(8) == 0 {
		r.choices = 2
	}
	prompt := strings.Repeat(sharedPrefixes[rng.IntN(len(sharedPrefixes))], []int{1, 1, 4, 16}[rng.IntN(4)])
	prompt += sharedQuestions[rng.IntN(len(sharedQuestions))]
	body := map[string]any{
		"model": models[rng.IntN(len(models))], "stream": r.stream, "n": r.choices,
		"max_tokens": 1 + rng.IntN(120), "ignore_eos": rng.IntN(2) == 0,
	}
	if rng.IntN(3) == 0 {
		r.path, body["prompt"] = "/v1/completions", prompt
	} else {
		body["messages"] = []message{{"user", prompt}}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	r.body = string(text)
	if rng.IntN(3) == 0 {
		r.hangUp = []hangUp{inBody, anyTime, inMidAnswer}[rng.IntN(3)]
	}
	if r.after = rng.IntN(400); r.hangUp == inMidAnswer {
		r.after = rng.IntN(8000)
	}
	return r
}

// ending is what became of a request.
type ending string

const (
	whole     ending = "whole"
	cancelled ending = "cancelled"
	failed    ending = "failed, with one clear error"
)

// breakReader cancels the request that reads it as its body.
type breakReader struct{ cancel context.CancelFunc }

func (b breakReader) Read([]byte) (int, error) {
	b.cancel()
	return 0, context.Canceled
}

// run sends the request and says how it ended; an error is an end that no client
// should see.
func (r soakRequest) run(url string) (ending, error) {
	limited, release := context.WithTimeout(context.Background(), soakLimit)
	defer release()
	ctx, cancel := context.WithCancel(limited)
	defer cancel()
	var body io.Reader = strings.NewReader(r.body)
	switch r.hangUp {
	case inBody:
		body = io.MultiReader(strings.NewReader(r.body[:len(r.body)/2]), breakReader{cancel})
	case anyTime:
		defer time.AfterFunc(time.Duration(r.after)*time.Millisecond, cancel).Stop()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+r.path, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = int64(len(r.body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r.broken(err)
	}
	defer resp.Body.Close()
	begin, err := io.ReadAll(io.LimitReader(resp.Body, r.reads()))
	if err != nil {
		return r.broken(err)
	}
	if int64(len(begin)) == r.reads() {
		cancel()
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		return r.broken(err)
	}
	return r.judge(resp.StatusCode, append(begin, rest...))
}

// reads is how many bytes of the answer the client reads before it hangs up.
func (r soakRequest) reads() int64 {
	if r.hangUp == inMidAnswer {
		return int64(r.after)
	}
	return math.MaxInt64
}

// broken judges a request whose answer did not come to an end.
func (r soakRequest) broken(err error) (ending, error) {
	if r.hangUp != never && errors.Is(err, context.Canceled) {
		return cancelled, nil
	}
	return "", fmt.Errorf("broken off by the gateway, or hanging: %w", err)
}

// judge looks whether an answer that the client has read to its end says
// clearly what it is.
func (r soakRequest) judge(status int, text []byte) (ending, error) {
	switch {
	case status == http.StatusOK && r.stream:
		return r.judgeStream(string(text))
	case status == http.StatusOK:
		return whole, r.complete(text)
	case status != http.StatusBadGateway && status != http.StatusServiceUnavailable &&
		status != http.StatusTooManyRequests:
		return "", fmt.Errorf("status %d: %s", status, text)
	}
	return failed, isEnvelope(text)
}

// complete checks a whole answer.
func (r soakRequest) complete(text []byte) error {
	var answer struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	for _, c := range answer.Choices {
		if c.FinishReason == "" {
			return fmt.Errorf("a choice did not finish: %s", text)
		}
	}
	if len(answer.Choices) != r.choices {
		return fmt.Errorf("%d choices of %d: %s", len(answer.Choices), r.choices, text)
	}
	return nil
}

// judgeStream checks that a stream has one end: [DONE], or an error event.
func (r soakRequest) judgeStream(text string) (ending, error) {
	rest, ended := strings.CutSuffix(text, "\n\n")
	events := strings.Split(rest, "\n\n")
	failures, finished := 0, 0
	for _, event := range events {
		data, _ := strings.CutPrefix(event, "data: ")
		var part struct {
			Error   json.RawMessage
			Choices []struct {
				FinishReason string `json:"finish_reason"`
			}
		}
		if data != "[DONE]" {
			if err := json.Unmarshal([]byte(data), &part); err != nil {
				return "", fmt.Errorf("%w in the event %q", err, event)
			}
		}
		if part.Error != nil {
			failures++
		}
		for _, c := range part.Choices {
			if c.FinishReason != "" {
				finished++
			}
		}
	}
	last := strings.TrimPrefix(events[len(events)-1], "data: ")
	switch done := strings.Count(text, "data: [DONE]"); {
	case !ended:
	case last == "[DONE]" && done == 1 && failures == 0 && finished == r.choices:
		return whole, nil
	case done == 0 && failures == 1:
		return failed, isEnvelope([]byte(last))
	}
	return "", fmt.Errorf("a stream with %d errors and %d choices finished of %d that ends with %.300q", failures,
		finished, r.choices, last)
}

// isEnvelope checks that text is OpenAI's error and nothing else.
func isEnvelope(text []byte) error {
	var e struct {
		Error struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Error.Message == "" || e.Error.Type == "" || e.Error.Code == "" {
		return fmt.Errorf("no clear error: %v in %s", err, text)
	}
	return nil
}

// soakTally counts endings.
type soakTally struct {
	mu    sync.Mutex
	ends  map[ending]int
	sent  int
	wrong []string
}

func (c *soakTally) count(r soakRequest, e ending, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("%s %s: %v", r.path, r.body, err))
		return
	}
	c.ends[e]++
}

// TestSoak lets random clients and a killer loose on real workers. Whatever
// happens, each request ends in one way that its client can tell, and in the end
// nothing is left running and every request was counted.
func TestSoak(t *testing.T) {
	lasts := soakTime
	if text := os.Getenv("LORAGATE_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("LORAGATE_SOAK: %v", err)
		}
	}
	const seed = 3
	g := serve(t, realConfig(t, 2, 4)+"scheduler: {max_wait: 30s}\n")
	url := g.adminURL()
	c := soakTally{ends: map[ending]int{}}
	over := time.Now().Add(lasts)
	var clients sync.WaitGroup
	for id := range soakClients {
		rng := rand.New(rand.NewPCG(seed, uint64(id)))
		clients.Go(func() {
			for time.Now().Before(over) {
				r := randomRequest(rng)
				e, err := r.run(g.url)
				c.count(r, e, err)
			}
		})
	}
	attacks := 0
	clients.Go(func() { attacks = g.attackUntil(over) })
	kills := g.killUntil(rand.New(rand.NewPCG(seed, soakClients)), over)
	clients.Wait()
	c.sent += attacks
	for _, w := range c.wrong[:min(5, len(c.wrong))] {
		t.Errorf("wrong: %s", w)
	}
	counted := g.settles(url)
	t.Logf("%d requests in %s, %d of them attacks, %d workers killed: %d whole, %d cancelled, %d failed with one clear "+
		"error, %d wrong; the gateway saw %d: %v",
		c.sent, lasts, attacks, kills, c.ends[whole], c.ends[cancelled], c.ends[failed], len(c.wrong), g.completions(),
		counted)
	if kills == 0 || attacks == 0 || c.ends[whole] == 0 || c.ends[cancelled] == 0 {
		t.Error("a soak without kills, attacks, whole answers or cancelled ones tests nothing")
	}
	if seen := g.completions(); seen > c.sent || seen < c.ends[whole]+c.ends[failed] {
		t.Errorf("the gateway saw %d requests of %d", seen, c.sent)
	}
	if counted["ok"] < c.ends[whole] || counted["error"]+counted["rejected"] < c.ends[failed] {
		t.Errorf("clients had %d whole answers and %d errors, counted were %v", c.ends[whole], c.ends[failed], counted)
	}
}

// attackUntil sends a request each second that would end a worker, or block it, if one
// got it, and returns how many there were. Each is refused, whatever else happens.
func (g *gatewayProcess) attackUntil(over time.Time) (attacks int) {
	for {
		for name, request := range hostile() {
			if request.status != http.StatusBadRequest {
				continue
			}
			if time.Until(over) < time.Second {
				return attacks
			}
			time.Sleep(time.Second) // nobody waits for this: it only spreads the attacks
			attacks++
			resp, err := http.Post(g.url+request.path, "application/json",
				strings.NewReader(`{"model":"coding",`+request.more+`}`))
			if err != nil {
				g.t.Errorf("attack %s: %v", name, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != request.status {
				g.t.Errorf("attack %s: %s", name, resp.Status)
			}
		}
	}
}

// killUntil kills a random worker's process every few seconds and returns how
// many it has killed.
func (g *gatewayProcess) killUntil(rng *rand.Rand, over time.Time) (kills int) {
	g.t.Helper()
	for {
		pause := 2*time.Second + time.Duration(rng.IntN(3000))*time.Millisecond
		if time.Until(over) < pause {
			return kills
		}
		time.Sleep(pause) // nobody waits for this: it only spreads the kills
		pid := g.lastPID(rng.IntN(2))
		// It may have died and not be back: its number could be anybody's by now.
		if slices.Contains(descendants(g.t, g.cmd.Process.Pid), pid) && isServer(pid) {
			syscall.Kill(pid, syscall.SIGKILL)
			kills++
		}
	}
}

// lastPID returns the latest process of a worker that the log told of.
func (g *gatewayProcess) lastPID(worker int) (pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range g.lines {
		if line["msg"] == "worker ready" && line["worker"] == float64(worker) {
			pid = int(line["pid"].(float64))
		}
	}
	return pid
}

// generating are the endpoints whose requests are counted.
var generating = []string{"/v1/completions", chatPath, "/v1/responses", "/v1/messages", "/completion", "/infill"}

// completions counts the requests for completions in the access log.
func (g *gatewayProcess) completions() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range g.lines {
		if path, _ := line["path"].(string); line["msg"] == "request" && slices.Contains(generating, path) {
			n++
		}
	}
	return n
}

// settles blocks until nothing waits or runs and as many requests are counted as
// the access log has. It returns the counts by outcome.
func (g *gatewayProcess) settles(url string) map[string]int {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		s, err := adminState(url)
		if err != nil {
			g.t.Fatal(err)
		}
		busy := s.Queue.Waiting > 0
		for _, w := range s.Workers {
			busy = busy || w.InFlight > 0
		}
		counted := g.requestsTotal(url)
		sum := 0
		for _, n := range counted {
			sum += n
		}
		if !busy && sum == g.completions() {
			return counted
		}
		select {
		case <-tick.C:
		case <-limit:
			g.t.Fatalf("not at rest after 30 s: %d counted, %d in the access log, %d waiting, workers %+v",
				sum, g.completions(), s.Queue.Waiting, s.Workers)
		}
	}
}

// scrape returns the gateway's metrics as they are now.
func (g *gatewayProcess) scrape(url string) string {
	g.t.Helper()
	resp, err := adminGet(url, "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// metric returns the value of one series, named with its labels.
func (g *gatewayProcess) metric(url, series string) int {
	g.t.Helper()
	for line := range strings.Lines(g.scrape(url)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				g.t.Fatalf("%v in %s", err, line)
			}
			return n
		}
	}
	g.t.Fatalf("there is no metric %s", series)
	return 0
}

// requestsTotal reads loragate_requests_total, summed over models, by outcome.
func (g *gatewayProcess) requestsTotal(url string) map[string]int {
	g.t.Helper()
	counted := map[string]int{}
	for line := range strings.Lines(g.scrape(url)) {
		labels, ok := strings.CutPrefix(line, "loragate_requests_total{")
		if !ok {
			continue
		}
		_, rest, _ := strings.Cut(labels, `outcome="`)
		outcome, rest, _ := strings.Cut(rest, `"`)
		n, err := strconv.Atoi(strings.TrimSpace(strings.TrimLeft(rest, "}")))
		if err != nil {
			g.t.Fatalf("%v in %s", err, line)
		}
		counted[outcome] += n
	}
	return counted
}

// TestSoakJudges holds the soak's judgement to what it has to find.
func TestSoakJudges(t *testing.T) {
	t.Parallel()
	const (
		part  = `data: {"choices":[{"finish_reason":null}]}` + "\n\n"
		end   = `data: {"choices":[{"finish_reason":"stop"}]}` + "\n\n"
		done  = "data: [DONE]\n\n"
		death = `data: {"error":{"message":"m","type":"server_error","param":null,"code":"worker_died"}}` + "\n\n"
	)
	for text, want := range map[string]ending{
		part + end + done:               whole,
		part + death:                    failed,
		part:                            "", // truncated between events
		part + end:                      "",
		part + done:                     "", // never finished
		part + end[:20]:                 "",
		part + strings.TrimSpace(death): "",
		part + death + death:            "",
		part + death + part:             "",
		part + death + done:             "",
		part + end + done + done:        "",
	} {
		r := soakRequest{stream: true, choices: 1}
		if got, err := r.judge(http.StatusOK, []byte(text)); got != want && err == nil || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}
