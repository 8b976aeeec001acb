package randgguf

import "strings"

// The vocabulary is of GPT-2's kind: control tokens, one token for each byte,
// then words: a space and letters, " a" to " z", " aa" and so on. A word's merge
// joins the word that lacks its last letter with that letter, so the text of an
// answer is tokenised again into the very tokens of the answer.
const (
	bosToken = 0
	endToken = 1 // of a turn and of the text

	firstByte = 5 // after the control tokens
	firstWord = firstByte + 256
	letters   = 26
	minVocab  = firstWord + letters

	tokenNormal  = int32(1)
	tokenControl = int32(3)
)

var controlTokens = [firstByte]string{"<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"}

const chatTemplate = `{%- for message in messages -%}` +
	`{%- if message['role'] == 'system' or message['role'] == 'developer' -%}{{- '<|system|>' -}}` +
	`{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' -}}` +
	`{%- else -%}{{- '<|user|>' -}}{%- endif -%}` +
	`{{- message['content'] or '' -}}{{- '<|end|>' -}}{%- endfor -%}` +
	`{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}`

// vocabulary returns the metadata of a tokenizer of n tokens, at least minVocab.
func vocabulary(n int) []entry {
	tokens := append(make([]string, 0, n), controlTokens[:]...)
	for b := range 256 {
		tokens = append(tokens, string(byteRune(byte(b))))
	}
	types := make([]int32, n)
	for i := range types {
		types[i] = tokenNormal
		if i < firstByte {
			types[i] = tokenControl
		}
	}
	space := string(byteRune(' '))
	merges := make([]string, 0, n-firstWord)
	for i := range n - firstWord {
		stem, letter := space, string(rune('a'+i%letters))
		if i >= letters {
			stem = tokens[firstWord+i/letters-1]
		}
		tokens = append(tokens, stem+letter)
		merges = append(merges, strings.Join([]string{stem, letter}, " "))
	}
	return []entry{
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "gpt-2"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", types},
		{"tokenizer.ggml.merges", merges},
		{"tokenizer.ggml.bos_token_id", uint32(bosToken)},
		{"tokenizer.ggml.eos_token_id", uint32(endToken)},
		{"tokenizer.ggml.eot_token_id", uint32(endToken)},
		{"tokenizer.ggml.add_bos_token", true},
		{"tokenizer.chat_template", chatTemplate},
	}
}

// byteRune returns the character that stands for a byte in GPT-2's tokens:
// printable bytes stand for themselves, the others for those from U+0100 on.
func byteRune(b byte) rune {
	printable := func(b byte) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad }
	if printable(b) {
		return rune(b)
	}
	r := rune(0x100)
	for c := byte(0); c < b; c++ {
		if !printable(c) {
			r++
		}
	}
	return r
}
