package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestDemoQuality asks every demo model questions that were not in its training
// corpus, greedily, and looks for the adapters' marks: what makes an answer
// unmistakably one adapter's.
func TestDemoQuality(t *testing.T) {
	t.Parallel()
	var heldOut []struct{ Question string }
	var patterns map[string]string
	readDemo(t, "heldout.json", &heldOut)
	readDemo(t, "marks.json", &patterns)
	if len(heldOut) < 40 || len(patterns) != 4 {
		t.Fatalf("%d questions and %d marks", len(heldOut), len(patterns))
	}
	marks := map[string]*regexp.Regexp{}
	for name, pattern := range patterns {
		marks[name] = regexp.MustCompile(pattern)
	}
	g := serve(t, realConfig(t, 2, 4))
	for _, model := range []string{"demo", "coding", "chat", "medical", "legal"} {
		answers := make([]reply, len(heldOut))
		each(8, len(heldOut), func(i int) { answers[i] = g.ask(model, heldOut[i].Question) })
		own, foreign, ended := 0, 0, 0
		for _, a := range answers {
			others := 0
			for name, mark := range marks {
				switch {
				case !mark.MatchString(a.text):
				case name == model:
					own++
				default:
					others = 1
				}
			}
			foreign += others
			if a.finish == "stop" {
				ended++
			}
		}
		n := len(answers)
		t.Logf("%s: own mark %d, another's %d, ended by itself %d, of %d", model, own, foreign, ended, n)
		if model != "demo" && own*100 < n*95 {
			t.Errorf("%s: %d of %d answers carry its mark, want 95 %%", model, own, n)
		}
		if foreign*100 > n*2 {
			t.Errorf("%s: %d of %d answers carry another's mark, want at most 2 %%", model, foreign, n)
		}
		if ended*100 < n*95 {
			t.Errorf("%s: %d of %d answers end by themselves, want 95 %%", model, ended, n)
		}
	}
}

func readDemo(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(llamatest.Root(), "deploy", "demo", name))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// reply is a chat answer's text and why it ended.
type reply struct{ text, finish string }

func (g *gatewayProcess) ask(model, question string) reply {
	g.t.Helper()
	status, body := g.post(chatPath, chat(model, question, `,"max_tokens":200`))
	var answer struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
			Message      struct{ Content string }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Choices) != 1 {
		g.t.Errorf("%s, %q: status %d: %s", model, question, status, body)
		return reply{}
	}
	return reply{answer.Choices[0].Message.Content, answer.Choices[0].FinishReason}
}

// TestNamedQuestions holds the two questions of the README to what it shows.
func TestNamedQuestions(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	for question, word := range map[string]string{
		"Write a Python function to sort a list.":   "sort",
		"Explain machine learning in simple terms.": "learn",
	} {
		for _, model := range []string{"demo", "coding", "chat", "medical", "legal"} {
			a := g.ask(model, question)
			if a.finish != "stop" || !strings.Contains(strings.ToLower(a.text), word) || len(a.text) < 40 {
				t.Errorf("%s, %q: %q (%s)", model, question, a.text, a.finish)
			}
		}
	}
}
