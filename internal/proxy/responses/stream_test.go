package responses

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// streamOf returns the events of a stream of chunks, by their deltas; a finish reason ends it.
func streamOf(t *testing.T, s *Stream, finish string, deltas ...string) (all []map[string]any) {
	t.Helper()
	var out []byte
	chunk := func(text string) {
		o, err := rawjson.Parse([]byte(text))
		if err != nil {
			t.Fatal(text, err)
		}
		out = append(out, s.Chunk(o)...)
	}
	for _, d := range append([]string{`{"role":"assistant","content":null}`}, deltas...) {
		chunk(`{"id":"chatcmpl-1","created":7,"choices":[{"index":0,"finish_reason":null,"delta":` + d + `}]}`)
	}
	chunk(`{"id":"chatcmpl-1","created":9,"choices":[{"index":0,"finish_reason":"` + finish + `","delta":{}}]}`)
	chunk(`{"id":"chatcmpl-1","created":9,"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}},"timings":{"x":1}}`)
	return eventsOf(t, append(out, s.End()...))
}

func eventsOf(t *testing.T, text []byte) (all []map[string]any) {
	t.Helper()
	for _, event := range strings.Split(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
		head, data, _ := strings.Cut(event, "\ndata: ")
		var v map[string]any
		if err := json.Unmarshal([]byte(data), &v); err != nil || head != "event: "+v["type"].(string) {
			t.Fatalf("%v: %s", err, event)
		}
		if n := v["sequence_number"]; n != float64(len(all)) {
			t.Errorf("event %d has the number %v", len(all), n)
		}
		all = append(all, v)
	}
	return all
}

// told is what an event says, shortly.
func told(v map[string]any) string {
	kind := strings.TrimPrefix(v["type"].(string), "response.")
	out := kind
	for _, key := range []string{"output_index", "content_index", "summary_index", "item_id", "delta", "text", "arguments", "input"} {
		if x, ok := v[key]; ok {
			out += fmt.Sprintf(" %v", x)
		}
	}
	return out
}

