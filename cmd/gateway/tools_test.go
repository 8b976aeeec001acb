package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// brace makes a model begin with a brace, as a call does in the template of the tests.
const brace = `,"logit_bias":{"99":100}`

// twoTools are tools of which each has one way to be called.
const twoTools = `{"type":"function","function":{"name":"w","parameters":{"type":"object","properties":{"c":{"enum":["rome"]}},"required":["c"]}}},` +
	`{"type":"function","function":{"name":"v","parameters":{"type":"object","properties":{"d":{"enum":["oslo"]}},"required":["d"]}}}`

const twoFunctions = `[{"name":"w","parameters":{"type":"object","properties":{"c":{"enum":["rome"]}},"required":["c"]}},` +
	`{"name":"v","parameters":{"type":"object","properties":{"d":{"enum":["oslo"]}},"required":["d"]}}]`

// told is what the texts and calls of a stream's events, or of a whole answer, add up to.
func told(t *testing.T, answer string) string {
	t.Helper()
	var out strings.Builder
	for _, text := range strings.Split(answer, "\n") {
		text = strings.TrimPrefix(text, "data: ")
		if !strings.HasPrefix(text, "{") {
			continue
		}
		for _, key := range []string{"delta", "message"} {
			choice := at(parsed(text), "choices", 0)
			fmt.Fprint(&out, dig(choice, key, "content"))
			for _, call := range []any{at(choice, key, "tool_calls", 0, "function"), at(choice, key, "function_call")} {
				fmt.Fprint(&out, dig(call, "name"), dig(call, "arguments"))
			}
		}
		fmt.Fprint(&out, dig(at(parsed(text), "content", 0), "text"), dig(at(parsed(text), "delta"), "text"),
			dig(at(parsed(text), "choices", 0), "finish_reason"), dig(parsed(text), "stop_reason"),
			dig(parsed(text), "delta", "stop_reason"))
		if strings.Contains(text, `"error"`) {
			out.WriteString(text)
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(out.String(), " ", ""), "\n", "")
}

// parsed is JSON as it is decoded, nil if it is none.
func parsed(text string) (v any) {
	_ = json.Unmarshal([]byte(text), &v) // nil then
	return v
}

// at is dig for what is no string.
func at(v any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

// TestToolsThatAreChosen has a tool called that is chosen by its name, in each of the forms
// that OpenAI's API has and had for that.
func TestToolsThatAreChosen(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	const tools = `,"tools":[` + twoTools + `]`
	for name, c := range map[string]struct{ more, want string }{
		"by name":       {tools + `,"tool_choice":{"type":"function","function":{"name":"w"}}`, `w{"c":"rome"}tool_calls`},
		"by name, flat": {tools + `,"tool_choice":{"type":"function","name":"w"}`, `w{"c":"rome"}tool_calls`},
		"one allowed": {tools + `,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"w"}}]}}`,
			`w{"c":"rome"}tool_calls`},
		"required":         {tools + `,"tool_choice":"required"`, `v{"d":"oslo"}tool_calls`},
		"as an object":     {tools + `,"tool_choice":{"type":"required"}`, `v{"d":"oslo"}tool_calls`},
		"a function":       {`,"functions":` + twoFunctions + `,"function_call":{"name":"w"}`, `w{"c":"rome"}function_call`},
		"not parallel":     {tools + `,"tool_choice":"required","parallel_tool_calls":false`, `v{"d":"oslo"}tool_calls`},
		"nulls in a tool":  {`,"tools":[{"type":"function","function":{"name":"w","description":null,"parameters":null,"strict":null}}],"tool_choice":"none"`, ""},
		"no function":      {`,"functions":` + twoFunctions + `,"function_call":"none"`, ""},
		"history":          {`,"functions":` + twoFunctions + `,"function_call":{"name":"w"}`, `w{"c":"rome"}function_call`},
		"choice, no tools": {`,"tool_choice":"required"`, ""},
	} {
		messages := `[{"role":"user","content":"What is rain?"}]`
		if name == "history" {
			messages = `[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"function_call":{"name":"w","arguments":"{\"c\":\"rome\"}"}},{"role":"function","name":"w","content":"wet"},{"role":"user","content":"What is rain?"}]`
		}
		for _, stream := range []string{"", `,"stream":true`} {
			bias := brace + `,"max_tokens":200`
			if c.want == "" {
				bias = `,"max_tokens":3`
			}
			status, text := g.post(chatPath, `{"model":"coding","temperature":0,"messages":`+messages+bias+c.more+stream+`}`)
			got := told(t, text)
			if status != http.StatusOK || c.want != "" && got != c.want || c.want == "" && !strings.HasSuffix(got, "length") {
				t.Errorf("%s%s: %d %s, want %s\n%.300s", name, stream, status, got, c.want, text)
			}
			if c.want != "" && strings.HasSuffix(c.want, "function_call") == strings.Contains(text, "tool_calls") {
				t.Errorf("%s%s calls in the other way: %.300s", name, stream, text)
			}
		}
	}
	for _, c := range []struct{ more, at string }{
		{tools + `,"tool_choice":{"type":"function","function":{"name":"x"}}`, "tool_choice.function.name"},
		{tools + `,"tool_choice":{"type":"function"}`, "tool_choice.function.name"},
		{`,"tool_choice":{"type":"function","function":{"name":"x"}}`, "tool_choice.function.name"},
		{tools + `,"tool_choice":{"type":"function","name":"x"}`, "tool_choice.name"},
		{tools + `,"tool_choice":{"type":"custom","custom":{"name":"w"}}`, "tool_choice.type"},
		{tools + `,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"x"}}]}}`, "tool_choice.allowed_tools.tools[0].function.name"},
		{tools + `,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"none","tools":[]}}`, "tool_choice.allowed_tools.mode"},
		{`,"tools":[{"type":"custom","custom":{"name":"a"}}]`, "tools[0].type"},
		{`,"tools":[` + twoTools + `,{"type":"function","function":{}}]`, "tools[2].function.name"},
		{`,"tools":[{"type":"function","function":{"name":5}}]`, "tools[0].function.name"},
		{`,"tools":[{"type":"function"}]`, "tools[0].function"},
		{`,"tools":[{"type":"function","function":{"name":"a","parameters":"x"}}]`, "tools[0].function.parameters"},
		{`,"tools":[5]`, "tools[0]"},
		{`,"functions":[{"parameters":{}}]`, "functions[0].name"},
		{`,"functions":` + twoFunctions + `,"function_call":{"name":"x"}`, "function_call.name"},
		{`,"functions":` + twoFunctions + `,"function_call":"w"`, "function_call"},
		{`,"functions":[` + strings.Repeat(`{"name":"f"},`, 512) + `{"name":"f"}]`, "functions"},
	} {
		status, text := g.post(chatPath, `{"model":"coding","messages":[{"role":"user","content":"Hi"}],"max_tokens":3`+c.more+`}`)
		if status != http.StatusBadRequest || dig(at(parsed(text), "error"), "param") != c.at {
			t.Errorf("%s: %d %s, want 400 at %s", c.more, status, text, c.at)
		}
	}
}

// TestToolsThatAreForcedBesideASchema has tools called that must be, whatever form an answer is to
// have, in each API; where they need not be called, the answer has that form.
func TestToolsThatAreForcedBesideASchema(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	const schema = `{"type":"object","properties":{"x":{"const":1}},"required":["x"],"additionalProperties":false}`
	const format = `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":` + schema + `}}`
	const tools = `,"tools":[` + twoTools + `]`
	const flat = `,"text":{"format":{"type":"json_schema","name":"x","schema":` + schema + `}},"tools":[` +
		`{"type":"function","name":"w","parameters":{"type":"object","properties":{"c":{"enum":["rome"]}},"required":["c"]}}]`
	const message = `,"output_config":{"format":{"type":"json_schema","schema":` + schema + `}},"tools":[` +
		`{"name":"w","input_schema":{"type":"object","properties":{"c":{"enum":["rome"]}},"required":["c"]}}]`
	const formed = `"x":1`
	for _, c := range []struct{ path, more, want string }{
		{chatPath, format + tools + `,"tool_choice":"required"`, `"finish_reason":"tool_calls"`},
		{chatPath, format + tools + `,"tool_choice":{"type":"function","function":{"name":"w"}}`, `"finish_reason":"tool_calls"`},
		{chatPath, `,"response_format":{"type":"json_object"}` + tools + `,"tool_choice":"required"`, `"finish_reason":"tool_calls"`},
		{chatPath, format + `,"functions":` + twoFunctions + `,"function_call":{"name":"w"}`, `"finish_reason":"function_call"`},
		{"/v1/messages", message + `,"tool_choice":{"type":"any"}`, `"stop_reason":"tool_use"`},
		{"/v1/messages", message + `,"tool_choice":{"type":"tool","name":"w"}`, `"stop_reason":"tool_use"`},
		{"/v1/responses", flat + `,"tool_choice":"required"`, `"type":"function_call"`},
		{"/v1/responses", flat + `,"tool_choice":{"type":"function","name":"w"}`, `"type":"function_call"`},
		{chatPath, format + tools, formed},
		{chatPath, format + tools + `,"tool_choice":"none"`, formed},
		{chatPath, format + `,"tool_choice":"required"`, formed},
		{"/v1/messages", message + `,"tool_choice":{"type":"auto"}`, formed},
		{"/v1/responses", flat, formed},
	} {
		status, text := g.post(c.path, `{"model":"demo","temperature":0,"max_tokens":200,"max_output_tokens":200,`+
			`"messages":[{"role":"user","content":"What is rain?"}],"input":"What is rain?"`+brace+c.more+`}`)
		text = strings.NewReplacer(`\"`, `"`, " ", "").Replace(text)
		if status != http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.path, c.more, status, text, c.want)
		}
	}
	status, text := g.post(chatPath, `{"model":"demo","messages":[{"role":"user","content":"Hi"}],"max_tokens":3,`+
		`"response_format":{"type":"json_schema","json_schema":5},"tool_choice":"required"`+tools+`}`)
	if status != http.StatusBadRequest || !strings.Contains(text, "response_format") {
		t.Errorf("a mistake in a form that is not needed: %d %s", status, text)
	}
}

