// Command demo-contamination shows on this machine what docs/llama-server.md
// says: a llama-server that switches adapters answers wrongly, with status 200,
// because it reuses a KV cache under an adapter that did not compute it.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sort"

	"github.com/loragate/loragate/internal/llamatest"
)

const maxTokens = 24

var (
	prefixes = []string{
		"Please read the following carefully before you answer. My question is this: ",
		"I have asked several people about this and would like to hear yours. ",
	}
	questions = []string{"How do I sort a list?", "What is machine learning?", "What is a contract?"}
)

// way is a way of choosing the adapter on a bare llama-server.
type way struct {
	name string
	args []string
	// prepare is called before each request and returns fields for it.
	prepare func(s *llamatest.Server, id int) (map[string]any, error)
}

var ways = []way{
	{"POST /lora-adapters before each request", nil, applied},
	{"POST /lora-adapters, with --cache-ram 0", []string{"--cache-ram", "0"}, applied},
	{"the request's lora", nil, requested},
}

func applied(s *llamatest.Server, id int) (map[string]any, error) {
	status, text, err := s.Do(http.MethodPost, "/lora-adapters", []map[string]any{{"id": id, "scale": 1}})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, text)
	}
	return nil, err
}

func requested(_ *llamatest.Server, id int) (map[string]any, error) {
	return map[string]any{"lora": []map[string]any{{"id": id, "scale": 1}}}, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "demo-contamination: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	names := []string{"chat", "coding", "legal", "medical"}
	var files []string
	for _, name := range names {
		files = append(files, llamatest.Adapters()[name])
	}
	fmt.Println("Asking a fresh llama-server for each adapter what is right ...")
	right, err := references(files)
	if err != nil {
		return err
	}
	var trials []trial
	for t := range right {
		trials = append(trials, t)
	}
	sort.Slice(trials, func(i, j int) bool { return trials[i].less(trials[j]) })
	trials = append(trials, trials...)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })

	fmt.Printf("\n%-44s wrong answers\n", "one llama-server, the adapter chosen by")
	var example string
	for _, w := range ways {
		wrong, shown, err := w.count(files, trials, right)
		if err != nil {
			return err
		}
		fmt.Printf("%-44s %d of %d\n", w.name, wrong, len(trials))
		if example == "" {
			example = shown
		}
	}
	if example != "" {
		fmt.Printf("\nOne of them:\n%s", example)
	}
	fmt.Println("\nThe gateway on the same questions: `make test`, TestNoContamination.")
	return nil
}

// trial is a question for one adapter.
type trial struct {
	adapter int
	prompt  string
}

func (t trial) less(u trial) bool {
	if t.adapter != u.adapter {
		return t.adapter < u.adapter
	}
	return t.prompt < u.prompt
}

// references returns what each adapter answers alone, computed anew.
func references(files []string) (map[trial]string, error) {
	right := map[trial]string{}
	for id, file := range files {
		s, err := llamatest.Launch([]string{file}, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
		if err != nil {
			return nil, err
		}
		for _, prefix := range prefixes {
			for _, question := range questions {
				t := trial{id, prefix + question}
				right[t], err = ask(s, t.prompt, map[string]any{"cache_prompt": false})
				if err != nil {
					s.Close()
					return nil, err
				}
			}
		}
		s.Close()
	}
	return right, nil
}

// count runs the trials one after the other and returns how many answers were
// wrong, and one of them.
func (w way) count(files []string, trials []trial, right map[trial]string) (wrong int, example string, err error) {
	args := append([]string{"--parallel", "4", "--ctx-size", "4096"}, w.args...)
	s, err := llamatest.Launch(files, args...)
	if err != nil {
		return 0, "", err
	}
	defer s.Close()
	for _, t := range trials {
		fields, err := w.prepare(s, t.adapter)
		if err != nil {
			return 0, "", err
		}
		got, err := ask(s, t.prompt, fields)
		if err != nil {
			return 0, "", err
		}
		if got != right[t] {
			wrong++
			example = fmt.Sprintf("  asked     %s\n  answered  %q\n  right is  %q\n", t.prompt, got, right[t])
		}
	}
	return wrong, example, nil
}

func ask(s *llamatest.Server, prompt string, fields map[string]any) (string, error) {
	body := map[string]any{
		"messages":   []map[string]string{{"role": "user", "content": prompt}},
		"max_tokens": maxTokens, "temperature": 0,
	}
	for k, v := range fields {
		body[k] = v
	}
	status, text, err := s.Do(http.MethodPost, "/v1/chat/completions", body)
	if err != nil {
		return "", err
	}
	var reply struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(text, &reply); err != nil || status != http.StatusOK || len(reply.Choices) != 1 {
		return "", fmt.Errorf("status %d: %s", status, text)
	}
	return reply.Choices[0].Message.Content, nil
}
