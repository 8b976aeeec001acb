package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// differential is the folder with what is sent to a bare llama-server and through the
// gateway: bodies/ENDPOINT/NAME.json is one body, byte for byte, for the path ENDPOINT, whose
// slashes are underscores there; differences.txt says where the two may part, and why.
var differential = filepath.Join(llamatest.Root(), "test", "differential")

// intended is a line of differences.txt.
type intended struct {
	bodies string // a pattern, as of path.Match
	aspect string // status, shape, usage or text
	reason string
	met    bool
}

// TestDifferential sends each body to a bare llama-server and through the gateway. What the
// bare one answers with 200 the gateway answers with 200, in the same shape, with the same
// usage and, where the request is greedy, the same text. What the bare one refuses is no
// fault of the gateway's: it never answers that with a status of 500 or more. Each
// difference is one that is listed with its reason, and each that is listed is met.
func TestDifferential(t *testing.T) {
	t.Parallel()
	bodies, err := filepath.Glob(filepath.Join(differential, "bodies", "*", "*.json"))
	if err != nil || len(bodies) < 400 {
		t.Fatalf("%d bodies, %v; there are at least 400", len(bodies), err)
	}
	list := readIntended(t)
	bare := llamatest.Start(t, nil, "--alias", "demo", "--parallel", "2", "--ctx-size", "2048",
		"--cache-ram", "0")
	g := serve(t, realConfig(t, 1, 2))
	for _, file := range bodies {
		folder, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(folder+"/"+name, func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			to := "/" + strings.ReplaceAll(folder, "_", "/")
			to = strings.NewReplacer("/count/tokens", "/count_tokens", "/input/tokens", "/input_tokens").Replace(to)
			want, got := askBare(t, bare, to, body), askGateway(t, g, http.MethodPost, to, body)
			for aspect, difference := range compareAnswers(body, want, got) {
				if !list.allow(folder+"/"+name, aspect) {
					t.Errorf("%s: %s\nbare (%d): %.1500s\ngateway (%d): %.1500s", aspect, difference, want.status, want.text,
						got.status, got.text)
				}
			}
		})
	}
	for _, d := range list {
		if !d.met {
			t.Errorf("no body meets the difference %s | %s | %s", d.bodies, d.aspect, d.reason)
		}
	}
	checkMade(t, "TestDifferential", list.table(len(bodies)))
}

// table returns the differences for the docs, each reason once.
func (all differences) table(bodies int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Of %d bodies these are answered otherwise:\n\n| bodies | what differs | why |\n| --- | --- | --- "+
		"|\n", bodies)
	for i, d := range all {
		same := func(x *intended) bool { return x.reason == d.reason }
		if slices.ContainsFunc(all[:i], same) {
			continue
		}
		var where, what []string
		for _, x := range all {
			if same(x) {
				where, what = append(where, "`"+x.bodies+"`"), append(what, x.aspect)
			}
		}
		slices.Sort(where)
		slices.Sort(what)
		fmt.Fprintf(&out, "| %s | %s | %s |\n", strings.Join(slices.Compact(where), ", "),
			strings.Join(slices.Compact(what), ", "), d.reason)
	}
	return out.String()
}

type differences []*intended

// readIntended reads differences.txt: "bodies | aspect | reason" in a line.
func readIntended(t *testing.T) (all differences) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(differential, "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, " | ", 3)
		if len(parts) != 3 || !slices.Contains([]string{"status", "shape", "usage", "text"}, parts[1]) {
			t.Fatalf("differences.txt:%d is not \"bodies | aspect | reason\": %s", n+1, line)
		}
		all = append(all, &intended{bodies: parts[0], aspect: parts[1], reason: parts[2]})
	}
	return all
}

func (all differences) allow(body, aspect string) (allowed bool) {
	for _, d := range all {
		if fits, _ := path.Match(d.bodies, body); fits && d.aspect == aspect {
			d.met, allowed = true, true
		}
	}
	return allowed
}

// answered is an answer, whole or as a stream.
type answered struct {
	status int
	stream bool
	text   string
}

func askBare(t *testing.T, s *llamatest.Server, to string, body []byte) answered {
	t.Helper()
	resp, err := s.Open(t.Context(), http.MethodPost, to, body)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswered(t, resp)
}

