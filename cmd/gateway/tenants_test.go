package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/auth"
)

// as sends a request with a key, and returns the answer and its body.
func (g *gatewayProcess) as(key, method, path, body string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// statusFor is as for a test that wants the status alone.
func (g *gatewayProcess) statusFor(key, method, path, body string) int {
	g.t.Helper()
	resp, _, err := g.as(key, method, path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode
}

func models(t *testing.T, text string) (ids []string) {
	t.Helper()
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	return ids
}

// cached returns how much of a prompt an answer says that it found.
func cached(t *testing.T, text string) int {
	t.Helper()
	var answer struct {
		Usage struct {
			Details struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return answer.Usage.Details.Cached
}

// TestTenantsShareNothing lets two tenants ask the same of one worker.
func TestTenantsShareNothing(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2)+fmt.Sprintf(`
tenants:
  - {name: acme, keys: [%s], models: [coding, legal], adapter: legal}
  - {name: other, keys: [%s], models: [coding, demo]}
`, auth.Hash("acme-key"), auth.Hash("other-key")))
	for key, want := range map[string][]string{"acme-key": {"coding", "legal"}, "other-key": {"coding", "demo"}} {
		_, text, err := g.as(key, "GET", "/v1/models", "")
		got := models(t, text)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s sees %v, %v", key, got, err)
		}
	}
	for _, c := range []struct {
		key, model string
		status     int
		adapter    string
	}{
		{"acme-key", "coding", 200, "coding"}, {"acme-key", "mine", 200, "legal"}, {"acme-key", "demo", 200, "legal"},
		{"acme-key", "chat", 404, ""},
		{"acme-key", "coding@0.5+legal@0.5", 200, "coding@0.5+legal@0.5"}, {"acme-key", "coding+chat", 404, ""},
		{"other-key", "legal", 404, ""}, {"other-key", "mine", 404, ""}, {"other-key", "demo", 200, "demo"},
		{"wrong", "coding", 401, ""},
	} {
		resp, text, err := g.as(c.key, "POST", chatPath, chat(c.model, "Hi", `,"max_tokens":2`))
		if err != nil || resp.StatusCode != c.status || resp.Header.Get("X-Adapter") != c.adapter {
			t.Errorf("%s, %s: %v, %s by %q", c.key, c.model, err, text, resp.Header.Get("X-Adapter"))
		}
	}
	// The same conversation, tenant after tenant, for more rounds than there are
	// slots: each finds its own KV and never the other's.
	conversation := func(n int) string {
		return chat("coding", fmt.Sprintf("%s Number %d?", strings.Repeat(sharedPrefixes[0], 3), n), `,"max_tokens":4`)
	}
	for n := range 3 {
		for i, key := range []string{"acme-key", "other-key", "acme-key", "other-key"} {
			_, text, err := g.as(key, "POST", chatPath, conversation(n))
			if err != nil {
				t.Fatal(err)
			}
			if got := cached(t, text); n == 0 && i < 2 && got != 0 || i >= 2 && got == 0 {
				t.Errorf("round %d, request %d by %s: %d tokens cached", n, i, key, got)
			}
		}
	}
}

// TestTenantsTakeTurns lets one tenant flood the adapter that others use: those
// wait for what runs and one more at most, by their turn or their priority, and
// not behind the flood.
func TestTenantsTakeTurns(t *testing.T) {
	const flood = 24
	g := serve(t, realConfig(t, 1, 1)+fmt.Sprintf(`
tenants:
  - {name: flood, keys: [%s]}
  - {name: equal, keys: [%s]}
  - {name: urgent, keys: [%s], priority: 2, weight: 0.1}
`, auth.Hash("flood-key"), auth.Hash("equal-key"), auth.Hash("urgent-key")))
	url := g.adminURL()
	var ended atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(flood, flood, func(i int) {
			if status := g.statusFor("flood-key", "POST", chatPath,
				chat("coding", fmt.Sprint("Count to ", i), `,"max_tokens":40`)); status != 200 {
				t.Errorf("the flood: %d", status)
			}
			ended.Add(1)
		})
	}()
	for waiting := 0; waiting < flood-4; {
		s, err := adminState(url)
		if err != nil {
			t.Fatal(err)
		}
		waiting = s.Queue.Waiting
	}
	for _, key := range []string{"equal-key", "urgent-key"} {
		before := ended.Load()
		if status := g.statusFor(key, "POST", chatPath, chat("coding", "Hi", `,"max_tokens":4`)); status != 200 {
			t.Errorf("%s: %d", key, status)
		}
		// One ran, one may have been placed since, and one may have ended meanwhile.
		if n := ended.Load() - before; n > 3 {
			t.Errorf("%s: %d of the flood ended before it", key, n)
		}
	}
	if ended.Load() > flood/2 {
		t.Errorf("%d of %d of the flood had ended: they proved nothing", ended.Load(), flood)
	}
	<-done
}

