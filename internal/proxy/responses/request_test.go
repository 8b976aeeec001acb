package responses

import (
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

func chatOf(t *testing.T, body string) (string, *Asked, error) {
	t.Helper()
	o, err := rawjson.Parse([]byte(body))
	if err != nil {
		t.Fatal(body, err)
	}
	text, asked, err := Chat(o)
	return string(text), asked, err
}

// TestChat is of what requests come to in the words of a chat.
func TestChat(t *testing.T) {
	const f = `{"type":"function","function":{"name":"f","parameters":{},"strict":true}}`
	const g = `{"type":"function","function":{"name":"g"}}`
	const tools = `,"tools":[{"type":"function","name":"f","parameters":{},"strict":true,"description":null},{"type":"function","name":"g"}]`
	const hi = `"messages":[{"role":"user","content":"Hi"}]`
	for body, want := range map[string]string{
		`{"model":"m","input":"Hi","seed":1.0}`: `{"model":"m","seed":1.0,` + hi + `}`,
		`{"input":"Hi","instructions":"Be.","max_output_tokens":5,"temperature":0,"stream":true}`: `` +
			`{"temperature":0,"stream":true,"messages":[{"role":"system","content":"Be."},{"role":"user","content":"Hi"}],` +
			`"max_tokens":5,"stream_options":{"include_usage":true}}`,
		`{"input":"Hi","instructions":null,"max_output_tokens":null,"tools":null,"tool_choice":null,"text":null,` +
			`"reasoning":null,"metadata":null,"store":null,"include":null,"previous_response_id":null,"background":null,` +
			`"conversation":null,"prompt":null,"truncation":null,"top_logprobs":null,"user":null}`: `{` + hi + `}`,
		`{"input":"Hi","background":false,"store":true,"previous_response_id":"","truncation":"auto","n":2}`: `{` + hi + `}`,
		`{"input":[]}`: `{"messages":[]}`,
		// System prompts before all else are one.
		`{"instructions":"a \"b\"","input":[{"role":"developer","content":"c"},{"role":"system","content":""},{"role":"user","content":"d"},{"role":"system","content":"e"},{"role":"system","content":"f"}]}`: `` +
			`{"messages":[{"role":"system","content":"a \"b\"\n\nc"},{"role":"user","content":"d"},{"role":"system","content":"e"},{"role":"system","content":"f"}]}`,
		`{"instructions":"a","input":[{"role":"developer","content":[{"type":"input_text","text":"b"},{"type":"input_text","text":"c"}]}]}`: `` +
			`{"messages":[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":"c"}]}]}`,
		`{"input":[{"role":"developer","content":"a"},{"type":"message","role":"user","content":[{"type":"input_text","text":"b"},` +
			`{"type":"input_image","detail":"auto","image_url":"data:x"},{"type":"input_file","filename":"n","file_data":"data:text/plain;base64,aGk="}]}]}`: `` +
			`{"messages":[{"role":"developer","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},` +
			`{"type":"image_url","image_url":{"url":"data:x"}},{"type":"text","text":"n\nhi"}]}]}`,
		`{"input":[{"role":"user","content":"q"},{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"t"}],"encrypted_content":null},` +
			`{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"a","annotations":[]}]},` +
			`{"type":"web_search_call","id":"ws_1"},` +
			`{"type":"function_call","call_id":"c","name":"f","arguments":"{}","id":"fc_1"},` +
			`{"type":"custom_tool_call","call_id":"d","name":"g","input":"\"x\""},` +
			`{"type":"function_call_output","call_id":"c","output":"r"},` +
			`{"type":"custom_tool_call_output","call_id":"d","output":[{"type":"input_text","text":"s"},{"type":"input_image","image_url":"data:y"}]}]}`: `` +
			`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","reasoning_content":"t","tool_calls":[` +
			`{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}},` +
			`{"id":"d","type":"function","function":{"name":"g","arguments":"{\"input\":\"\\\"x\\\"\"}"}}]},` +
			`{"role":"tool","content":"r","tool_call_id":"c"},` +
			`{"role":"tool","content":[{"type":"text","text":"s"},{"type":"image_url","image_url":{"url":"data:y"}}],"tool_call_id":"d"}]}`,
		`{"input":[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"assistant","content":"b"},` +
			`{"type":"reasoning","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"x"},{"type":"reasoning","summary":[]}]}`: `` +
			`{"messages":[{"role":"assistant","content":[{"type":"text","text":"no"},{"type":"text","text":"b"}],"reasoning_content":"t"}]}`,
		`{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":""}]}`: `` +
			`{"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":""}}]}]}`,
		`{"input":[{"role":"user","content":null}]}`:                               `{"messages":[{"role":"user","content":""}]}`,
		`{"input":"Hi"` + tools + `}`:                                              `{` + hi + `,"tools":[` + f + `,` + g + `]}`,
		`{"input":"Hi"` + tools + `,"tool_choice":"none"}`:                         `{` + hi + `,"tool_choice":"none","tools":[` + f + `,` + g + `]}`,
		`{"input":"Hi"` + tools + `,"tool_choice":"required"}`:                     `{` + hi + `,"tool_choice":"required","tools":[` + f + `,` + g + `]}`,
		`{"input":"Hi"` + tools + `,"tool_choice":{"type":"function","name":"g"}}`: `{` + hi + `,"tool_choice":"required","tools":[` + g + `]}`,
		`{"input":"Hi"` + tools + `,"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]}}`: `` +
			`{` + hi + `,"tool_choice":"required","tools":[` + f + `]}`,
		`{"input":"Hi"` + tools + `,"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"g"},{"type":"function","name":"f"}]}}`: `` +
			`{` + hi + `,"tool_choice":"auto","tools":[` + f + `,` + g + `]}`,
		`{"input":"Hi","tools":[{"type":"custom","name":"c","description":"d","format":{"type":"text"}}],"tool_choice":{"type":"custom","name":"c"}}`: `` +
			`{` + hi + `,"tool_choice":"required","tools":[{"type":"function","function":{"name":"c","description":"d","parameters":` + customSchema + `}}]}`,
		`{"input":"Hi","text":{"format":{"type":"json_object"}},"reasoning":{"effort":"low","summary":"auto"}}`: `` +
			`{` + hi + `,"response_format":{"type":"json_object"},"reasoning_effort":"low"}`,
		`{"input":"Hi","text":{"format":{"type":"json_schema","name":"n","schema":{"b":1.0}},"verbosity":"low"}}`: `` +
			`{` + hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":1.0}}}}`,
		`{"input":"Hi","include":["message.output_text.logprobs"]}`: `{` + hi + `,"logprobs":true,"top_logprobs":1}`,
		`{"input":"Hi","top_logprobs":2}`:                           `{` + hi + `,"logprobs":true,"top_logprobs":2}`,
	} {
		got, _, err := chatOf(t, body)
		var a, b map[string]any
		if err != nil || json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil ||
			!reflect.DeepEqual(a, b) {
			t.Errorf("%s\nbecame %s\nwant   %s\n%v", body, got, want, err)
		}
	}
}

// TestMistakes name the field's path.
func TestMistakes(t *testing.T) {
	const tools = `"tools":[{"type":"function","name":"f"}],`
	for body, field := range map[string]string{
		`{}`: "input", `{"input":7}`: "input", `{"input":[7]}`: "input[0]", `{"input":[{}]}`: "input[0].type",
		`{"input":[{"content":"x"}]}`:                                                                                      "input[0].role",
		`{"input":[{"role":"tool","content":"x"}]}`:                                                                        "input[0].role",
		`{"input":[{"role":5,"content":"x"}]}`:                                                                             "input[0].role",
		`{"input":[{"type":5}]}`:                                                                                           "input[0].type",
		`{"input":[{"type":"odd"}]}`:                                                                                       "input[0].type",
		`{"input":[{"type":"computer_call"}]}`:                                                                             "input[0].type",
		`{"input":[{"type":"item_reference","id":"msg_1"}]}`:                                                               "input[0]",
		`{"input":[{"role":"user","content":5}]}`:                                                                          "input[0].content",
		`{"input":[{"role":"user","content":[5]}]}`:                                                                        "input[0].content[0]",
		`{"input":["a",{"role":"user","content":"x"}]}`:                                                                    "input[0]",
		`{"input":[{"role":"user","content":[{"text":"x"}]}]}`:                                                             "input[0].content[0].type",
		`{"input":[{"role":"user","content":[{"type":"input_text"}]}]}`:                                                    "input[0].content[0].text",
		`{"input":[{"role":"user","content":[{"type":"odd","text":"x"}]}]}`:                                                "input[0].content[0].type",
		`{"input":[{"role":"user","content":[{"type":"input_image"}]}]}`:                                                   "input[0].content[0].image_url",
		`{"input":[{"role":"user","content":[{"type":"input_image","file_id":1}]}]}`:                                       "input[0].content[0].file_id",
		`{"input":[{"role":"user","content":[{"type":"input_file","file_id":"x"}]}]}`:                                      "input[0].content[0].file_id",
		`{"input":[{"role":"user","content":[{"type":"input_file","file_url":"x"}]}]}`:                                     "input[0].content[0].file_url",
		`{"input":[{"role":"user","content":[{"type":"input_file"}]}]}`:                                                    "input[0].content[0].file_data",
		`{"input":[{"role":"user","content":[{"type":"input_file","file_data":"data:application/pdf;base64,JVBERi0x"}]}]}`: "input[0].content[0].file_data",
		`{"input":[{"role":"user","content":[{"type":"input_file","file_data":"?"}]}]}`:                                    "input[0].content[0].file_data",
		`{"input":[{"role":"user","content":[{"type":"input_audio"}]}]}`:                                                   "input[0].content[0].input_audio",
		`{"input":[{"type":"function_call","name":"f","arguments":"{}"}]}`:                                                 "input[0].call_id",
		`{"input":[{"type":"function_call","call_id":"c","arguments":"{}"}]}`:                                              "input[0].name",
		`{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":{}}]}`:                                     "input[0].arguments",
		`{"input":[{"type":"function_call_output","output":"x"}]}`:                                                         "input[0].call_id",
		`{"input":[{"type":"function_call_output","call_id":"c"}]}`:                                                        "input[0].output",
		`{"input":[{"type":"function_call_output","call_id":"c","output":{}}]}`:                                            "input[0].output",
		`{"input":[{"type":"function_call_output","call_id":"c","output":[{"type":"odd"}]}]}`:                              "input[0].output[0].type",
		`{"input":[{"type":"reasoning","summary":5}]}`:                                                                     "input[0].summary",
		`{"input":[{"type":"reasoning","content":[{"text":5}]}]}`:                                                          "input[0].content[0].text",
		`{"input":"x","previous_response_id":"resp_1"}`:                                                                    "previous_response_id",
		`{"input":"x","conversation":"conv_1"}`:                                                                            "conversation",
		`{"input":"x","conversation":{"id":"conv_1"}}`:                                                                     "conversation",
		`{"input":"x","prompt":{"id":"pmpt_1"}}`:                                                                           "prompt",
		`{"input":"x","background":true}`:                                                                                  "background",
		`{"input":"x","store":"yes"}`:                                                                                      "store",
		`{"input":"x","parallel_tool_calls":1}`:                                                                            "parallel_tool_calls",
		`{"input":"x","instructions":[]}`:                                                                                  "instructions",
		`{"input":"x","max_output_tokens":"5"}`:                                                                            "max_output_tokens",
		`{"input":"x","temperature":"0"}`:                                                                                  "temperature",
		`{"input":"x","top_logprobs":21}`:                                                                                  "top_logprobs",
		`{"input":"x","metadata":[]}`:                                                                                      "metadata",
		`{"input":"x","metadata":{"a":1}}`:                                                                                 "metadata.a",
		`{"input":"x","metadata":{"a":"` + strings.Repeat("x", maxEchoed) + `"}}`:                                          "metadata",
		`{"input":"x","user":5}`:                                                                                           "user",
		`{"input":"x","text":"x"}`:                                                                                         "text",
		`{"input":"x","text":{"format":"x"}}`:                                                                              "text.format",
		`{"input":"x","text":{"format":{}}}`:                                                                               "text.format.type",
		`{"input":"x","text":{"format":{"type":"json_schema","schema":5}}}`:                                                "text.format.schema",
		`{"input":"x","text":{"format":{"type":"odd"}}}`:                                                                   "text.format.type",
		`{"input":"x","reasoning":"low"}`:                                                                                  "reasoning",
		`{"input":"x","reasoning":{"effort":5}}`:                                                                           "reasoning.effort",
		`{"input":"x","tools":{}}`:                                                                                         "tools",
		`{"input":"x","tools":[5]}`:                                                                                        "tools[0]",
		`{"input":"x","tools":[{"name":"f"}]}`:                                                                             "tools[0].type",
		`{"input":"x","tools":[{"type":"function"}]}`:                                                                      "tools[0].name",
		`{"input":"x","tools":[{"type":"function","name":5}]}`:                                                             "tools[0].name",
		`{"input":"x","tools":[{"type":"function","function":{"name":"f"}}]}`:                                              "tools[0].name",
		`{"input":"x","tools":[{"type":"function","name":"f","parameters":5}]}`:                                            "tools[0].parameters",
		`{"input":"x",` + tools + `"tool_choice":"f"}`:                                                                     "tool_choice",
		`{"input":"x",` + tools + `"tool_choice":5}`:                                                                       "tool_choice",
		`{"input":"x",` + tools + `"tool_choice":{}}`:                                                                      "tool_choice.type",
		`{"input":"x",` + tools + `"tool_choice":{"type":"function"}}`:                                                     "tool_choice.name",
		`{"input":"x",` + tools + `"tool_choice":{"type":"function","name":"g"}}`:                                          "tool_choice.name",
		`{"input":"x",` + tools + `"tool_choice":{"type":"custom","name":"f"}}`:                                            "tool_choice.name",
		`{"input":"x",` + tools + `"tool_choice":{"type":"web_search_preview"}}`:                                           "tool_choice.type",
		`{"input":"x",` + tools + `"tool_choice":{"type":"allowed_tools","mode":"none","tools":[]}}`:                       "tool_choice.mode",
		`{"input":"x",` + tools + `"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]}}`:                       "tool_choice.tools",
		`{"input":"x",` + tools + `"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]}}`: "tool_choice.tools[0].name",
		`{"input":"x","tools":[{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}}]}`:        "tools[0].format.type",
	} {
		_, _, err := chatOf(t, body)
		var wrong *RequestError
		if !errors.As(err, &wrong) || wrong.Field != field || !strings.Contains(wrong.Message, field) {
			t.Errorf("%.200s: %v, want %s", body, err, field)
		}
	}
	for body, field := range map[string]string{
		`{"input":"x","tools":[{"type":"namespace","tools":[]}]}`:                                           "tools[0].name",
		`{"input":"x","tools":[{"type":"namespace","name":"n","tools":5}]}`:                                 "tools[0].tools",
		`{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"function"}]}]}`:             "tools[0].tools[0].name",
		`{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"mcp"}]}]}`:                  "tools[0].tools[0].type",
		`{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"namespace","name":"m"}]}]}`: "tools[0].tools[0].type",
	} {
		_, _, err := chatOf(t, body)
		var wrong *RequestError
		if !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%.200s: %v, want %s", body, err, field)
		}
	}
}

