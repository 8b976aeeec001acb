package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const responsesPath = "/v1/responses"

// responsesTools are two tools, of which the model's first token, by callerBias, begins a call.
const (
	responsesTools = `"tools":[{"type":"function","name":"weather","parameters":{"type":"object","properties":{"city":{"enum":["Rome"]}},"required":["city"]},"strict":true},` +
		`{"type":"function","name":"clock","parameters":{"type":"object","properties":{"zone":{"enum":[1]}},"required":["zone"]}},` +
		`{"type":"custom","name":"note"}]`
	callerBias = `"logit_bias":{"99":100},"max_output_tokens":150`
)

// TestResponses asks for the same whole and as a stream: the events are numbered and in order,
// each is of what has begun, and they come to what the last one has, which is the whole answer.
func TestResponses(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	for name, c := range map[string]struct {
		more   string
		status string
		output []string
	}{
		"text":    {`"max_output_tokens":200`, "completed", []string{"message"}},
		"cut":     {`"max_output_tokens":3`, "incomplete", []string{"message"}},
		"default": {responsesTools + `,"max_output_tokens":200`, "completed", []string{"message"}},
		"none":    {responsesTools + `,"tool_choice":"none","max_output_tokens":200`, "completed", []string{"message"}},
		"forced": {responsesTools + `,"tool_choice":{"type":"function","name":"clock"},` + callerBias, "completed",
			[]string{"function_call clock"}},
		"another": {responsesTools + `,"tool_choice":{"type":"function","name":"weather"},` + callerBias, "completed",
			[]string{"function_call weather"}},
		"custom": {responsesTools + `,"tool_choice":{"type":"custom","name":"note"},` + callerBias, "",
			[]string{"custom_tool_call note"}}, // what it says is up to the model

		"allowed": {responsesTools + `,"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"clock"}]},` +
			callerBias, "completed", []string{"function_call clock"}},
		"schema": {`"max_output_tokens":60,"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object","properties":{"a":{"enum":["b"]}},"required":["a"],"additionalProperties":false}}}`,
			"completed", []string{"message"}},
		"logprobs": {`"max_output_tokens":3,"include":["message.output_text.logprobs"],"top_logprobs":2`, "incomplete", []string{"message"}},
		"everything": {`"max_output_tokens":3,"instructions":"Be brief.","metadata":{"a":"b"},"user":"u","store":true,"temperature":0,"top_p":0.5,` +
			`"parallel_tool_calls":false,"reasoning":{"effort":"low","summary":null},"safety_identifier":"s","prompt_cache_key":"p",` +
			`"max_tool_calls":2,"truncation":"auto","presence_penalty":0.1,"frequency_penalty":0.2,"text":{"verbosity":"low"}`,
			"incomplete", []string{"message"}},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"model":"coding","temperature":0,"input":"How do I sort a list?",` + c.more
			status, text := g.post(responsesPath, body+"}")
			var whole map[string]any
			if err := json.Unmarshal([]byte(text), &whole); err != nil || status != http.StatusOK {
				t.Fatalf("%d, %v: %s", status, err, text)
			}
			got := []string{}
			for _, item := range whole["output"].([]any) {
				got = append(got, strings.TrimSpace(dig(item, "type")+" "+dig(item, "name")))
			}
			if c.status != "" && whole["status"] != c.status || !reflect.DeepEqual(got, c.output) {
				t.Errorf("%v: %v, want %s: %v\n%s", whole["status"], got, c.status, c.output, text)
			}
			if whole["store"] != false || whole["truncation"] != "disabled" || whole["previous_response_id"] != nil {
				t.Errorf("it says more than is done: %s", text)
			}
			status, text = g.post(responsesPath, body+`,"stream":true}`)
			if status != http.StatusOK {
				t.Fatal(status, text)
			}
			streamed := follow(t, text)
			if a, b := unnamed(whole), unnamed(streamed); c.status != "" && !reflect.DeepEqual(a, b) {
				t.Errorf("whole    %v\nstreamed %v", a, b)
			}
		})
	}
}

// follow holds the events of a stream to each other and returns the response that they come to.
func follow(t *testing.T, text string) (last map[string]any) {
	t.Helper()
	var output []any
	var kinds []string
	for n, event := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		head, data, _ := strings.Cut(event, "\ndata: ")
		var v map[string]any
		if err := json.Unmarshal([]byte(data), &v); err != nil || head != "event: "+dig(v, "type") {
			t.Fatalf("%v: %s", err, event)
		}
		if v["sequence_number"] != float64(n) {
			t.Errorf("event %d: %s", n, event)
		}
		kind := strings.TrimPrefix(dig(v, "type"), "response.")
		kinds = append(kinds, kind)
		if response, ok := v["response"].(map[string]any); ok {
			last = response
			continue
		}
		index := int(v["output_index"].(float64))
		switch kind {
		case "output_item.added":
			if index != len(output) {
				t.Errorf("item %d comes after %d: %s", index, len(output), event)
			}
			output = append(output, v["item"])
			continue
		case "output_item.done":
			if dig(v, "item", "id") != dig(output[index], "id") {
				t.Errorf("another item: %s", event)
			}
			output[index] = v["item"]
			continue
		}
		if id := dig(output[index], "id"); id == "" || dig(v, "item_id") != id {
			t.Errorf("of another item: %s", event)
		}
		item := output[index].(map[string]any)
		where, key := item, "arguments"
		switch item["type"] {
		case "custom_tool_call":
			key = "input"
		case "message":
			key = "text"
			content := item["content"].([]any)
			if v["content_index"] != float64(0) {
				t.Errorf("of another part: %s", event)
			}
			if kind == "content_part.added" {
				item["content"] = append(content, v["part"])
				continue
			}
			where = content[0].(map[string]any)
		}
		switch {
		case strings.HasSuffix(kind, ".delta"):
			where[key] = dig(where, key) + dig(v, "delta")
		case kind != "content_part.done" && dig(v, key) != dig(where, key):
			t.Errorf("%q until here: %s", dig(where, key), event)
		}
	}
	if !slices.Equal(kinds[:2], []string{"created", "in_progress"}) || kinds[len(kinds)-1] != last["status"] {
		t.Errorf("%v", kinds)
	}
	if !reflect.DeepEqual(output, last["output"]) {
		t.Errorf("the events come to %v\nthe response has %v", output, last["output"])
	}
	return last
}

// unnamed returns a response without its names and times.
func unnamed(response map[string]any) map[string]any {
	same := maps.Clone(response)
	for _, key := range []string{"id", "created_at", "completed_at"} {
		delete(same, key)
	}
	usage, _ := same["usage"].(map[string]any)
	delete(usage, "input_tokens_details") // the second finds the first in the cache
	for _, item := range same["output"].([]any) {
		delete(item.(map[string]any), "id")
		delete(item.(map[string]any), "call_id")
	}
	return same
}

// TestOpenResponses has the cases of the public compliance tests of Open Responses, in words of our
// own: what they ask, and what they find in the answer. The one with a picture needs a model that
// sees.
func TestOpenResponses(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	const message = `{"type":"message","role":"%s","content":"%s"}`
	user := func(text string) string { return fmt.Sprintf(message, "user", text) }
	const tools = `,"tools":[{"type":"function","name":"get_weather","description":"Get the current weather for a location",` +
		`"parameters":{"type":"object","properties":{"location":{"enum":["Rome"]}},"required":["location"]}}],` +
		`"logit_bias":{"99":100},"tool_choice":"required","parallel_tool_calls":false,"max_output_tokens":200`
	required := strings.Fields("id object created_at completed_at status incomplete_details model previous_response_id instructions " +
		"output error tools tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs " +
		"temperature reasoning user usage max_output_tokens max_tool_calls store background service_tier metadata safety_identifier " +
		"prompt_cache_key")
	for name, c := range map[string]struct{ input, more, item string }{
		"basic text":    {user("Say hello in exactly 3 words."), "", "message"},
		"system prompt": {fmt.Sprintf(message, "system", "You are a pirate.") + "," + user("Say hello."), "", "message"},
		"multi-turn": {user("My name is Alice.") + "," + fmt.Sprintf(message, "assistant", "Hello Alice!") + "," +
			user("What is my name?"), "", "message"},
		"tool calling": {user("What's the weather like in San Francisco?"), tools, "function_call"},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", stream), func(t *testing.T) {
				status, text := g.post(responsesPath, fmt.Sprintf(`{"model":"chat","input":[%s],"stream":%t,"temperature":0%s}`,
					c.input, stream, c.more))
				var response map[string]any
				if stream && status == http.StatusOK {
					response = follow(t, text)
				} else if err := json.Unmarshal([]byte(text), &response); err != nil || status != http.StatusOK {
					t.Fatal(status, text)
				}
				if response["status"] != "completed" || !strings.Contains(text, `"type":"`+c.item+`"`) {
					t.Error(text)
				}
				for _, key := range required {
					if _, ok := response[key]; !ok {
						t.Errorf("no %s: %s", key, text)
					}
				}
				for _, key := range []string{"temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs"} {
					if _, ok := response[key].(float64); !ok {
						t.Errorf("%s is no number: %s", key, text)
					}
				}
				if c.item == "function_call" && stream && !strings.Contains(text, "event: response.function_call_arguments.done\n") {
					t.Error(text)
				}
			})
		}
	}
	status, text := g.post(responsesPath, `{"model":"chat","input":[{"role":"user","content":[{"type":"input_text","text":"What is it?"},`+
		`{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]}]}`)
	if status != http.StatusBadRequest || !strings.Contains(text, `"param":"input"`) {
		t.Errorf("a picture for a model that does not see: %d %s", status, text)
	}
}
