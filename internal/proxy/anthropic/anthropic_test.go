package anthropic

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// same compares JSON.
func same(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func chat(t *testing.T, body string) ([]byte, error) {
	t.Helper()
	o, err := rawjson.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return Chat(o)
}

func TestRequests(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}`: `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}`,

		// What neither API gives another meaning stays.
		`{"model":"m","max_tokens":5,"top_k":3,"min_p":0.10,"big":12345678901234567890,"metadata":{"user_id":"u"},"n":3,"stream":true,
			"system":[{"type":"text","text":"Be"},{"type":"text","text":"brief","cache_control":{"type":"ephemeral"}}],"stop_sequences":["x"],
			"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"}]}`: `{"model":"m","max_tokens":5,"top_k":3,"min_p":0.10,"big":12345678901234567890,"stream":true,"stream_options":{"include_usage":true},"stop":["x"],
			"messages":[{"role":"system","content":"Bebrief"},{"role":"user","content":"a\nb"},{"role":"assistant","content":"c"}]}`,

		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"What?"},
			{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},{"type":"image","source":{"type":"url","url":"https://x/y"}}]}]}`: `{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"What?"},
			{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}},{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}`,

		`{"max_tokens":5,"tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},{"type":"custom","name":"g"}],
			"tool_choice":{"type":"any","disable_parallel_tool_use":true},"thinking":{"type":"disabled"},"messages":[
			{"role":"user","content":"Do"},
			{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"I"},{"type":"tool_use","id":"1","name":"f","input":{"a":1}},{"type":"tool_use","id":"2","name":"g"}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"out"},{"type":"tool_result","tool_use_id":"2","is_error":true,"content":[{"type":"text","text":"no"}]},{"type":"text","text":"Go on"}]}]}`: `{"max_tokens":5,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}},{"type":"function","function":{"name":"g","description":""}}],
			"tool_choice":"required","parallel_tool_calls":false,"chat_template_kwargs":{"enable_thinking":false},"messages":[
			{"role":"user","content":"Do"},
			{"role":"assistant","content":"I","reasoning_content":"hm","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
			{"role":"tool","tool_call_id":"1","content":"out"},{"role":"tool","tool_call_id":"2","content":"Error: no"},{"role":"user","content":"Go on"}]}`,

		`{"max_tokens":5,"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}}},"messages":[{"role":"user","content":"Do"}]}`: `{"max_tokens":5,"reasoning_effort":"low",
			"response_format":{"type":"json_schema","json_schema":{"name":"output","strict":true,"schema":{"type":"object"}}},"messages":[{"role":"user","content":"Do"}]}`,

		`{"max_tokens":5,"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"enabled","budget_tokens":9},"chat_template_kwargs":{"x":1},"messages":[{"role":"user","content":"Do"}]}`: `{"max_tokens":5,"tools":[{"type":"function","function":{"name":"f","description":""}}],"tool_choice":"required","thinking_budget_tokens":9,
			"chat_template_kwargs":{"x":1,"enable_thinking":true},"messages":[{"role":"user","content":"Do"}]}`,

		// One that is forced is the only one.
		`{"max_tokens":5,"tools":[{"name":"f"},{"name":"g","description":"d"}],"tool_choice":{"type":"tool","name":"g"},"messages":[{"role":"user","content":"Do"}]}`: `{"max_tokens":5,"tools":[{"type":"function","function":{"name":"g","description":"d"}}],"tool_choice":"required","messages":[{"role":"user","content":"Do"}]}`,

		// What ran at Anthropic is left out of a history, whatever its results look like.
		`{"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"mcp_tool_use","id":"1","name":"n","server_name":"s","input":{}},
			{"type":"mcp_tool_result","tool_use_id":"1","content":[]},{"type":"server_tool_use","id":"2","name":"n","input":{}},
			{"type":"code_execution_tool_result","tool_use_id":"2","content":{"type":"code_execution_result","stdout":"x","content":[{"type":"code_execution_output","file_id":"f"}]}},
			{"type":"web_search_tool_result","tool_use_id":"2","content":{"type":"web_search_tool_result_error","error_code":"unavailable"}},
			{"type":"web_fetch_tool_result","tool_use_id":"2","content":{"type":"web_fetch_result","url":"u","content":{"type":"document","title":null,"source":{"type":"text","data":"d"}}}},
			{"type":"container_upload","file_id":"f"},{"type":"compaction","content":"Short."},{"type":"compaction","content":null},{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}`: `{"max_tokens":5,"messages":[
			{"role":"user","content":"a"},{"role":"assistant","content":"Short.\nb"},{"role":"user","content":"c"}]}`,

		// Without a bound llama-server has its own.
		`{"messages":[{"role":"user","content":"Hi"}]}`: `{"max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]}`,

		// What changes with each request of Claude Code is left out.
		`{"max_tokens":5.0,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1; cch=36ee5;"},{"type":"text","text":"You are"}],"messages":[{"role":"user","content":"Hi"}]}`: `{"max_tokens":5.0,"messages":[{"role":"system","content":"x-anthropic-billing-header: cc_version=2.1; cch=fffff;You are"},{"role":"user","content":"Hi"}]}`,
		`{"max_tokens":5,"system":"say cch=36ee5;","messages":[{"role":"user","content":"Hi"}]}`:                                                                                                     `{"max_tokens":5,"messages":[{"role":"system","content":"say cch=36ee5;"},{"role":"user","content":"Hi"}]}`,

		// System prompts before all else are one.
		`{"max_tokens":5,"system":"a","messages":[{"role":"system","content":"b"},{"role":"system","content":[{"type":"text","text":"c"}]},{"role":"user","content":"d"},{"role":"system","content":"e"},{"role":"system","content":"f"}]}`: `{"max_tokens":5,"messages":[{"role":"system","content":"a\n\nb\n\nc"},{"role":"user","content":"d"},{"role":"system","content":"e"},{"role":"system","content":"f"}]}`,

		// What one side says in turn is one message.
		`{"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]},{"role":"system","content":"s"},
			{"role":"assistant","content":"c"},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f"}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"}]},{"role":"user","content":"d"}]}`: `{"max_tokens":5,"messages":[{"role":"user","content":"a\nb"},{"role":"system","content":"s"},
			{"role":"assistant","content":"c","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
			{"role":"tool","tool_call_id":"1","content":"r"},{"role":"user","content":"d"}]}`,
		`{"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]}`: `{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}]}`,

		// Results of tools are texts, pictures, documents, findings and references.
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[
			{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}}]},
			{"type":"tool_result","tool_use_id":"2","content":[{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"D"}},
			{"type":"search_result","source":"https://x","title":"F","content":[{"type":"text","text":"found"}]},{"type":"tool_reference","tool_name":"g"}]},
			{"type":"document","source":{"type":"content","content":[{"type":"text","text":"E"}]}}]}]}`: `{"max_tokens":5,"messages":[
			{"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]},
			{"role":"tool","tool_call_id":"2","content":"T\nDF\nhttps://x\nfoundg"},{"role":"user","content":"E"}]}`,

		// What ran at Anthropic in an earlier turn is left out.
		`{"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"server_tool_use","id":"1","name":"web_search","input":{}},
			{"type":"web_search_tool_result","tool_use_id":"1","content":[]},{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}`: `{"max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`,
	} {
		got, err := chat(t, body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		same(t, got, want)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for body, field := range map[string]string{
		`{"max_tokens":5}`: "messages",
		`{"max_tokens":5,"messages":[{"role":"user","content":null}]}`:  "messages[0].content",
		`{"max_tokens":5,"messages":[]}`:                                "messages",
		`{"max_tokens":5,"messages":"Hi"}`:                              "messages",
		`{"max_tokens":-1,"messages":[{"role":"user","content":"Hi"}]}`: "max_tokens",
		`{"max_tokens":5,"tools":[{"name":"f"}],"tool_choice":{"type":"tool","name":"g"},"messages":[{"role":"user","content":""}]}`:                                                                               "tool_choice.name",
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QQ"}}]}]}]}`: "messages[0].content[0].content[0].source",
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"smell"}]}]}]}`:                                                                          "messages[0].content[0].content[0].type",
		`{"max_tokens":1.5,"messages":[{"role":"user","content":""}]}`:                                                                                                                                             "max_tokens",
		`{"max_tokens":5,"messages":[{"role":"narrator","content":"Hi"}]}`:                                                                                                                                         "messages[0].role",
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"document"}]}]}`:                                                                                                                            "messages[0].content[0].source",
		`{"max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"image"}]}]}`:                                                                                                                          "messages[0].content[0].type",
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file"}}]}]}`:                                                                                                      "messages[0].content[0].source",
		`{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"image"}]}]}`:                                                                                                                               "messages[0].content[0].source",
		`{"max_tokens":5,"tools":[{"type":"web_search_20250305","name":"s"}],"messages":[{"role":"user","content":""}]}`:                                                                                           "tools[0].type",
		`{"max_tokens":5,"tools":[{"input_schema":{}}],"messages":[{"role":"user","content":""}]}`:                                                                                                                 "tools[0].name",
		`{"max_tokens":5,"tool_choice":{"type":"some"},"messages":[{"role":"user","content":""}]}`:                                                                                                                 "tool_choice.type",
		`{"max_tokens":5,"tool_choice":"auto","messages":[{"role":"user","content":""}]}`:                                                                                                                          "tool_choice",
		`{"max_tokens":5,"output_config":{"format":{"type":"xml"}},"messages":[{"role":"user","content":""}]}`:                                                                                                     "output_config.format",
		`{"max_tokens":5,"output_config":7,"messages":[{"role":"user","content":""}]}`:                                                                                                                             "output_config",
		`{"max_tokens":5,"thinking":true,"messages":[{"role":"user","content":""}]}`:                                                                                                                               "thinking",
		// What runs at Anthropic is refused where it is all that is offered, or is chosen.
		`{"max_tokens":5,"tools":[{"type":"mcp_toolset","mcp_server_name":"s"},{"type":"tool_search_tool_regex_20251119","name":"r"}],"messages":[{"role":"user","content":""}]}`: "tools[0].type",
		`{"max_tokens":5,"tools":[{"name":"f"},{"type":"web_fetch_20250910","name":"w"}],"tool_choice":{"type":"tool","name":"w"},"messages":[{"role":"user","content":""}]}`:     "tool_choice.name",
		`{"max_tokens":5,"tools":[{"name":"f","input_schema":5}],"messages":[{"role":"user","content":""}]}`:                                                                      "tools[0].input_schema",
	} {
		_, err := chat(t, body)
		var wrong *RequestError
		if !errors.As(err, &wrong) || wrong.Field != field || !strings.HasPrefix(wrong.Message, field+": ") {
			t.Errorf("%s: %v, want it at %s", body, err, field)
		}
	}
}