// TestCallsThatAreNone gets the text of answers that llama-server cannot take apart into text
// and calls, where it answers with 500 by itself: at once, and behind some text.
func TestCallsThatAreNone(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	for _, bias := range []string{"100", "18"} {
		body := func(more string) string {
			return `{"model":"demo","messages":[{"role":"user","content":"What is rain?"}],"temperature":0,"max_tokens":30,` +
				`"logit_bias":[[99,` + bias + `]]` + more + `}`
		}
		chat := `,"tools":[` + twoTools + `]`
		_, plain := g.post(chatPath, body(chat+`,"tool_choice":"none"`))
		want := told(t, plain)
		if !strings.Contains(want, "{{") {
			t.Fatalf("no braces: %s", plain)
		}
		message := `,"tools":[{"name":"w","input_schema":{"type":"object","properties":{"c":{"enum":["rome"]}},"required":["c"]}},` +
			`{"name":"v","input_schema":{"type":"object","properties":{"d":{"enum":["oslo"]}},"required":["d"]}}]`
		for _, c := range []struct{ path, more, want string }{
			{chatPath, chat, want},
			{chatPath, chat + `,"stream":true`, want},
			{chatPath, chat + `,"stream":true,"stream_options":{"include_usage":true}`, want},
			{chatPath, chat + `,"n":2`, want + want},
			{chatPath, chat + `,"n":2,"stream":true,"stream_options":{"include_usage":true}`, want + want},
			{"/v1/messages", message, strings.Replace(want, "length", "max_tokens", 1)},
			{"/v1/messages", message + `,"stream":true`, strings.Replace(want, "length", "max_tokens", 1)},
		} {
			status, text := g.post(c.path, body(c.more))
			got := told(t, text)
			if strings.Contains(c.more, `"n":2`) {
				got = told(t, ofChoice(text, 0)) + told(t, ofChoice(text, 1))
			}
			if status != http.StatusOK || got != c.want || strings.Contains(text, `"error"`) {
				t.Errorf("%s %s: %d %s, want %s", c.path, c.more, status, got, c.want)
			}
			if n := len(idsIn(text)); c.path == chatPath && n != 1 {
				t.Errorf("%s: the events have %d ids", c.more, n)
			}
		}
	}
}

