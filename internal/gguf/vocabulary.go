package gguf

import (
	"fmt"

	parser "github.com/gpustack/gguf-parser-go"
)

// Metadata keys of a model's vocabulary.
const (
	keyTokenizer = "tokenizer.ggml.model"
	keyTokens    = "tokenizer.ggml.tokens"
)

// tokenizers are those that cut all of a text into tokens of the vocabulary, or
// smaller: others have one for whole words that they do not know.
var tokenizers = map[string]bool{"llama": true, "gpt2": true}

// LongestToken returns how many bytes the longest token of a model's vocabulary has in
// the file, which are no fewer than those of the text that it stands for. It is 0 if
// nothing is said of that, or a token may stand for a text of any length. It reads the
// file's header, and blocks on the disk.
func LongestToken(path string) (longest int, err error) {
	// The library panics on some inconsistent headers.
	defer func() {
		if p := recover(); p != nil {
			longest, err = 0, fmt.Errorf("not a readable GGUF file: %v", p)
		}
	}()
	file, err := parser.ParseGGUFFile(path)
	if err != nil {
		return 0, err
	}
	kind, found := file.Header.MetadataKV.Get(keyTokenizer)
	if !found || !tokenizers[kind.ValueString()] {
		return 0, nil
	}
	tokens, found := file.Header.MetadataKV.Get(keyTokens)
	if !found {
		return 0, nil
	}
	for _, token := range tokens.ValueArray().ValuesString() {
		longest = max(longest, len(token))
	}
	return longest, nil
}