// TestStream is of the events of answers of each kind, and of what they come to.
func TestStream(t *testing.T) {
	call := func(index int, name, arguments string) string {
		return fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"x%d","type":"function","function":{"name":%q,"arguments":%q}}]}`,
			index, index, name, arguments)
	}
	for _, c := range []struct {
		name, finish string
		asked        Asked
		deltas       []string
		want         []string
		output       string
	}{
		{"nothing", "stop", Asked{}, nil, []string{"completed"}, `[]`},
		{"text", "stop", Asked{}, []string{`{"content":"a\""}`, `{"content":"b"}`}, []string{
			"output_item.added 0", "content_part.added 0 0 msg_1_0", `output_text.delta 0 0 msg_1_0 a"`,
			"output_text.delta 0 0 msg_1_0 b", `output_text.done 0 0 msg_1_0 a"b`, "content_part.done 0 0 msg_1_0",
			"output_item.done 0", "completed"},
			`[{"id":"msg_1_0","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a\"b","annotations":[],"logprobs":[]}]}]`},
		{"cut after thinking", "length", Asked{}, []string{`{"reasoning_content":"t"}`, `{"content":"a"}`}, []string{
			"output_item.added 0", "content_part.added 0 0 rs_1_0", "reasoning_text.delta 0 0 rs_1_0 t",
			"reasoning_text.done 0 0 rs_1_0 t", "content_part.done 0 0 rs_1_0", "output_item.done 0",
			"output_item.added 1", "content_part.added 1 0 msg_1_1", "output_text.delta 1 0 msg_1_1 a",
			"output_text.done 1 0 msg_1_1 a", "content_part.done 1 0 msg_1_1", "output_item.done 1", "incomplete"},
			`[{"id":"rs_1_0","type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"t"}],"encrypted_content":null},
			{"id":"msg_1_1","type":"message","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}]`},
		{"a summary", "stop", Asked{summary: true}, []string{`{"reasoning_content":"t"}`}, []string{
			"output_item.added 0", "reasoning_summary_part.added 0 0 rs_1_0", "reasoning_summary_text.delta 0 0 rs_1_0 t",
			"reasoning_summary_text.done 0 0 rs_1_0 t", "reasoning_summary_part.done 0 0 rs_1_0", "output_item.done 0", "completed"},
			`[{"id":"rs_1_0","type":"reasoning","status":"completed","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":null}]`},
		{"calls", "tool_calls", Asked{}, []string{call(0, "f", ""), `{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}`, call(1, "f", "{}")}, []string{
			"output_item.added 0", "function_call_arguments.delta 0 fc_1_0 {", "function_call_arguments.delta 0 fc_1_0 }",
			"function_call_arguments.done 0 fc_1_0 {}", "output_item.done 0", "output_item.added 1",
			"function_call_arguments.delta 1 fc_1_1 {}", "function_call_arguments.done 1 fc_1_1 {}", "output_item.done 1", "completed"},
			`[{"id":"fc_1_0","type":"function_call","status":"completed","call_id":"call_x0","name":"f","arguments":"{}"},
			{"id":"fc_1_1","type":"function_call","status":"completed","call_id":"call_x1","name":"f","arguments":"{}"}]`},
		{"a custom tool", "tool_calls", Asked{called: map[string]called{"g": {custom: true, name: []byte(`"g"`)}}}, []string{call(0, "g", `{"input":"a\"`),
			`{"tool_calls":[{"index":0,"function":{"arguments":"b\"}"}}]}`}, []string{
			"output_item.added 0", `custom_tool_call_input.delta 0 ctc_1_0 a"b`, `custom_tool_call_input.done 0 ctc_1_0 a"b`,
			"output_item.done 0", "completed"},
			`[{"id":"ctc_1_0","type":"custom_tool_call","call_id":"call_x0","name":"g","input":"a\"b"}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.asked.members = []byte(`"store":false`)
			events := streamOf(t, &Stream{Asked: &c.asked, Model: "coding"}, c.finish, c.deltas...)
			got := []string{}
			for _, e := range events {
				got = append(got, told(e))
			}
			if want := append([]string{"created", "in_progress"}, c.want...); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			response := events[len(events)-1]["response"].(map[string]any)
			var output any
			if err := json.Unmarshal([]byte(c.output), &output); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(response["output"], output) {
				t.Errorf("got  %v\nwant %v", response["output"], output)
			}
			if response["model"] != "coding" || response["store"] != false || response["id"] != "resp_1" ||
				response["created_at"] != 7.0 || fmt.Sprint(response["usage"]) != "map[input_tokens:5 "+
				"input_tokens_details:map[cache_write_tokens:0 cached_tokens:2] output_tokens:3 "+
				"output_tokens_details:map[reasoning_tokens:0] total_tokens:8]" {
				t.Errorf("%v", response)
			}
		})
	}
}

// TestAnswer is what the stream of the same comes to.
func TestAnswer(t *testing.T) {
	asked := &Asked{members: []byte(`"store":false`)}
	got, ok := Answer([]byte(`{"id":"chatcmpl-1","created":9,"choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant",`+
		`"content":"a","reasoning_content":"t","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"},"id":"x"}]}}],`+
		`"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}}`), asked, "coding")
	events := streamOf(t, &Stream{Asked: asked, Model: "coding"}, "tool_calls", `{"reasoning_content":"t"}`, `{"content":"a"}`,
		`{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}`)
	var answer map[string]any
	if err := json.Unmarshal(got, &answer); err != nil || !ok {
		t.Fatal(err, ok)
	}
	want := events[len(events)-1]["response"].(map[string]any)
	want["created_at"] = 9.0
	if !reflect.DeepEqual(answer, want) {
		t.Errorf("got  %v\nwant %v", answer, want)
	}
	for _, text := range []string{`{}`, `[]`, `{"choices":[]}`} {
		if _, ok := Answer([]byte(text), asked, "coding"); ok {
			t.Errorf("%s is an answer", text)
		}
	}
}