func askGateway(t *testing.T, g *gatewayProcess, method, to string, body []byte) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.url+to, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswered(t, resp)
}

func readAnswered(t *testing.T, resp *http.Response) answered {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"), string(text)}
}

// compareAnswers returns in what the gateway's answer differs, by aspect. It may have members that are
// null of which the bare server's says nothing.
func compareAnswers(body []byte, want, got answered) map[string]string {
	found := map[string]string{}
	switch {
	case want.status != http.StatusOK && got.status >= http.StatusInternalServerError &&
		got.status != http.StatusNotImplemented:
		found["status"] = "the bare server refuses it, and the gateway fails"
	case want.status != http.StatusOK:
	case got.status != http.StatusOK:
		found["status"] = "the bare server answers it"
	case want.stream != got.stream:
		found["shape"] = "one is a stream, the other is not"
	default:
		a, b := parseAnswered(want), parseAnswered(got)
		less, more := a.lacks(b), b.lacks(a)
		more = slices.DeleteFunc(more, a.unsaid)
		if len(less)+len(more) > 0 {
			found["shape"] = fmt.Sprintf("the gateway's lacks %v and has %v", less, more)
		}
		if a.usage != b.usage {
			found["usage"] = fmt.Sprintf("%q, the bare server has %q", b.usage, a.usage)
		}
		if greedy(body) && a.words != b.words {
			found["text"] = fmt.Sprintf("%q, the bare server says %q", b.words, a.words)
		}
	}
	return found
}

// greedy reports whether a request gives the same words each time.
func greedy(body []byte) bool {
	var b struct {
		Temperature *float64
		TopK        int `json:"top_k"`
	}
	_ = json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &b)
	return b.Temperature != nil && *b.Temperature == 0 || b.TopK == 1
}

// digest is what is compared of an answer.
type digest struct {
	shape map[string]bool // "choices[].index number"
	usage string
	words string
}

// lacks returns what of the answer's shape is not in another's.
func (d digest) lacks(other digest) (all []string) {
	for s := range d.shape {
		if !other.shape[s] {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

func parseAnswered(a answered) digest {
	d := digest{shape: map[string]bool{}}
	if !a.stream {
		var v any
		if json.Unmarshal([]byte(a.text), &v) != nil {
			d.words = a.text
			return d
		}
		d.take(v)
		return d
	}
	for _, line := range strings.Split(a.text, "\n") {
		data, is := strings.CutPrefix(line, "data: ")
		var v any
		if is && json.Unmarshal([]byte(data), &v) == nil {
			d.take(v)
		}
	}
	return d
}

// unsaid reports whether something is null of which an answer says nothing.
func (d digest) unsaid(shape string) bool {
	at, is := strings.CutSuffix(shape, " null")
	for s := range d.shape {
		is = is && !strings.HasPrefix(s, at+" ")
	}
	return is
}

// volatile are the members that differ each time, tell of llama-server's own work, or repeat what
// was asked.
var volatile = []string{"timings", "generation_settings", "prompt_progress", "__verbose", "tools", "format",
	"tool_choice"}

// spoken are the members whose texts are what a model says.
var spoken = []string{"content", "text", "reasoning_content", "arguments", "thinking", "partial_json", "name",
	"finish_reason", "stop_reason", "delta"}

// take adds an answer, or an event of a stream.
func (d *digest) take(v any) {
	if object, is := v.(map[string]any); is {
		if u, is := object["usage"].(map[string]any); is {
			number := func(name string) float64 { n, _ := u[name].(float64); return n }
			d.usage = fmt.Sprintf("%v+%v", number("prompt_tokens")+number("input_tokens")+number("cache_read_input_tokens"),
				number("completion_tokens")+number("output_tokens"))
		}
	}
	d.walk("", "", v)
}

func (d *digest) walk(at, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		d.shape[at+" object"] = true
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(volatile, name) {
				d.walk(at+"."+name, name, v[name])
			}
		}
	case []any:
		d.shape[at+" array"] = true
		for _, item := range v {
			d.walk(at+"[]", key, item)
		}
	case string:
		d.shape[at+" string"] = true
		if slices.Contains(spoken, key) {
			d.words += v
		}
	case nil:
		d.shape[at+" null"] = true
	default:
		d.shape[fmt.Sprintf("%s %T", at, v)] = true
	}
}