// inNamespace is a namespace with a function of that name.
func inNamespace(name string) string {
	return `{"type":"namespace","name":"n","description":"d","tools":[{"type":"function","name":"` + name + `"}]}`
}

// TestToolsThatRunElsewhere are left out where there are others, and refused where they are all that
// is offered, or are chosen.
func TestToolsThatRunElsewhere(t *testing.T) {
	grammar := `{"type":"custom","name":"c","format":{"type":"grammar","syntax":"lark","definition":"x"}}`
	odd := map[string]string{grammar: "format.type"}
	for _, hosted := range strings.Fields("web_search web_search_preview file_search computer_use_preview computer " +
		"code_interpreter image_generation mcp local_shell shell apply_patch tool_search") {
		odd[`{"type":"`+hosted+`"}`] = "type"
	}
	for tool, field := range odd {
		_, _, err := chatOf(t, `{"input":"x","tools":[`+tool+`]}`)
		var wrong *RequestError
		if !errors.As(err, &wrong) || wrong.Field != "tools[0]."+field {
			t.Errorf("%s: %v", tool, err)
		}
		body, asked, err := chatOf(t, `{"input":"x","tools":[`+tool+`,{"type":"function","name":"f"}]}`)
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			continue
		}
		const left = `[{"type":"function","function":{"name":"f"}}]`
		if !strings.Contains(body, left) || strings.Contains(string(asked.members), tool) {
			t.Errorf("%s: %s, %s", tool, body, asked.members)
		}
	}
}