func TestAnswers(t *testing.T) {
	got, ok := Answer([]byte(`{"id":"chatcmpl-7","model":"coding","choices":[{"finish_reason":"tool_calls","message":{"content":"I","reasoning_content":"hm",
		"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"2","function":{"name":"g","arguments":"{\"cut"}}]}}],
		"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}`), Asked{})
	if !ok {
		t.Fatal("refused")
	}
	same(t, got,
		`{"id":"msg_7","type":"message","role":"assistant","model":"coding","stop_reason":"tool_use","stop_sequence":null,"stop_details":null,"container":null,"diagnostics":null,
		"content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"I","citations":null},{"type":"tool_use","id":"1","name":"f","input":{"a":1},"caller":{"type":"direct"}},{"type":"tool_use","id":"2","name":"g","input":{},"caller":{"type":"direct"}}],
		"usage":{"input_tokens":6,"cache_read_input_tokens":4,"output_tokens":3,"cache_creation_input_tokens":null,"output_tokens_details":null,"server_tool_use":null,"cache_creation":null,"inference_geo":null,"service_tier":null,"speed":null}}`)
	for _, text := range []string{`{}`, `[]`, `{"choices":[]}`, `no`} {
		if _, ok := Answer([]byte(text), Asked{}); ok {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestStopSequences tells which of the client's words ended an answer, and of no others.
func TestStopSequences(t *testing.T) {
	for _, c := range []struct{ word, stop, want string }{
		{"END", `["x","END"]`, `"stop_reason":"stop_sequence","stop_sequence":"END"`},
		{"END", `"END"`, `"stop_reason":"stop_sequence","stop_sequence":"END"`},
		{"<|eot|>", `["END"]`, `"stop_reason":"end_turn","stop_sequence":null`},
		{"", `["END"]`, `"stop_reason":"end_turn","stop_sequence":null`},
		{"END", ``, `"stop_reason":"end_turn","stop_sequence":null`},
	} {
		told := `"__verbose":{"stopping_word":"` + c.word + `"}`
		whole, _ := Answer([]byte(`{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],`+told+`}`), Asked{stop: []byte(c.stop)})
		s := Stream{Asked: Asked{stop: []byte(c.stop)}}
		s.Chunk([]byte(`{"choices":[{"delta":{},"finish_reason":"stop"}],` + told + `}`))
		for _, got := range [][]byte{whole, s.End()} {
			if !strings.Contains(string(got), c.want) {
				t.Errorf("%q of %s: %s", c.word, c.stop, got)
			}
		}
	}
}

// TestStreams goes through every kind of block.
func TestStreams(t *testing.T) {
	var s Stream
	var all strings.Builder
	for _, chunk := range []string{
		`{"id":"chatcmpl-7","model":"m","choices":[{"delta":{"role":"assistant","content":null}}]}`,
		`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`,
		`{"choices":[{"delta":{"content":"I"}}]}`, `{"choices":[{"delta":{"content":" do"}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":""}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"2","function":{"name":"g","arguments":"{}"}}]}}]}`,
		`{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`,
		`{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}`,
		`nonsense`,
	} {
		all.Write(s.Chunk([]byte(chunk)))
	}
	all.Write(s.End())
	want := []string{
		`{"type":"message_start","message":{"id":"msg_7","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"diagnostics":null,"usage":{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":null,"output_tokens_details":null,"server_tool_use":null,"cache_creation":null,"inference_geo":null,"service_tier":null,"speed":null}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":""}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":null}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I"}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":" do"}}`,
		`{"type":"content_block_stop","index":1}`,
		`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"1","name":"f","input":{},"caller":{"type":"direct"}}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}`,
		`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":":1}"}}`,
		`{"type":"content_block_stop","index":2}`,
		`{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"2","name":"g","input":{},"caller":{"type":"direct"}}}`,
		`{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{}"}}`,
		`{"type":"content_block_stop","index":3}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null,"container":null},"usage":{"input_tokens":6,"cache_read_input_tokens":4,"output_tokens":3,"cache_creation_input_tokens":null,"output_tokens_details":null,"server_tool_use":null}}`,
		`{"type":"message_stop"}`,
	}
	events := strings.Split(strings.TrimSuffix(all.String(), "\n\n"), "\n\n")
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d:\n%s", len(events), len(want), all.String())
	}
	for i, event := range events {
		name, data, _ := strings.Cut(event, "\ndata: ")
		same(t, []byte(data), want[i])
		var kind struct{ Type string }
		if json.Unmarshal([]byte(data), &kind) != nil || name != "event: "+kind.Type {
			t.Errorf("%q is named %q", data, name)
		}
	}
}

func TestErrors(t *testing.T) {
	for status, kind := range map[int]string{
		400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 413: "request_too_large",
		415: "invalid_request_error",
		429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "overloaded_error",
	} {
		same(t, Error(status, "m", "req_1"),
			`{"type":"error","request_id":"req_1","error":{"type":"`+kind+`","message":"m"}}`)
	}
}

// TestTooLong: clients make a shorter prompt when they read Anthropic's words.
func TestTooLong(t *testing.T) {
	for said, want := range map[string]string{
		"request (6004 tokens) exceeds the available context size (2048 tokens), try increasing it": "prompt is too long: " +
			"6004 tokens > 2048 maximum",
		"request (at least 9 tokens) exceeds the available context size (8 tokens)": "prompt is too long: " +
			"9 tokens > 8 maximum",
		"another": "another",
	} {
		same(t, Error(400, said, "r"),
			`{"type":"error","request_id":"r","error":{"type":"invalid_request_error","message":"`+want+`"}}`)
	}
}

// TestClientTools have the schemas that Anthropic's models know.
func TestClientTools(t *testing.T) {
	got, err := chat(t, `{"max_tokens":5,"messages":[{"role":"user","content":"a"}],"tools":[{"type":"bash_20250124","name":"bash"},
		{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"},{"type":"computer_20250124","name":"computer","display_width_px":9}]}`)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Tools []struct {
			Function struct {
				Name, Description string
				Parameters        struct {
					Properties map[string]struct{ Type string }
				}
			}
		}
	}
	if err := json.Unmarshal(got, &body); err != nil || len(body.Tools) != 3 {
		t.Fatalf("%v: %s", err, got)
	}
	for i, field := range []string{"command", "path", "action"} {
		f := body.Tools[i].Function
		if f.Parameters.Properties[field].Type == "" || f.Description == "" || f.Name == "" {
			t.Errorf("%+v has no %s", f, field)
		}
	}
}

// TestWrongTypesAreNamedByTheirPaths: what is of another type than the API's, or there twice, however
// deep it lies.
func TestWrongTypesAreNamedByTheirPaths(t *testing.T) {
	for fields, want := range map[string]string{
		`"messages":5`:                               "messages: must be a list",
		`"messages":[5]`:                             "messages[0]: must be an object",
		`"messages":[{"role":5,"content":"x"}]`:      "messages[0].role: must be a string",
		`"messages":[{"role":"user","content":5}]`:   "messages[0].content: must be a string or a list of blocks",
		`"messages":[{"role":"user","content":[5]}]`: "messages[0].content[0]: must be an object",
		`"messages":[{"role":"user","content":"a"},{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":5}]}]`:                      "messages[2].content[0].text: must be a string",
		`"messages":[{"role":"user","role":"user","content":"x"}]`:                                                                                           "messages[0].role: must be there once",
		`"messages":[{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}]`:                                                                     "messages[0].content[0].text: must be there once",
		`"messages":[{"role":"user","content":[{"type":"tool_result","is_error":"no"}]}]`:                                                                    "messages[0].content[0].is_error: must be true or false",
		`"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"document","source":{"type":"content","content":[{"type":5}]}}]}]}]`: "messages[0].content[0].content[0].source.content[0].type: must be a string",
		`"messages":[{"role":"user","content":[{"type":"tool_result","content":{"type":"text","text":5}}]}]`:                                                 "messages[0].content[0].content.text: must be a string",
		`"system":5`:                          "system: must be a string or a list of blocks",
		`"system":[{"type":"text","text":5}]`: "system[0].text: must be a string",
		`"tools":{}`:                          "tools: must be a list",
		`"tools":[5]`:                         "tools[0]: must be an object",
		`"tools":[{"name":5}]`:                "tools[0].name: must be a string",
		`"tool_choice":"auto"`:                "tool_choice: must be an object",
		`"tool_choice":{"type":"auto","disable_parallel_tool_use":1}`: "tool_choice.disable_parallel_tool_use: must be true or false",
		`"output_config":{"effort":5}`:                                "output_config.effort: must be a string",
		`"output_config":{"format":5}`:                                "output_config.format: must be an object",
		`"thinking":{"type":"enabled","budget_tokens":"x"}`:           "thinking.budget_tokens: must be a number",
		`"thinking":{"type":"enabled","budget_tokens":-5}`:            "thinking.budget_tokens: must be a whole number from 1 to 2147483647",
		`"thinking":{"type":"enabled","budget_tokens":0}`:             "thinking.budget_tokens: must be a whole number from 1 to 2147483647",
		`"thinking":{"type":"enabled","budget_tokens":1.5}`:           "thinking.budget_tokens: must be a whole number from 1 to 2147483647",
		`"thinking":{"type":"enabled","budget_tokens":1e15}`:          "thinking.budget_tokens: must be a whole number from 1 to 2147483647",
		`"max_tokens":"x"`: "max_tokens: must be a number",
		`"stream":1`:       "stream: must be true or false",
	} {
		if !strings.HasPrefix(fields, `"messages"`) {
			fields += `,"messages":[{"role":"user","content":"x"}]`
		}
		_, err := chat(t, "{"+fields+"}")
		var wrong *RequestError
		if !errors.As(err, &wrong) || wrong.Message != want || !strings.HasPrefix(want, wrong.Field+": ") {
			t.Errorf("%s: %v, want %s", fields, err, want)
		}
	}
	long := strings.Repeat("k", 1<<20)
	_, err := chat(t, `{"messages":[{"role":"user","`+long+`":1,"`+long+`":1}]}`)
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("the error for a long key has %d bytes", len(err.Error()))
	}
}

