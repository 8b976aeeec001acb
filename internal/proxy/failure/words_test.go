package failure

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// TestWords: what llama-server says of a field names that, and in nobody's code.
func TestWords(t *testing.T) {
	body, _ := rawjson.Scan([]byte(`{"best_of":9,"suffix":"x","messages":[],"logprobs":true}`))
	for _, c := range []struct {
		status         int
		says           string
		want           int
		param, message string
	}{
		{400, "Field 'seed': [json.exception.type_error.302] type must be number, but is string", 400, "seed",
			`The field "seed" must be a number, not a string.`},
		{400, "Field 'cache_prompt': [json.exception.type_error.302] type must be boolean, but is array", 400, "cache_prompt",
			`The field "cache_prompt" must be true or false, not an array.`},
		{400, "Field 'n': Value must be between 1 <= value <= 2, but got 9", 400, "best_of",
			`The field "best_of" must be from 1 to 2, not 9.`},
		{400, "Field 'lora': Error: odd.", 400, "lora", `The field "lora" is refused by llama-server: Error: odd.`},
		{500, "Failed to parse messages: [json.exception.out_of_range.403] key 'text' not found", 400, "messages",
			`The field "messages" is refused by llama-server: Failed to parse messages: a value lacks "text".`},
		{500, "[json.exception.type_error.302] type must be string, but is null", 400, "",
			"A value of the request must be a string, not null."},
		{501, "Infill is not supported by this model: prefix token is missing.", 400, "suffix",
			`The field "suffix" is not to be had of this base, which has no tokens for the middle of a text: leave it out, or ` +
				"serve a base that has them, as many that write code do."},
		{500, "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at line 1, column 1", 400,
			"messages", `The field "messages" has a call of a tool whose "arguments" are no JSON: where there are none, they are "{}".`},
		{400, "Unable to generate parser for this template. Automatic parser generation failed: \n------------\nWhile executing " +
			"CallExpression at line 3, column 19 in source:\n...first -%}↵{{ raise_exception('System mess...\n   ^\n" +
			"Error: Jinja Exception: System message must be at the beginning.", 400,
			"messages", `The field "messages" is refused by the model's chat template: System message must be at the beginning.`},
		{500, "\n------------\nWhile executing FilterExpression at line 1, column 2 in source:\n{{ x | y }}\n  ^\nError: Unknown filter: y",
			400, "messages", `The field "messages" cannot be put into the model's chat template.`},
		{500, "[json.exception.parse_error.101] it was the answer", 500, "", "it was the answer"},
		{400, "logprobs is not supported with tools + stream", 400, "logprobs",
			`The field "logprobs" is not to be had in streams with tools.`},
	} {
		e := FromWorker(Asked{Body: body}, c.status, []byte(`{"error":{"message":`+string(rawjson.String(c.says))+`}}`))
		if e.Status != c.want || e.Param != c.param || e.Message != c.message {
			t.Errorf("%s became %d, %q: %s", c.says, e.Status, e.Param, e.Message)
		}
	}
}

// TestOddPrompts: what is no prompt is named by its path.
func TestOddPrompts(t *testing.T) {
	const odd = `"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt string, or a list ` +
		"of mixed strings & tokens."
	for body, c := range map[string]struct{ says, param string }{
		`{"prompt":[{}]}`:                       {odd, "prompt[0]"},
		`{"prompt":{"x":1}}`:                    {odd, "prompt"},
		`{"prompt":5}`:                          {odd, "prompt"},
		`{"prompt":["a",null]}`:                 {odd, "prompt[1]"},
		`{"prompt":["a",["b",true]]}`:           {odd, "prompt[1][1]"},
		`{"prompt":["a",[["b"]]]}`:              {odd, "prompt[1][0]"},
		`{"prompt":[{"prompt_string":5}]}`:      {"[json.exception.type_error.302] type must be string, but is number", "prompt[0].prompt_string"},
		`{"prompt":"a"}`:                        {"[json.exception.type_error.302] type must be string, but is number", ""},
		`{"prompt":[]}`:                         {`"prompt" must not be empty`, "prompt"},
		`{"n_predict":1}`:                       {"[json.exception.out_of_range.403] key 'prompt' not found", "prompt"},
		`{"input":[true],"model":"x"}`:          {odd, "input[0]"},
		`{"prompt":[1,"a",-1,{"x":1}],"n":"x"}`: {odd, "prompt[3]"},
	} {
		o, _ := rawjson.Scan([]byte(body))
		e := FromWorker(Asked{Body: o}, 400, []byte(`{"error":{"message":`+string(rawjson.String(c.says))+`}}`))
		if e.Status != 400 || e.Param != c.param || strings.Contains(e.Message, "json") {
			t.Errorf("%s: %q, %s", body, e.Param, e.Message)
		}
	}
}