// TestNamespaces: their tools are the model's as all others are, and a call of one says so.
func TestNamespaces(t *testing.T) {
	body, asked, err := chatOf(t, `{"input":"x","tools":[{"type":"function","name":"g"},`+inNamespace("f")+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	const both = `[{"type":"function","function":{"name":"g"}},{"type":"function","function":{"name":"f"}}]`
	if !strings.Contains(body, both) {
		t.Errorf("%s", body)
	}
	if !strings.Contains(string(asked.members), inNamespace("f")) {
		t.Errorf("%s", asked.members)
	}
	for name, within := range map[string]bool{"f": true, "g": false} {
		answer, ok := Answer([]byte(`{"id":"chatcmpl-1","created":1,"choices":[{"index":0,"finish_reason":"tool_calls",`+
			`"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"`+
			name+`","arguments":"{}"}}]}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`), asked, "m")
		if !ok || strings.Contains(string(answer), `"name":"`+name+`","namespace":"n","arguments"`) != within {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// TestToolsOfOneName: each has a name of its own for the model, in the tools, in what was called
// before and where some are chosen; its calls are told under the client's.
func TestToolsOfOneName(t *testing.T) {
	in := func(namespace, name string) string {
		return strings.Replace(inNamespace(name), `"n"`, `"`+namespace+`"`, 1)
	}
	long := strings.Repeat("ü", 40)
	tools := `"tools":[{"type":"function","name":"f"},` + in("n", "f") + `,` + in("m", "f") + `,` + in("m", "g") + `,` +
		in("a", "b__c") + `,` + in("a__b", "c") + `,` + in("x", "c") + `,` + in("y", "b__c") + `,` + in(long, "f") +
		`,{"type":"function","name":"n__f"}]`
	body, asked, err := chatOf(t, `{"input":[{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},`+
		`{"type":"function_call","call_id":"2","name":"f","namespace":"m","arguments":"{}"},`+
		`{"type":"function_call","call_id":"3","name":"f","namespace":"gone","arguments":"{}"}],`+tools+`}`)
	if err != nil {
		t.Fatal(err)
	}
	var chat struct {
		Messages []struct {
			Calls []struct{ Function struct{ Name string } } `json:"tool_calls"`
		}
		Tools []struct{ Function struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(body), &chat); err != nil {
		t.Fatal(err)
	}
	var offered, before []string
	for _, one := range chat.Tools {
		offered = append(offered, one.Function.Name)
	}
	for _, one := range chat.Messages[0].Calls {
		before = append(before, one.Function.Name)
	}
	want := []string{"f", "n__f_2", "m__f", "g", "a__b__c", "a__b__c_2", "x__c", "y__b__c", offered[8], "n__f"}
	if !slices.Equal(offered, want) || len(offered[8]) > 64 || !strings.HasPrefix(offered[8], "f_") {
		t.Errorf("the model is offered %q", offered)
	}
	if want := []string{"f", "m__f", "gone__f"}; !slices.Equal(before, want) {
		t.Errorf("the model has called %q, not %q", before, want)
	}
	for name, told := range map[string]string{
		"f": `"name":"f","arguments"`, "n__f_2": `"name":"f","namespace":"n","arguments"`,
		"m__f": `"name":"f","namespace":"m","arguments"`, "g": `"name":"g","namespace":"m","arguments"`,
		"n__f": `"name":"n__f","arguments"`, offered[8]: `"name":"f","namespace":"` + long + `","arguments"`,
	} {
		answer, _ := Answer([]byte(`{"id":"chatcmpl-1","created":1,"choices":[{"index":0,"finish_reason":"tool_calls",`+
			`"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"`+
			name+`","arguments":"{}"}}]}}]}`), asked, "m")
		if !strings.Contains(string(answer), told) {
			t.Errorf("a call of %s is not told as %s: %s", name, told, answer)
		}
	}
	for choice, left := range map[string]string{
		`{"type":"function","name":"f"}`:                                                    "f",
		`{"type":"function","name":"f","namespace":"m"}`:                                    "m__f",
		`{"type":"function","name":"c"}`:                                                    "a__b__c_2 x__c",
		`{"type":"allowed_tools","tools":[{"type":"namespace","name":"m"}]}`:                "m__f g",
		`{"type":"allowed_tools","tools":[{"type":"function","name":"f","namespace":"n"}]}`: "n__f_2",
	} {
		body, _, err := chatOf(t, `{"input":"x",`+tools+`,"tool_choice":`+choice+`}`)
		chat.Tools = nil
		if err != nil || json.Unmarshal([]byte(body), &chat) != nil {
			t.Errorf("%s: %v", choice, err)
			continue
		}
		var names []string
		for _, one := range chat.Tools {
			names = append(names, one.Function.Name)
		}
		if got := strings.Join(names, " "); got != left {
			t.Errorf("%s leaves %s, not %s", choice, got, left)
		}
	}
	if _, _, err := chatOf(t, `{"input":"x",`+tools+`,"tool_choice":{"type":"function","name":"f","namespace":"z"}}`); err == nil {
		t.Error("a tool of no namespace is chosen")
	}
}

// TestCustomInput: a text that was cut is told as far as it came.
func TestCustomInput(t *testing.T) {
	for arguments, want := range map[string]string{
		`{"input":"a\"b"}`:     `a"b`,
		`{"input": "{{{{{{`:    "{{{{{{",
		`{"input":"a\n\u00e9b`: "a\néb",
		`{"input":"a\`:         "a",
		`{"input":"a\u00e`:     "a",
		`{"input":"a"`:         "a",
		`{"input":"`:           "",
		`{"input":`:            "",
		`{"inp`:                "",
		``:                     "",
		`{"other":"a`:          "",
	} {
		if got := customInput(arguments); got != want {
			t.Errorf("%s: %q, not %q", arguments, got, want)
		}
	}
}

// TestCostIsThatOfTheBytes translates bodies of many pieces and of deep ones: what they take is in
// proportion to their length.
func TestCostIsThatOfTheBytes(t *testing.T) {
	const many, deep = 4000, 1600
	long := strings.Repeat("x", 256<<10)
	for what, body := range map[string]string{
		"turns": `{"input":[{"role":"user","content":"` + long + `"}` + strings.Repeat(`,{"role":"user","content":"y"}`, many) + `]}`,
		"turns of one": `{"input":[{"role":"assistant","content":"` + long + `"}` +
			strings.Repeat(`,{"role":"assistant","content":"y"}`, many) + `]}`,
		"thoughts": `{"input":[{"type":"reasoning","content":[{"text":"` + long + `"}]}` +
			strings.Repeat(`,{"type":"reasoning","summary":[{"text":"y"}]}`, many) + `]}`,
		"parts": `{"input":[{"role":"user","content":[{"type":"input_text","text":"` + long + `"}` +
			strings.Repeat(`,{"type":"input_text","text":"y"}`, many) + `]}]}`,
		"tools": `{"input":"` + long + `","tools":[{"type":"custom","name":"f"}` +
			strings.Repeat(`,{"type":"custom","name":"f"}`, many) + `],"tool_choice":{"type":"custom","name":"f"}}`,
		"deep": `{"input":[{"role":"user","content":` + strings.Repeat(`[{"type":"input_text","text":"x","content":`, deep) +
			`"` + long + `"` + strings.Repeat(`}]`, deep) + `}]}`,
	} {
		t.Run(what, func(t *testing.T) {
			o, err := rawjson.Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err = Chat(o)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Error(err)
			}
			if took, most := after.TotalAlloc-before.TotalAlloc, 64*uint64(len(body)); took > most {
				t.Errorf("%d bytes of a body took %d bytes, more than %d", len(body), took, most)
			}
		})
	}
}

// FuzzChat translates anything that is a JSON object: what is taken is one again, with messages.
func FuzzChat(f *testing.F) {
	for _, seed := range []string{
		`{"input":"Hi","instructions":"x","stream":true,"text":{"format":{"type":"json_schema","schema":{}}}}`,
		`{"input":[{"role":"user","content":[{"type":"input_image","image_url":"u"},{"type":"input_file","file_data":"aGk="}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]},{"type":"reasoning","summary":[{"text":"x"}]}],"tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}],"tool_choice":{"type":"allowed_tools","tools":[{"type":"custom","name":"c"}]}}`,
		`{"input":null}`, `{"input":[{}],"input":[{"role":"user","content":null}],"metadata":{"a":"b"},"reasoning":{"summary":"auto"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := rawjson.Parse(text)
		if err != nil {
			return
		}
		out, asked, err := Chat(o)
		if err != nil {
			return
		}
		var chat struct{ Messages []map[string]any }
		if err := json.Unmarshal(out, &chat); err != nil || chat.Messages == nil {
			t.Fatalf("%s became %s: %v", text, out, err)
		}
		answer, ok := Answer([]byte(`{"choices":[{"message":{"content":"x"}}]}`), asked, "m")
		if !ok || !json.Valid(answer) {
			t.Fatalf("%s is answered with %s", text, answer)
		}
	})
}
