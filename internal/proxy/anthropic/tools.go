package anthropic

import (
	"encoding/json"
	"fmt"
	"strings"
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
	if t.Type == "" || t.Type == "custom" {
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

func chatTools(tools []tool) ([]any, error) {
	list := make([]any, len(tools))
	for i, t := range tools {
		if !t.known() {
			return nil, wrong(fmt.Sprintf("tools[%d].type", i),
				"%q runs at Anthropic, and is not to be had here", t.Type)
		}
		if t.Name == "" {
			return nil, wrong(fmt.Sprintf("tools[%d].name", i), "is required")
		}
		function := map[string]any{"name": t.Name, "description": t.Description}
		if len(t.Schema) > 0 {
			function["parameters"] = t.Schema
		}
		list[i] = map[string]any{"type": "function", "function": function}
	}
	return list, nil
}

// toolChoice says whether and which tools are used.
type toolChoice struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	OneAtMax bool   `json:"disable_parallel_tool_use"`
}

// apply has tools be used as asked. One that is forced by its name is the only one that
// there is: llama-server can force a call, but not of which of them.
func (t *toolChoice) apply(tools []tool, set func(key string, value any)) error {
	if t == nil {
		return nil
	}
	switch t.Type {
	case "auto", "none":
		set("tool_choice", t.Type)
	case "any":
		set("tool_choice", "required")
	case "tool":
		for _, one := range tools {
			if one.Name != t.Name {
				continue
			}
			only, err := chatTools([]tool{one})
			if err != nil {
				return err
			}
			set("tools", only)
			set("tool_choice", "required")
			return t.limit(set)
		}
		return wrong("tool_choice.name", "there is no tool %q", t.Name)
	default:
		return wrong("tool_choice.type", "must be auto, any, tool or none")
	}
	return t.limit(set)
}

func (t *toolChoice) limit(set func(key string, value any)) error {
	if t.OneAtMax {
		set("parallel_tool_calls", false)
	}
	return nil
}
