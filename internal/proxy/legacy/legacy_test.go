package legacy

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

func TestRead(t *testing.T) {
	for body, want := range map[string]string{
		`{"prompt":"x","best_of":1,"suffix":"","logprobs":null}`: `{"prompt":"x","best_of":1,"suffix":"","logprobs":null}`,
		`{"prompt":"x","logprobs":3}`:                            `{"prompt":"x","n_probs":3}`,
		`{"prompt":"x","logprobs":0}`:                            `{"prompt":"x","n_probs":1}`,
		`{"prompt":"x","logprobs":false}`:                        `{"prompt":"x"}`,
		`{"prompt":"x","best_of":3}`:                             `{"prompt":"x","best_of":3,"n":3,"n_probs":1}`,
		`{"prompt":"x","n":2,"best_of":2,"stream":true}`:         `{"prompt":"x","n":2,"best_of":2,"stream":true}`,
		`{"prompt":["x"],"suffix":"y"}`:                          `{"suffix":"y","input_prefix":"x","input_suffix":"y"}`,
		`{"echo":true,"logprobs":1}`:                             "logprobs",
		`{"echo":1}`:                                             "echo",
		`{"best_of":1,"n":2}`:                                    "best_of",
		`{"best_of":21}`:                                         "best_of",
		`{"best_of":2.5}`:                                        "best_of",
		`{"best_of":2,"stream":true}`:                            "best_of",
		`{"logprobs":-1}`:                                        "logprobs",
		`{"prompt":"x","suffix":1}`:                              "suffix",
		`{"prompt":["x","y"],"suffix":"z"}`:                      "prompt",
	} {
		_, changed, err := Read(scan(t, body))
		got := string(changed.Apply())
		var e *httpkit.Error
		if errors.As(err, &e) {
			got = e.Param
		}
		if got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}

// heart is what llama-server tells of two tokens that make up one character, and of one behind it.
const heart = `[{"id":1,"token":"","bytes":[195],"logprob":-1,"top_logprobs":[{"id":1,"token":"","bytes":[195],"logprob":-1},{"id":9,"token":"a","bytes":[97],"logprob":-2}]},
{"id":2,"token":"","bytes":[169],"logprob":-0.5,"top_logprobs":[{"id":9,"token":"\"","bytes":[34],"logprob":-0.1},{"id":2,"token":"","bytes":[169],"logprob":-0.5}]},
{"id":3,"token":" b","bytes":[32,98],"logprob":-3,"top_logprobs":[{"id":8,"token":"c","bytes":[99],"logprob":-0.1}]}]`

func TestOlderForm(t *testing.T) {
	const want = `{"tokens":["bytes:\\xc3","bytes:\\xa9"," b"],"token_logprobs":[-1,-0.5,-3],` +
		`"top_logprobs":[{"bytes:\\xc3":-1},{"\"":-0.1,"bytes:\\xa9":-0.5},{"c":-0.1," b":-3}],"text_offset":[4,4,5]}`
	if got := string(older([]byte(heart), 1, &place{at: 4})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	sampled := `[{"id":3,"token":"b","bytes":[98],"prob":1,"top_probs":[{"id":8,"token":"c","bytes":[99],"prob":0}]}]`
	const own = `{"tokens":["b"],"token_logprobs":[0],"top_logprobs":[{"c":-9999,"b":0}],"text_offset":[0]}`
	if got := string(older([]byte(sampled), 1, &place{})); got != own {
		t.Errorf("got  %s\nwant %s", got, own)
	}
}

// TestBest: the likeliest candidates are the answer, whatever their order.
func TestBest(t *testing.T) {
	choice := func(text, logprobs string) string {
		var all []string
		for _, p := range strings.Fields(logprobs) {
			all = append(all, `{"token":"a","bytes":[97],"logprob":`+p+`}`)
		}
		return `{"text":"` + text + `","index":7,"logprobs":{"content":[` + strings.Join(all, ",") + `]},"finish_reason":"stop"}`
	}
	answer := `{"choices":[` + choice("worst", "-2 -2") + "," + choice("none", "") + "," + choice("best", "-0.5 -0.7 -0.6") + "," +
		choice("second", "-0.9") + `]}`
	o := Options{Choices: 2, Candidates: 4, Echo: true, Prompts: [][]byte{[]byte("p ")}}
	got, ok := o.Answer([]byte(answer), Head{})
	const want = `{"choices":[{"text":"p best","index":0,"logprobs":null,"finish_reason":"stop"},` +
		`{"text":"p second","index":1,"logprobs":null,"finish_reason":"stop"}]}`
	if string(got) != want || !ok {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, wrong := range []string{`[]`, `{}`, `{"choices":[1]}`} {
		if _, ok := o.Answer([]byte(wrong), Head{}); ok {
			t.Errorf("%s is an answer", wrong)
		}
	}
}