// TestToolsThatRunAtAnthropic are left out where the client offers its own beside them, and a choice
// that says nothing is none. Fields of other APIs say nothing here.
func TestToolsThatRunAtAnthropic(t *testing.T) {
	const ask = `"messages":[{"role":"user","content":"x"}]`
	const asked = `"max_tokens":5,"messages":[{"role":"user","content":"x"}]`
	const f = `{"type":"function","function":{"name":"f","description":"","parameters":{"type":"object"}}}`
	for fields, want := range map[string]string{
		`"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":5},{"name":"f","input_schema":{"type":"object"}},
			{"type":"code_execution_20250825","name":"c"},{"type":"mcp_toolset","mcp_server_name":"s"}]`: `"tools":[` + f + `]`,
		`"tools":[{"type":"function","name":"f","input_schema":{"type":"object"}},{"type":"web_fetch_20250910","name":"w"}],
			"tool_choice":{"type":"tool","name":"f"}`: `"tools":[` + f + `],"tool_choice":"required"`,
		`"tools":[{"type":"custom","name":"f","input_schema":{"type":"object"}}],"tool_choice":{}`:        `"tools":[` + f + `]`,
		`"tools":[{"type":null,"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":null}`: `"tools":[` + f + `]`,
		`"tools":[]`: ``,
		`"stop":["x"],"n_predict":1,"max_completion_tokens":1,"response_format":{"type":"json_object"},"json_schema":{},"min_p":0.1`: `"min_p":0.1`,
	} {
		got, err := chat(t, `{"max_tokens":5,`+fields+","+ask+"}")
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		if want != "" {
			want += ","
		}
		same(t, got, "{"+want+asked+"}")
	}
}