// TestQuotasAreExact lets 200 requests of one tenant come at once.
func TestQuotasAreExact(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, "")+fmt.Sprintf(`
tenants:
  - {name: acme, keys: [%s], requests_per_minute: 50}
  - {name: free, keys: [%s]}
`, auth.Hash("acme-key"), auth.Hash("free-key")))
	var passed, refused atomic.Int64
	each(200, 200, func(int) {
		resp, text, err := g.as("acme-key", "POST", chatPath, chat("coding", "Hi", ""))
		switch {
		case err != nil:
			t.Error(err)
		case resp.StatusCode == http.StatusOK && resp.Header.Get("X-Ratelimit-Limit-Requests") == "50":
			passed.Add(1)
		case resp.StatusCode == http.StatusTooManyRequests && strings.Contains(text, `"code":"rate_limit_exceeded"`) &&
			resp.Header.Get("Retry-After") != "" && resp.Header.Get("X-Worker") == "":
			refused.Add(1)
		default:
			t.Errorf("%d %s %v", resp.StatusCode, text, resp.Header)
		}
	})
	if passed.Load() != 50 || refused.Load() != 150 {
		t.Errorf("%d passed and %d were refused", passed.Load(), refused.Load())
	}
	if got := g.statusFor("free-key", "POST", chatPath, chat("coding", "Hi", "")); got != 200 {
		t.Errorf("another tenant: %d", got)
	}
}

// mixed sends n requests of two tenants, whole and streamed, some for a model that
// is not there; if leave is set, some clients leave streams that go on. It returns
// the tokens of the answers that were read to their end.
func (g *gatewayProcess) mixed(n int, leave bool) (completion int64) {
	var sum atomic.Int64
	each(8, n, func(i int) {
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		model := []string{"demo", "coding", "legal", "nobody"}[rng.IntN(4)]
		stream := rng.IntN(2) == 0
		leaves := leave && stream
		more := fmt.Sprintf(`,"max_tokens":%d,"stream":%t`, 1+rng.IntN(20), stream)
		if leaves {
			more = `,"max_tokens":900,"ignore_eos":true,"stream":true`
		}
		req, err := http.NewRequestWithContext(g.t.Context(), "POST", g.url+chatPath,
			strings.NewReader(chat(model, sharedQuestions[i%len(sharedQuestions)], more)))
		if err != nil {
			g.t.Error(err)
			return
		}
		req.Header.Set("X-Api-Key", fmt.Sprintf("k%d", i%2))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			g.t.Error(err)
			return
		}
		defer resp.Body.Close()
		if leaves {
			_, _ = io.ReadFull(resp.Body, make([]byte, 10))
			return
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			g.t.Error(err)
		}
		// In a whole answer and, though nobody asked for usage, at a stream's end.
		if at := strings.LastIndex(string(text), `"predicted_n":`); at >= 0 {
			var n int64
			fmt.Sscanf(string(text[at:]), `"predicted_n":%d`, &n)
			sum.Add(n)
		}
	})
	return sum.Load()
}