// TestLogprobs are those of OpenAI's, as many as were asked for.
func TestLogprobs(t *testing.T) {
	s := Stream{Asked: &Asked{members: []byte(`"store":false`), topLogprobs: 1}}
	const token = `{"id":3,"token":"a","bytes":[97],"logprob":-0.5,"top_logprobs":[{"id":3,"token":"a","bytes":[97],"logprob":-0.5},{"id":4,"token":"b","bytes":[98],"logprob":-1}]}`
	chunk, _ := rawjson.Parse([]byte(`{"id":"chatcmpl-1","created":7,"choices":[{"delta":{"content":"a"},"logprobs":{"content":[` + token + `]}}]}`))
	out := append([]byte{}, s.Chunk(chunk)...)
	if s.Likely() {
		t.Error("the next chunk has other probabilities")
	}
	events := eventsOf(t, append(out, s.End()...))
	const want = `[map[bytes:[97] logprob:-0.5 token:a top_logprobs:[map[bytes:[97] logprob:-0.5 token:a]]]]`
	for _, e := range events {
		if list, ok := e["logprobs"]; ok && fmt.Sprint(list) != want {
			t.Errorf("%v", e)
		}
	}
}

// TestFailure is of errors before a response has begun and after that.
func TestFailure(t *testing.T) {
	e := &httpkit.Error{Status: 502, Type: httpkit.TypeServer, Code: "worker_died", Message: "It died."}
	s := Stream{Asked: &Asked{members: []byte(`"store":false`)}}
	events := eventsOf(t, s.Failure(e))
	if len(events) != 1 || events[0]["code"] != "worker_died" || events[0]["message"] != "It died." ||
		events[0]["error"].(map[string]any)["type"] != httpkit.TypeServer {
		t.Errorf("%v", events)
	}
	s = Stream{Asked: s.Asked}
	chunk, _ := rawjson.Parse([]byte(`{"id":"chatcmpl-1","created":7,"choices":[{"delta":{"content":"a"}}]}`))
	out := append([]byte{}, s.Chunk(chunk)...)
	events = eventsOf(t, append(out, s.Failure(e)...))
	failed := events[len(events)-2]
	response, _ := failed["response"].(map[string]any)
	if failed["type"] != "response.failed" || response["status"] != "failed" ||
		fmt.Sprint(response["error"]) != "map[code:server_error message:It died.]" || events[len(events)-1]["type"] != "error" {
		t.Errorf("%v", events)
	}
}

// TestProgress tells those who asked how much of the prompt has been read.
func TestProgress(t *testing.T) {
	s := Stream{Asked: &Asked{members: []byte(`"store":false`)}}
	chunk, _ := rawjson.Parse([]byte(`{"id":"chatcmpl-1","created":7,"choices":[]}`))
	out := append([]byte{}, s.Progress(chunk, "prompt_progress", []byte(`{"total":2}`))...)
	out = append(out, s.Progress(chunk, "prompt_progress", []byte(`{"total":3}`))...)
	var all []string
	for _, e := range eventsOf(t, append(out, s.End()...)) {
		all = append(all, fmt.Sprint(e["type"], e["prompt_progress"]))
	}
	if want := "[response.created<nil> response.in_progressmap[total:2] response.in_progressmap[total:3] response.completed<nil>]"; fmt.Sprint(all) != want {
		t.Errorf("%v", all)
	}
}

// TestTimingsOfEachToken are told with each, to who asked llama-server for them.
func TestTimingsOfEachToken(t *testing.T) {
	s := &Stream{Asked: &Asked{}, Model: "m"}
	for i, c := range []struct {
		chunk string
		tells bool
	}{
		{`{"id":"chatcmpl-1","created":1,"choices":[{"delta":{"role":"assistant","content":null}}]}`, false},
		{`{"created":1,"choices":[{"delta":{"content":"a"}}],"timings":{"predicted_n":1}}`, true},
		{`{"created":1,"choices":[{"delta":{"content":"b"}}],"timings":{"predicted_n":2}}`, true},
		{`{"created":1,"choices":[{"delta":{"content":"c"}}]}`, false},
	} {
		chunk, ok := rawjson.Scan([]byte(c.chunk))
		if !ok {
			t.Fatal(c.chunk)
		}
		out := string(s.Chunk(chunk))
		if strings.Contains(out, fmt.Sprintf(`"timings":{"predicted_n":%d}`, i)) != c.tells || s.Likely() && c.tells {
			t.Errorf("%s became %s", c.chunk, out)
		}
	}
}
