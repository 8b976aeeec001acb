package fields

import (
	"errors"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

func scan(t *testing.T, text string) rawjson.Object {
	t.Helper()
	o, err := rawjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// refusal returns which field an error names, and what it says of it; both are "" for none.
func refusal(err error) (param, says string) {
	var e *httpkit.Error
	if errors.As(err, &e) {
		return e.Param, e.Message
	}
	return "", ""
}

// TestCheck: what llama-server has a meaning for passes, all else is refused by name.
func TestCheck(t *testing.T) {
	for body, want := range map[string]string{
		`{"top_p":1.0,"min_p":0,"temperature":-1,"top_k":-1,"seed":-7,"max_tokens":-1,"unknown":"x"}`:                 "",
		`{"temperature":3.5,"frequency_penalty":3,"seed":4294967296,"max_tokens":8.0,"stop":[null,"a"],"top_k":true}`: "",
		`{"logit_bias":{"5":-200,"rain":1,"7":false}}`:                                                                "",
		`{"logit_bias":[[5,-100],["rain",false]]}`:                                                                    "",
		`{"stream_options":{"include_obfuscation":true,"include_usage":null}}`:                                        "",
		`{"response_format":{"type":"json_schema"},"top_p":null}`:                                                     "",
		`{"top_p":1.1}`:                          `top_p: The field "top_p" must be a number from 0 to 1.`,
		`{"min_p":-0.1}`:                         `min_p: The field "min_p" must be a number from 0 to 1.`,
		`{"top_p":"1"}`:                          `top_p: The field "top_p" must be a number from 0 to 1.`,
		`{"repeat_penalty":0}`:                   `repeat_penalty: The field "repeat_penalty" must be a number above 0.`,
		`{"repeat_penalty":false}`:               `repeat_penalty: The field "repeat_penalty" must be a number above 0.`,
		`{"repeat_penalty":"x"}`:                 `repeat_penalty: The field "repeat_penalty" must be a number from `,
		`{"mirostat":3}`:                         `mirostat: The field "mirostat" must be a whole number from 0 to 2.`,
		`{"max_tokens":8.5}`:                     `max_tokens: The field "max_tokens" must be a whole number from -1 to 2147483647.`,
		`{"max_tokens":-2}`:                      `max_tokens: The field "max_tokens" must be a whole number from -1 to 2147483647.`,
		`{"n_predict":1e12}`:                     `n_predict: The field "n_predict" must be a whole number from -1 to 2147483647.`,
		`{"top_logprobs":21}`:                    `top_logprobs: The field "top_logprobs" must be a whole number from 0 to 20.`,
		`{"seed":1.5}`:                           `seed: The field "seed" must be a whole number.`,
		`{"temperature":1e40}`:                   `temperature: The field "temperature" must be a number from -3.4`,
		`{"cache_prompt":1}`:                     `cache_prompt: The field "cache_prompt" must be true or false.`,
		`{"reasoning_format":1}`:                 `reasoning_format: The field "reasoning_format" must be a string.`,
		`{"stop":1}`:                             `stop: The field "stop" must be a string or a list of strings.`,
		`{"stop":["a",1]}`:                       `stop[1]: The field "stop[1]" must be a string.`,
		`{"stream_options":{"include_usage":1}}`: `stream_options.include_usage: The field "stream_options.include_usage" must be true or false.`,
		`{"stream_options":1}`:                   `stream_options: The field "stream_options" must be an object.`,
		`{"response_format":"json"}`:             `response_format: The field "response_format" must be an object.`,
		`{"response_format":{"type":"x"}}`:       `response_format.type: The field "response_format.type" must be text, json_object or json_schema.`,
		`{"response_format":{"type":"json_schema","json_schema":1}}`: `response_format.json_schema: The field "response_format.json_schema" must be an object.`,
		`{"logit_bias":"x"}`:         `logit_bias: The field "logit_bias" must be an object of tokens and their biases.`,
		`{"logit_bias":{"100":1}}`:   `logit_bias.100: The field "logit_bias.100" must be a token, a whole number from 0 to 99.`,
		`{"logit_bias":{"-1":1}}`:    `logit_bias.-1: The field "logit_bias.-1" must be a token, a whole number from 0 to 99.`,
		`{"logit_bias":{"5":"x"}}`:   `logit_bias.5: The field "logit_bias.5" must be a number, or false to ban the token.`,
		`{"logit_bias":[[5,1],[5]]}`: `logit_bias[1]: The field "logit_bias[1]" must be a list of a token and its bias.`,
		`{"logit_bias":[[1.5,1]]}`:   `logit_bias[0][0]: The field "logit_bias[0][0]" must be a token, a whole number from 0 to 99.`,
	} {
		_, err := Check(scan(t, body), 100)
		param, says := refusal(err)
		if got := param + ": " + says; want == "" && param != "" || want != "" && !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got  %s\n want %s", body, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":null,"b":1,"c":{"d":null}}`: `{"b":1,"c":{"d":null}}`,
		`{"a":null,"a":1}`:                `{"a":null,"a":1}`,
		`{"a":1,"a":null}`:                `{}`,
		`{"a":1}`:                         `{"a":1}`,
	} {
		if got := string(Plain(scan(t, body)).Apply()); got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}

// TestMessages: every mistake is named by its path, and nulls are as if they were not there.
func TestMessages(t *testing.T) {
	model := Model{Inputs: []string{"text"}, Template: `{% if role == 'ipython' %}`}
	for messages, want := range map[string]string{
		`[{"role":"user","content":"x"},{"role":"ipython","content":null}]`:                                            "",
		`[{"role":"user","content":"x","name":null}]`:                                                                  `[{"role":"user","content":"x"}]`,
		`[{"role":"assistant","content":"x","tool_calls":null,"reasoning_content":null},{"role":"user","content":[]}]`: `[{"role":"assistant","content":"x"},{"role":"user","content":[]}]`,
		`[{"role":"assistant","tool_calls":[{"id":null,"type":"function","function":{"name":"f","arguments":"{}"}}]}]`: `[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}]`,
		`1`:                               "messages",
		`["x"]`:                           "messages[0]",
		`[{"content":"x"}]`:               "messages[0].role",
		`[{"role":null,"content":"x"}]`:   "messages[0].role",
		`[{"role":"","content":"x"}]`:     "messages[0].role",
		`[{"role":"robot","content":""}]`: "messages[0].role",
		`[{"role":"user","content":"x"},{"role":"user"}]`:                                   "messages[1].content",
		`[{"role":"assistant"}]`:                                                            "messages[0].content",
		`[{"role":"assistant","tool_calls":null}]`:                                          `[{"role":"assistant","content":""}]`,
		`[{"role":"user","tool_calls":null}]`:                                               "messages[0].content",
		`[{"role":"user","content":1}]`:                                                     "messages[0].content",
		`[{"role":"user","content":["x"]}]`:                                                 "messages[0].content[0]",
		`[{"role":"user","content":[{"text":"x"}]}]`:                                        "messages[0].content[0].type",
		`[{"role":"user","content":[{"type":"text"}]}]`:                                     "messages[0].content[0].text",
		`[{"role":"user","content":[{"type":"text","text":null}]}]`:                         "messages[0].content[0].text",
		`[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]`:                 "messages[0].content[0]",
		`[{"role":"user","content":"x","name":1}]`:                                          "messages[0].name",
		`[{"role":"tool","content":"x","tool_call_id":1}]`:                                  "messages[0].tool_call_id",
		`[{"role":"assistant","tool_calls":{}}]`:                                            "messages[0].tool_calls",
		`[{"role":"assistant","tool_calls":[{"type":"x"}]}]`:                                "messages[0].tool_calls[0].type",
		`[{"role":"assistant","tool_calls":[{"type":"function"}]}]`:                         "messages[0].tool_calls[0].function",
		`[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f"}}]}]`: "messages[0].tool_calls[0].function.arguments",
	} {
		body, err := Messages(scan(t, `{"messages":`+messages+`}`), model)
		got, _ := refusal(err)
		if err == nil {
			raw, _ := body.Raw("messages")
			if got = string(raw); want == "" {
				want = messages
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", messages, got, want)
		}
	}
	seeing := Model{Inputs: []string{"text", "image"}}
	if _, err := Messages(scan(t,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}`), seeing); err != nil {
		t.Error(err)
	}
}

func BenchmarkChat(b *testing.B) {
	body, err := rawjson.Parse([]byte(`{"model":"coding","messages":[{"role":"system","content":"Be brief."},` +
		`{"role":"user","content":"How are you?"}],"max_tokens":64,"temperature":0.7,"top_p":0.9,"stream":true,` +
		`"stream_options":{"include_usage":true},"stop":["a"]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		plain, err := Check(body, 4096)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Messages(plain, Model{}); err != nil {
			b.Fatal(err)
		}
	}
}
