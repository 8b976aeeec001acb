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

// Vocabulary is what is known of a model's tokens.
type Vocabulary struct {
	Tokens int // how many there are; 0 is not known
	// Longest is how many bytes the longest token has in the file, which are no fewer
	// than those of the text that it stands for. It is 0 if nothing is said of that, or
	// a token may stand for a text of any length.
	Longest int
}

// ReadVocabulary returns that of a model. It reads the file's header, and blocks on the
// disk.
func ReadVocabulary(path string) (v Vocabulary, err error) {
	// The library panics on some inconsistent headers.
	defer func() {
		if p := recover(); p != nil {
			v, err = Vocabulary{}, fmt.Errorf("not a readable GGUF file: %v", p)
		}
	}()
	file, err := parser.ParseGGUFFile(path)
	if err != nil {
		return v, err
	}
	tokens, found := file.Header.MetadataKV.Get(keyTokens)
	if !found {
		return v, nil
	}
	all := tokens.ValueArray().ValuesString()
	v.Tokens = len(all)
	if kind, found := file.Header.MetadataKV.Get(keyTokenizer); found && tokenizers[kind.ValueString()] {
		for _, token := range all {
			v.Longest = max(v.Longest, len(token))
		}
	}
	return v, nil
}
