package anthropic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// list is a string, which stands for one element of text, a list of elements, or one of them, as
// the results of tools that ran at Anthropic are. What is in an element's own content is of another type, down to leaf, which has none: however deep a body
// is nested, it is looked through and copied a few times only.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		text = slices.Concat([]byte(`[{"type":"text","text":`), text, []byte(`}]`))
	case '{':
		*l = make(list[T], 1)
		return rawjson.Unmarshal(text, &(*l)[0])
	case '[', 'n':
	default:
		return &rawjson.Mismatch{Must: "be a string or a list of blocks"}
	}
	return rawjson.Unmarshal(text, (*[]T)(l))
}

// block is one piece of a message; which fields count depends on its type.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Source    source          `json:"source"`
	Title     string          `json:"title"`
	ToolName  string          `json:"tool_name"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   list[piece]     `json:"content"`
	IsError   bool            `json:"is_error"`
}

// piece is one of what a tool has answered.
type piece struct {
	Type     string     `json:"type"`
	Text     string     `json:"text"`
	Source   source     `json:"source"`
	Title    string     `json:"title"`
	ToolName string     `json:"tool_name"`
	Content  list[leaf] `json:"content"`
}

// leaf is a text of a system prompt, of a document or of what a search has found.
type leaf struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// source is that of an image, of a document, or of what a search has found, of which it is the
// name.
type source struct {
	Name      string     `json:"-"`
	Type      string     `json:"type"`
	MediaType string     `json:"media_type"`
	Data      string     `json:"data"`
	URL       string     `json:"url"`
	Content   list[leaf] `json:"content"`
}

func (s *source) UnmarshalJSON(text []byte) error {
	type plain source // without this method
	switch text[0] {
	case '"':
		return rawjson.Unmarshal(text, &s.Name)
	case '{':
		return rawjson.Unmarshal(text, (*plain)(s))
	}
	return nil
}

// plainly returns parts as one string if all are text, which every template takes.
func plainly(parts []chatPart, between string) any {
	texts := make([]string, len(parts))
	for i, p := range parts {
		if p.Type != "text" {
			return parts
		}
		texts[i] = p.Text
	}
	return strings.Join(texts, between)
}

// result returns what a tool has answered: a string, or parts if there are pictures.
func (b *block) result(at string) (any, error) {
	var parts []chatPart
	if b.IsError {
		parts = append(parts, chatPart{Type: "text", Text: "Error: "})
	}
	for i, c := range b.Content {
		at := fmt.Sprintf("%s.content[%d]", at, i)
		if c.Type == "image" {
			image, err := c.Source.image(at)
			if err != nil {
				return nil, err
			}
			parts = append(parts, image)
			continue
		}
		text, err := c.words(at)
		if err != nil {
			return nil, err
		}
		parts = append(parts, chatPart{Type: "text", Text: text})
	}
	return plainly(parts, ""), nil
}

// piece returns what a user's block has in common with those of a tool.
func (b *block) piece() *piece {
	p := &piece{Type: b.Type, Text: b.Text, Source: b.Source, Title: b.Title, ToolName: b.ToolName}
	for _, c := range b.Content {
		p.Content = append(p.Content, leaf{c.Type, c.Text})
	}
	return p
}

// words returns a piece as text, if it is made of nothing else.
func (p *piece) words(at string) (string, error) {
	switch p.Type {
	case "text":
		return p.Text, nil
	case "search_result":
		return strings.Join([]string{p.Title, p.Source.Name, text(p.Content)}, "\n"), nil
	case "tool_reference":
		return p.ToolName, nil
	case "document":
		switch p.Source.Type {
		case "text":
			return titled(p.Title, p.Source.Data), nil
		case "content":
			return titled(p.Title, text(p.Source.Content)), nil
		}
		return "", wrong(at+".source", "only documents that are text are to be had here")
	}
	return "", wrong(at+".type", "%q is not to be had here", p.Type)
}

func titled(title, text string) string {
	if title == "" {
		return text
	}
	return title + "\n" + text
}

func (s *source) image(at string) (chatPart, error) {
	switch s.Type {
	case "base64":
		return chatPart{Type: "image_url", Image: &chatImage{URL: "data:" + s.MediaType + ";base64," + s.Data}}, nil
	case "url":
		return chatPart{Type: "image_url", Image: &chatImage{URL: s.URL}}, nil
	}
	return chatPart{}, wrong(at+".source", "must be of type base64 or url")
}

// leaves returns the texts among blocks.
func leaves(blocks []block) []leaf {
	all := make([]leaf, len(blocks))
	for i, b := range blocks {
		all[i] = leaf{b.Type, b.Text}
	}
	return all
}

// text returns the text of all leaves.
func text(leaves []leaf) string {
	var all []string
	for _, l := range leaves {
		if l.Type == "text" {
			all = append(all, l.Text)
		}
	}
	return strings.Join(all, "\n")
}

// prompt returns the text of all blocks of a system prompt, as llama-server reads it.
func prompt(blocks []leaf) string {
	var all strings.Builder
	for _, b := range blocks {
		if b.Type == "text" {
			all.WriteString(steady(b.Text))
		}
	}
	return all.String()
}

// billing begins the block that Claude Code puts before its system prompt.
const billing = "x-anthropic-billing-header:"

// steady returns a text of a system prompt without what changes with every request, in the
// way of llama-server: the digits after "cch=" of the block that begins with billing are
// all "f". Otherwise no prompt would be like the one before.
func steady(text string) string {
	if !strings.HasPrefix(text, billing) {
		return text
	}
	before, rest, found := strings.Cut(text, "cch=")
	digits, after, ends := strings.Cut(rest, ";")
	if !found || !ends || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return text
	}
	return before + "cch=" + strings.Repeat("f", len(digits)) + ";" + after
}
