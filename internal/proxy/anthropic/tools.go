package anthropic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
)

type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"input_schema"`
}

// clientTools are the tools that Anthropic defines and that run at the client, by how their
// types begin: their schemas are known to Anthropic's models, and so are not sent. Source:
// Anthropic's documentation of client tools.
var clientTools = []struct{ kind, description, schema string }{
	{"bash_", "Runs a command in a shell that goes on between calls.", `{"type":"object","properties":{` +
		`"command":{"type":"string"},"restart":{"type":"boolean"}}}`},
	{"text_editor_", "Views and edits files.", `{"type":"object","properties":{` +
		`"command":{"type":"string","enum":["view","create","str_replace","insert","undo_edit"]},"path":{"type":"string"},` +
		`"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},` +
		`"insert_line":{"type":"integer"},"insert_text":{"type":"string"},` +
		`"view_range":{"type":"array","items":{"type":"integer"}}},"required":["command","path"]}`},
	{"memory_", "Keeps files over conversations.", `{"type":"object","properties":{` +
		`"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},` +
		`"path":{"type":"string"},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},` +
		`"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},` +
		`"new_path":{"type":"string"}},"required":["command"]}`},
	{"computer_", "Looks at the screen, and moves the mouse and types.", `{"type":"object","properties":{` +
		`"action":{"type":"string"},"coordinate":{"type":"array","items":{"type":"integer"}},"text":{"type":"string"}},` +
		`"required":["action"]}`},
}

// known fills in what a client leaves out of a tool that Anthropic defines. It reports false
// for one that would run at Anthropic.
func (t *tool) known() bool {
	if t.Type == "" || t.Type == "custom" || t.Type == "function" {
		return true
	}
	for _, c := range clientTools {
		if !strings.HasPrefix(t.Type, c.kind) {
			continue
		}
		if t.Description == "" {
			t.Description = c.description
		}
		if len(t.Schema) == 0 {
			t.Schema = json.RawMessage(c.schema)
		}
		return true
	}
	return false
}

// offered are the tools of a request that run at the client.
type offered struct {
	names []string
	chat  []json.RawMessage // in the words of a chat, one for each name
	// absent are the names of those that run at Anthropic.
	absent []string
}

// offer takes in the tools of a request. Those that run at Anthropic are left out where others are
// offered beside them: clients offer what they have without being asked. Where nothing else is
// offered they are refused.
func offer(tools []tool) (*offered, error) {
	o := &offered{}
	var refusal error
	for i, t := range tools {
		at := fmt.Sprintf("tools[%d]", i)
		if !t.known() {
			o.absent = append(o.absent, t.Name)
			refusal = cmp.Or(refusal, error(wrong(at+".type", "%q runs at Anthropic, and is not to be had here",
				httpkit.Shorten(t.Type))))
			continue
		}
		if t.Name == "" {
			return nil, wrong(at+".name", "is required")
		}
		function := map[string]any{"name": t.Name, "description": t.Description}
		if len(t.Schema) > 0 && string(t.Schema) != "null" {
			if t.Schema[0] != '{' {
				return nil, wrong(at+".input_schema", "must be a JSON schema, which is an object")
			}
			function["parameters"] = t.Schema
		}
		o.names = append(o.names, t.Name)
		o.chat = append(o.chat, encode(map[string]any{"type": "function", "function": function}))
	}
	if len(o.names) == 0 {
		return o, refusal
	}
	return o, nil
}

// toolChoice says whether and which tools are used.
type toolChoice struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	OneAtMax bool   `json:"disable_parallel_tool_use"`
}

// apply has tools be used as asked. One that is forced by its name is the only one that
// there is: llama-server can force a call, but not of which of them.
func (t *toolChoice) apply(tools *offered, set func(key string, value any)) error {
	if t == nil || *t == (toolChoice{}) { // which says nothing, as null does
		return nil
	}
	switch t.Type {
	case "auto", "none":
		set("tool_choice", t.Type)
	case "any":
		set("tool_choice", "required")
	case "tool":
		at := slices.Index(tools.names, t.Name)
		switch {
		case at >= 0:
			set("tools", tools.chat[at:at+1])
			set("tool_choice", "required")
		case slices.Contains(tools.absent, t.Name):
			return wrong("tool_choice.name", "%q runs at Anthropic, and is not to be had here", httpkit.Shorten(t.Name))
		default:
			return wrong("tool_choice.name", "there is no tool %q", httpkit.Shorten(t.Name))
		}
	default:
		return wrong("tool_choice.type", "must be auto, any, tool or none")
	}
	t.limit(set)
	return nil
}

func (t *toolChoice) limit(set func(key string, value any)) {
	if t.OneAtMax {
		set("parallel_tool_calls", false)
	}
}
