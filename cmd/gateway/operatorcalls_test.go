package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/cli"
	"github.com/loragate/loragate/internal/gateway"
	"github.com/loragate/loragate/internal/llamatest"
)

// script is an admin API that says what it was told to.
type script struct {
	url string

	mu      sync.Mutex
	answers map[string][]string // by method and path; the last one stays
	calls   []string            // with their bodies
	tokens  []string
}

// newScript answers calls in turn with JSON, and with a refusal where there is
// none.
func newScript(t *testing.T, answers map[string][]string) *script {
	t.Helper()
	s := &script{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/health" { // asked for where the token is, by whoever has none
		io.WriteString(w, `{"status":"ok"}`)
		return
	}
	s.calls = append(s.calls, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	key := r.Method + " " + r.URL.Path
	list := s.answers[key]
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"there is no `+r.URL.Path+`","code":"not_found"}}`)
		return
	}
	if len(list) > 1 {
		s.answers[key] = list[1:]
	}
	if list[0] == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	io.WriteString(w, list[0])
}

// operate runs a command of the command line against it.
func (s *script) operate(t *testing.T, args ...string) (out, progress string, err error) {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := cli.Command(version, &stdout, &stderr)
	cmd.SetArgs(append(args, "--admin", s.url))
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// TestOperatorJSON prints what the API answers, with what the command line does
// not know of.
func TestOperatorJSON(t *testing.T) {
	t.Parallel()
	const one = `{"state":"ready","name":"a","version":2,"digest":"ab","scale":1.50,"of_the_future":{"b":[1,null]}}`
	const zero = `{"id":0,"pid":%d,"in_flight":0,"drained":true,"of_the_future":1e3}`
	worker := func(pid int) string { return fmt.Sprintf(zero, pid) }
	s := newScript(t, map[string][]string{
		"GET /admin/v1/adapters":             {`{"adapters":[` + one + `],"next":null}`},
		"GET /admin/v1/adapters/a":           {one},
		"PUT /admin/v1/adapters/a":           {`{"state":"downloading"}`},
		"POST /admin/v1/adapters/a/pin":      {one},
		"POST /admin/v1/adapters/a/rollback": {one},
		"DELETE /admin/v1/adapters/a":        {""},
		"GET /admin/v1/workers":              {`{"workers":[{"id":1},` + worker(8) + `]}`},
		"POST /admin/v1/workers/0/drain":     {worker(7)},
		"POST /admin/v1/workers/0/resume":    {worker(7)},
		"POST /admin/v1/workers/0/restart":   {worker(7)},
	})
	for args, want := range map[string]string{
		"adapters ls":                     `{"adapters":[` + one + `],"next":null}`,
		"adapters show a":                 one,
		"adapters add a /a.gguf":          one,
		"adapters add a hf://x --no-wait": `{"state":"downloading"}`,
		"adapters pin a":                  one,
		"adapters unpin a":                one,
		"adapters rollback a":             one,
		"adapters rm a":                   "",
		"workers ls":                      `{"workers":[{"id":1},` + worker(8) + `]}`,
		"workers drain 0":                 worker(7),
		"workers drain 0 --wait":          worker(8),
		"workers resume 0":                worker(7),
		"workers restart 0 --wait":        worker(8),
	} {
		out, _, err := s.operate(t, append(strings.Fields(args), "--json")...)
		var compact bytes.Buffer
		if want != "" && err == nil {
			err = json.Compact(&compact, []byte(out))
		}
		if err != nil || compact.String() != want {
			t.Errorf("%s: %v, %s", args, err, out)
		}
	}
	if out, _, err := s.operate(t, "adapters", "show", "b", "--json"); err == nil || out != "" {
		t.Errorf("a refusal: %v, %q", err, out)
	}
}

// TestAddSends looks at what an adapter's flags become, and what is sent instead
// of a path to a gateway elsewhere.
func TestAddSends(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.gguf")
	if err := os.WriteFile(file, []byte("GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	const query = "?aliases=x&aliases=y&description=good+for&digest=d&filename=a.gguf&max_concurrency=3&pin=true&preload=true&scale=-0.5&weight=2 "
	flags := slices.Concat(strings.Fields("--digest d --scale -0.5 --alias x --alias y --weight 2 --max-concurrency 3 "+
		"--pin --preload --no-wait"), []string{"--description", "good for"})
	ready := []string{`{"state":"ready"}`}
	s := newScript(t, map[string][]string{
		"PUT /admin/v1/adapters/a": ready, "PUT /admin/v1/adapters/a/file": ready, "GET /admin/v1/adapters/a": ready,
	})
	elsewhere := strings.Replace(s.url, "127.0.0.1", "0.0.0.0", 1) // is this machine all the same
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(flags, "a.gguf"), `PUT /admin/v1/adapters/a {"aliases":["x","y"],"description":"good for","digest":"d",` +
			`"max_concurrency":3,"pin":true,"preload":true,"scale":-0.5,"source":"` + file + `","weight":2}`},
		{append(flags, "a.gguf", "--upload"), "PUT /admin/v1/adapters/a/file" + query + "GGUF"},
		{append(flags, "a.gguf", "--admin", elsewhere), "PUT /admin/v1/adapters/a/file" + query + "GGUF"},
		{[]string{"hf://owner/repo@main", "--no-wait", "--admin", elsewhere},
			`PUT /admin/v1/adapters/a {"source":"hf://owner/repo@main"}`},
		{[]string{"--part", "b=0.5", "--part", "c", "--weight", "2", "--no-wait"},
			`PUT /admin/v1/adapters/a {"parts":[{"adapter":"b","scale":0.5},{"adapter":"c","scale":null}],"weight":2}`},
		{[]string{"--upload", "a.gguf"}, "GET /admin/v1/adapters/a"}, // it waits
		{[]string{"--part", "b"}, "GET /admin/v1/adapters/a"},
	} {
		cmd := cli.Command(version, io.Discard, io.Discard)
		cmd.SetArgs(append([]string{"adapters", "add", "a", "--admin", s.url}, c.args...)) // the last one counts
		if err := cmd.ExecuteContext(t.Context()); err != nil || s.calls[len(s.calls)-1] != c.want {
			t.Errorf("%v: %v, sent %q, want %q", c.args, err, s.calls[len(s.calls)-1], c.want)
		}
	}
}

// TestOperatorAccess is about where the address and the token come from.
func TestOperatorAccess(t *testing.T) {
	s := newScript(t, map[string][]string{
		"GET " + adminapi.AdaptersPath: {`{}`}, "GET " + adminapi.WorkersPath: {`{}`},
		"GET " + adminapi.StatePath: {`{"time":"2030-01-01T00:00:00Z"}`},
	})
	good, empty := filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "empty")
	for file, text := range map[string]string{good: "the-token-in-a-file\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const nowhere = "127.0.0.1:1"
	for _, c := range []struct {
		url, token string // of the environment
		args       string
		want       string // the token that was sent, or the error's text
		err        bool
	}{
		{s.url, "", "", "", false},
		{s.url, "the-token-there-is", "", "Bearer the-token-there-is", false},
		{s.url, "the-token-there-is", "--token-file " + good, "Bearer the-token-in-a-file", false},
		{nowhere, "", "--admin " + s.url + " --token-file " + good, "Bearer the-token-in-a-file", false},
		{s.url, "", "--admin " + nowhere, "no gateway answers at the admin address http://" + nowhere, true},
		{"ftp://host", "", "", `GATEWAY_ADMIN_URL: "ftp://host"`, true},
		{s.url, "", "--token-file " + empty, "--token-file: " + empty + " is empty", true},
		{s.url, "", "--token-file " + good + "-not", "--token-file: open " + good + "-not: no such file", true},
		{s.url, "two words", "", "GATEWAY_ADMIN_TOKEN: a token has printable ASCII", true},
		{s.url, "", "--token the-token", "unknown flag: --token", true},
	} {
		t.Setenv("GATEWAY_ADMIN_URL", c.url)
		t.Setenv("GATEWAY_ADMIN_TOKEN", c.token)
		for _, name := range []string{"adapters ls", "workers ls", "top --once"} {
			s.tokens = nil
			cmd := cli.Command(version, io.Discard, io.Discard)
			cmd.SetArgs(strings.Fields(name + " " + c.args))
			err := cmd.ExecuteContext(t.Context())
			ownWords := name == "top --once" // of an address where there is nothing
			switch {
			case c.err && (err == nil || !ownWords && !strings.Contains(err.Error(), c.want) || s.tokens != nil):
				t.Errorf("%s %+v: %v, tokens %q", name, c, err, s.tokens)
			case !c.err && (err != nil || len(s.tokens) != 1 || s.tokens[0] != c.want):
				t.Errorf("%s %+v: %v, tokens %q", name, c, err, s.tokens)
			}
			if err != nil && c.token != "" && strings.Contains(err.Error(), c.token) {
				t.Errorf("%s %+v: the token is in %q", name, c, err)
			}
		}
	}
}

// TestRemoveSeveral removes what can be removed.
func TestRemoveSeveral(t *testing.T) {
	t.Parallel()
	s := newScript(t, map[string][]string{"DELETE /admin/v1/adapters/a": {""}, "DELETE /admin/v1/adapters/c": {""}})
	_, said, err := s.operate(t, "adapters", "rm", "a", "b", "c", "d")
	if said != "a is removed\nc is removed\n" || err == nil ||
		err.Error() != "there is no /admin/v1/adapters/b\nthere is no /admin/v1/adapters/d" {
		t.Errorf("%q, %v", said, err)
	}
}

// TestWaitForWorkers asks until it is as it is to be, and no longer.
func TestWaitForWorkers(t *testing.T) {
	t.Parallel()
	list := func(workers ...string) (answers []string) {
		for _, w := range workers {
			answers = append(answers, `{"workers":[{"id":0,`+w+`}]}`)
		}
		return answers
	}
	busy, old := `"drained":true,"in_flight":1`, `"pid":7,"state":"up"`
	for _, c := range []struct {
		name, args, then string
		later            []string
		asked            int
		says             string // on standard output, or in the error if there is one
		err              bool
	}{
		{"drained at last", "drain 0", busy, list(busy, busy, `"drained":true,"state":"drained"`), 3, "drained", false},
		{"resumed meanwhile", "drain 0", busy, list(busy, `"in_flight":1`), 2,
			"worker 0 was resumed before nothing ran on it", true},
		{"restarted", "restart 0", old, list(old, `"pid":0,"state":"down"`, `"pid":8,"state":"up"`), 3, "8", false},
		{"down at once", "restart 0", `"pid":0,"state":"down"`, list(`"pid":0,"state":"down"`, `"pid":8,"state":"up"`), 2,
			"8", false},
		{"a spare took its place", "restart 0", old, list(old, `"pid":0,"state":"spare"`), 2, "spare", false},
		{"gone meanwhile", "restart 0", old, []string{`{"workers":[{"id":1}]}`}, 1, "there is no worker 0", true},
	} {
		verb, _, _ := strings.Cut(c.args, " ")
		s := newScript(t, map[string][]string{
			"POST /admin/v1/workers/0/" + verb: {`{"id":0,` + c.then + `}`}, "GET /admin/v1/workers": c.later,
		})
		out, _, err := s.operate(t, append(strings.Fields("workers "+c.args), "--wait")...)
		if err != nil {
			out = err.Error()
		}
		if (err != nil) != c.err || !strings.Contains(out, c.says) || len(s.calls) != 1+c.asked {
			t.Errorf("%s: %v, %s, after %q", c.name, err, out, s.calls)
		}
	}
}

// TestDrainWaitsForRequests drains a worker of a gateway while a request runs.
func TestDrainWaitsForRequests(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	release := filepath.Join(t.TempDir(), "release")
	resp := g.open(t.Context(), chat("coding", "until="+release, `,"stream":true`))
	defer resp.Body.Close()
	drained := make(chan error, 1)
	go func() {
		out, _, err := g.operate("workers", "drain", "0", "--wait")
		if err == nil && (!strings.Contains(out, "drained") || !strings.Contains(out, "0/4")) {
			err = errors.New(out)
		}
		drained <- err
	}()
	client := g.admins()
	for isDrained := false; !isDrained; {
		list, err := client.Workers(t.Context())
		if err != nil || len(list) != 1 || list[0].InFlight != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		isDrained = list[0].Drained
		select {
		case err := <-drained:
			t.Fatalf("it did not wait for the request: %v", err)
		default:
		}
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the request: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestOperatorStatus runs commands as processes, as scripts do.
func TestOperatorStatus(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), gatewayName)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(broken, []byte("no GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"adapters ls", 0, "coding"},
		{"adapters add bad " + broken, 1, "gateway: broken.gguf: not a GGUF file"},
		{"adapters show nobody", 1, `gateway: There is no adapter "nobody".`},
		{"adapters nonsense", 1, `gateway: unknown command "nonsense" for "gateway adapters"`},
		{"workers", 0, "Available Commands:"},
	} {
		cmd := exec.CommandContext(t.Context(), link, strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "GATEWAY_ADMIN_URL"+"="+g.adminURL())
		text, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		status := 0
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: status %d, %s", c.args, status, text)
		}
	}
}

// TestOperatorsOnRealWorkers holds what the commands say to what is served.
func TestOperatorsOnRealWorkers(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 2, 2))
	one, two := llamatest.Variant(t, "one", 1), llamatest.Variant(t, "two", 2)
	ref := llamatest.NewReference(t)
	answers := func(when, file string) {
		t.Helper()
		tr := trial{model: "shop", file: file, prompt: sdkQuestion, chat: true}
		want := tr.want(ref)
		if got, err := tr.ask(g); err != nil || want.Judge(got) == llamatest.Wrong {
			t.Errorf("%s: got %q, %v; want %q", when, got, err, want.Text)
		}
	}
	do := func(args ...string) string {
		t.Helper()
		out, _, err := g.operate(args...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return out
	}
	do("adapters", "add", "shop", one)
	answers("added", one)
	do("adapters", "add", "shop", "--upload", two)
	answers("replaced", two)
	do("adapters", "rollback", "shop")
	answers("rolled back", one)
	var before, after adminapi.Worker
	for _, c := range []struct {
		args string
		to   *adminapi.Worker
	}{{"drain 1 --wait", &before}, {"restart 1 --wait", &after}} {
		if err := json.Unmarshal([]byte(do(append(strings.Fields("workers "+c.args), "--json")...)), c.to); err != nil {
			t.Fatal(err)
		}
	}
	if before.PID == after.PID || after.PID == 0 || !gateway.Runs(after.PID) || gateway.Runs(before.PID) || after.State != "drained" {
		t.Errorf("restarted: %+v became %+v", before, after)
	}
	do("workers", "resume", "1")
	do("workers", "drain", "0", "--wait")
	answers("from the new process", one)
	do("adapters", "rm", "shop")
	if status, body := g.post(chatPath, chat("shop", "Hi", "")); status != http.StatusNotFound {
		t.Errorf("removed: %d %s", status, body)
	}
}