// TestUsageIsExact compares the account of 500 mixed requests with what clients
// read and what llama-server itself counts.
func TestUsageIsExact(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	config := realConfig(t, 1, 4) + fmt.Sprintf("state: {dir: %s}\ntenants: [{name: acme, keys: [%s]}, {name: other, "+
		"keys: [%s]}]\n", state, auth.Hash("k0"), auth.Hash("k1"))
	g := serve(t, config)
	url, client := g.adminURL(), g.admins()
	sum := func(by ...string) adminapi.UsageAnswer {
		t.Helper()
		u, err := client.Usage(t.Context(), map[string][]string{"by": {strings.Join(by, ",")}})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	total := func() (requests, prompt, completion int64) {
		for _, s := range sum("outcome").Sums {
			requests, prompt, completion = requests+s.Requests, prompt+s.PromptTokens-s.CachedTokens,
				completion+s.CompletionTokens
		}
		return requests, prompt, completion
	}
	const predicted, prompts = `llamacpp:tokens_predicted_total{worker="0"}`, `llamacpp:prompt_tokens_total{worker="0"}`
	selfTest, selfTestPrompts := g.metric(url, predicted), g.metric(url, prompts)

	read := g.mixed(400, false)
	g.settles(url)
	requests, prompt, completion := total()
	server, serverPrompts := int64(g.metric(url, predicted)-selfTest), int64(g.metric(url, prompts)-selfTestPrompts)
	t.Logf("%d requests: %d tokens of answers, clients read %d, llama-server counts %d; %d of prompts, llama-server "+
		"counts %d",
		requests, completion, read, server, prompt, serverPrompts)
	if requests != 400 || completion != read || completion != server || prompt != serverPrompts {
		t.Error("the accounts differ")
	}

	g.mixed(100, true)
	g.settles(url)
	requests, prompt, completion = total()
	server, serverPrompts = int64(g.metric(url, predicted)-selfTest), int64(g.metric(url, prompts)-selfTestPrompts)
	t.Logf("with streams that were left: %d requests, %d tokens of answers, llama-server counts %d; %d of prompts, "+
		"llama-server counts %d",
		requests, completion, server, prompt, serverPrompts)
	if requests != 500 || completion <= read || completion > server || prompt != serverPrompts {
		t.Error("streams that were left are not counted, or more than was made")
	}
	before := sum("day", "tenant", "model")
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	if code := g.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	g = serve(t, config)
	client = g.admins()
	if after := sum("day", "tenant", "model"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart the account is\n%+v\nbefore it was\n%+v", after, before)
	}
	resp, err := adminGet(g.adminURL(), "/admin/v1/usage?by=tenant&format=csv&from="+time.Now().UTC().Format(time.DateOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(text),
		"tenant,requests,prompt_tokens,cached_tokens,completion_tokens,queue_seconds,swap_seconds,generation_seconds\nacme,") {
		t.Errorf("%s, %v", text, err)
	}
}

// workerTokens is what the only worker counts.
func (g *gatewayProcess) workerTokens(url string) (prompt, completion int) {
	counter := func(name string) int { return int(g.metric(url, fmt.Sprintf(`llamacpp:%s{worker="0"}`, name))) }
	return counter("prompt_tokens_total") + counter("prompt_tokens_cached_total"), counter("tokens_predicted_total")
}

// accountTokens is what the account has of all requests.
func accountTokens(t *testing.T, client *adminclient.Client) (prompt, completion int) {
	t.Helper()
	u, err := client.Usage(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range u.Sums {
		prompt, completion = prompt+int(s.PromptTokens), completion+int(s.CompletionTokens)
	}
	return prompt, completion
}

// TestUsageOfSeveralAnswers asks for several answers, and for answers to several
// prompts: llama-server tells the usage of one of them.
func TestUsageOfSeveralAnswers(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	url, client := g.adminURL(), g.admins()
	server := func() (prompt, completion int) { return g.workerTokens(url) }
	account := func() (prompt, completion int) { return accountTokens(t, client) }
	for name, c := range map[string]struct {
		path, body string
		told       bool // the answer has a usage
	}{
		"choices": {chatPath, chat("coding", "Hi",
			`,"n":3,"max_tokens":7,"temperature":1.5,"ignore_eos":true`), true},
		"choices, to the end": {chatPath, chat("chat", "Hi", `,"n":2,"max_tokens":200`), true},
		"streamed choices":    {chatPath, chat("coding", "Hi there", `,"n":2,"max_tokens":9,"stream":true`), false},
		"prompts":             {"/v1/completions", `{"model":"legal","prompt":["Hi","What is a contract?",[5,6,7]],"max_tokens":6,"temperature":0,"ignore_eos":true}`, true},
		"prompts, to the end": {"/v1/completions", `{"model":"legal","prompt":["Hi","Who?"],"max_tokens":200,"temperature":0}`, true},
		"streamed prompts":    {"/v1/completions", `{"model":"legal","prompt":["Hi","What is a contract?"],"max_tokens":6,"stream":true}`, false},
		"both":                {"/v1/completions", `{"model":"legal","prompt":["Hi","What is a contract?"],"n":2,"max_tokens":6}`, true},
		"llama-server's own":  {"/completion", `{"model":"chat","prompt":["Hi","Who?"],"n_cmpl":2,"n_predict":5}`, false},
		"prompts as objects":  {"/v1/completions", `{"model":"legal","prompt":[{"prompt_string":"Hi"},{"prompt_string":"What is a contract?"}],"max_tokens":6,"temperature":0,"ignore_eos":true}`, true},
		"mixed prompts":       {"/v1/completions", `{"model":"legal","prompt":[["What is a contract?",5,6],[7,"Who are you?"]],"max_tokens":6,"temperature":0,"ignore_eos":true}`, true},
		"one mixed prompt": {"/v1/completions", `{"model":"legal","prompt":["What is a contract?",5],"max_tokens":6}`,
			true},
		"timings all along": {chatPath, chat("coding", "Hi you",
			`,"max_tokens":9,"stream":true,"timings_per_token":true`), false},
		"of choices, too": {chatPath, chat("coding", "Hi you",
			`,"n":2,"max_tokens":9,"stream":true,"timings_per_token":true,"stream_options":{"include_usage":true}`), false},
		"chosen fields": {"/completion", `{"model":"chat","prompt":"Who?","n_predict":5,"response_fields":["content"]}`,
			false},
		"one": {chatPath, chat("coding", "Hello?", `,"n":1,"max_tokens":5`), true},
	} {
		t.Run(name, func(t *testing.T) {
			promptBefore, completionBefore := account()
			serverPrompt, serverCompletion := server()
			status, text := g.post(c.path, c.body)
			if status != http.StatusOK || strings.Contains(c.body, "response_fields") && strings.Contains(text, "timings") {
				t.Fatalf("%d %s", status, text)
			}
			g.settles(url)
			prompt, completion := account()
			prompt, completion = prompt-promptBefore, completion-completionBefore
			wantPrompt, wantCompletion := server()
			wantPrompt, wantCompletion = wantPrompt-serverPrompt, wantCompletion-serverCompletion
			if prompt != wantPrompt || completion != wantCompletion || completion < 5 {
				t.Errorf("%d and %d tokens, llama-server counts %d and %d", prompt, completion, wantPrompt, wantCompletion)
			}
			var answer struct {
				Usage struct {
					Completion int `json:"completion_tokens"`
					Prompt     int `json:"prompt_tokens"`
					Total      int `json:"total_tokens"`
				}
			}
			if !c.told {
				return
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatal(err)
			}
			if u := answer.Usage; u.Completion != wantCompletion || u.Total != u.Prompt+u.Completion || u.Prompt != wantPrompt {
				t.Errorf("the answer says %+v, llama-server counts %d and %d", u, wantPrompt, wantCompletion)
			}
		})
	}
}

// TestUsageOfAnswersThatAreLeft lets clients leave whole answers, one and several
// choices, when some of them has been made.
func TestUsageOfAnswersThatAreLeft(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	url, client := g.adminURL(), g.admins()
	steps := func() int { return int(g.metric(url, `llamacpp:n_decode_total{worker="0"}`)) }
	for _, choices := range []int{1, 2} {
		before, err := client.Usage(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := steps()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			body := chat("coding", "Tell me everything", fmt.Sprintf(`,"n":%d,"max_tokens":900,"ignore_eos":true`, choices))
			req, err := http.NewRequestWithContext(ctx, "POST", g.url+chatPath, strings.NewReader(body))
			if err == nil {
				_, err = http.DefaultClient.Do(req)
			}
			left <- err
		}()
		for steps() < begun+10 {
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		g.settles(url)
		after, err := client.Usage(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		u := after.Sums[0]
		if len(before.Sums) > 0 {
			u.PromptTokens, u.CompletionTokens = u.PromptTokens-before.Sums[0].PromptTokens,
				u.CompletionTokens-before.Sums[0].CompletionTokens
		}
		if u.PromptTokens < 5 || u.CompletionTokens < 2 || u.CompletionTokens > 900*int64(choices) {
			t.Errorf("%d choices: %d and %d tokens", choices, u.PromptTokens, u.CompletionTokens)
		}
		t.Logf("%d choices: %d and %d tokens", choices, u.PromptTokens, u.CompletionTokens)
	}
}

// TestKeysOfOperators makes, rotates and revokes keys with the command line.
func TestKeysOfOperators(t *testing.T) {
	t.Parallel()
	file := fakeConfig(t, 1, "") + "tenants: [{name: acme}]\n"
	g := serve(t, file)
	if got := g.statusFor("", "POST", chatPath, chat("coding", "Hi", "")); got != 401 {
		t.Errorf("without a key: %d", got)
	}
	ask := func(secret string) int { return g.statusFor(secret, "POST", chatPath, chat("coding", "Hi", "")) }
	out, notes, err := g.operate("keys", "create", "acme", "--label", "laptop", "--expires", "1h")
	secret := strings.TrimSpace(out)
	if err != nil || !strings.HasPrefix(secret, "lg-") || !strings.Contains(notes, "not shown again") ||
		ask(secret) != 200 {
		t.Fatalf("%q, %q, %v", out, notes, err)
	}
	id, _, _ := strings.Cut(notes, ",")
	out, _, err = g.operate("keys", "ls")
	if err != nil || !strings.Contains(out, id) || !strings.Contains(out, "laptop") || strings.Contains(out, secret) {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = g.operate("keys", "rotate", id)
	if other := strings.TrimSpace(out); err != nil || ask(other) != 200 || ask(secret) != 200 {
		t.Errorf("rotated: %v", err)
	}
	if _, _, err := g.operate("keys", "revoke", id); err != nil || ask(secret) != 401 {
		t.Errorf("revoked: %v", err)
	}
	if _, _, err := g.operate("keys", "create", "nobody"); err == nil ||
		!strings.Contains(err.Error(), `There is no tenant "nobody"`) {
		t.Error(err)
	}
	if out, _, err := g.operate("usage", "--by", "tenant,model"); err != nil || !strings.Contains(out, "TENANT") ||
		!strings.Contains(out, "acme") {
		t.Errorf("%q, %v", out, err)
	}
	for _, line := range g.lines {
		if strings.Contains(fmt.Sprint(line), secret) {
			t.Errorf("the log has a key: %v", line)
		}
	}
}