// ofChoice is a stream, or a whole answer, with one of its choices.
func ofChoice(answer string, index float64) string {
	var out strings.Builder
	for _, text := range strings.Split(answer, "\n") {
		event, _ := parsed(strings.TrimPrefix(text, "data: ")).(map[string]any)
		choices, _ := event["choices"].([]any)
		for _, choice := range choices {
			if at(choice, "index") == index {
				one, _ := json.Marshal(map[string]any{"choices": []any{choice}})
				out.Write(append(one, '\n'))
			}
		}
	}
	return out.String()
}

// idsIn are the ids of a stream's events, or of a whole answer.
func idsIn(answer string) map[any]bool {
	ids := map[any]bool{}
	for _, text := range strings.Split(answer, "\n") {
		if event := parsed(strings.TrimPrefix(text, "data: ")); event != nil {
			ids[at(event, "id")] = true
		}
	}
	return ids
}

// TestUsageOfCallsThatAreNone holds the account of answers that are asked for more than once to what
// the worker counts, and what clients are told to one answer.
func TestUsageOfCallsThatAreNone(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	url, client := g.adminURL(), g.admins()
	for _, more := range []string{
		``, `,"stream":true,"stream_options":{"include_usage":true}`, `,"temperature":1.3`, `,"logprobs":true`,
		`,"n":2`, `,"n":2,"stream":true,"stream_options":{"include_usage":true}`,
	} {
		prompt, completion := accountTokens(t, client)
		workerPrompt, workerCompletion := g.workerTokens(url)
		status, text := g.post(chatPath, `{"model":"demo","messages":[{"role":"user","content":"What is rain?"}],`+
			`"max_tokens":30,"logit_bias":[[99,100]],"ignore_eos":true,"tools":[`+twoTools+`]`+more+`}`)
		g.settles(url)
		now, nowCompletion := accountTokens(t, client)
		worked, workedCompletion := g.workerTokens(url)
		prompt, completion = now-prompt, nowCompletion-completion
		workerPrompt, workerCompletion = worked-workerPrompt, workedCompletion-workerCompletion
		choices := 1 + strings.Count(more, `"n":2`)
		if status != http.StatusOK || prompt != workerPrompt || completion != workerCompletion || completion != 60*choices {
			t.Errorf("%s: %d, %d and %d tokens, llama-server counts %d and %d", more, status, prompt, completion,
				workerPrompt, workerCompletion)
		}
		if !strings.Contains(text, fmt.Sprintf(`"completion_tokens":%d,`, 30*choices)) {
			t.Errorf("%s: %s", more, text)
		}
	}
}

// TestCallsThatAreNoneEachTime gets streams to their end that say something else each time, where
// they have to be asked for twice behind some text.
func TestCallsThatAreNoneEachTime(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	for i := range 12 {
		_, text := g.post(chatPath, `{"model":"demo","messages":[{"role":"user","content":"What is rain?"}],"temperature":1.3,`+
			`"max_tokens":30,"stream":true,"logit_bias":[[99,17.5]],"tools":[`+twoTools+`]}`)
		if strings.Contains(text, `"error"`) {
			t.Fatalf("stream %d: %s", i, text)
		}
	}
}
