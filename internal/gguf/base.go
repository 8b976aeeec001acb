package gguf

import (
	"fmt"
	"path/filepath"

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

// Base is what adapters have to fit: immutable, safe for concurrent use.
type Base struct {
	architecture string
	tensors      map[string]shape
	numbers      map[string]uint64 // the metadata's keys; 0 for what is no positive number
}

// ReadBase reads the header of a base model, of all its parts if it is split.
// The file is the operator's own: one that is not readable is a plain error.
func ReadBase(path string) (*Base, error) {
	base := &Base{tensors: map[string]shape{}, numbers: map[string]uint64{}}
	err := readModel(path, func(file *parser.GGUFFile) error {
		kv, found := file.Header.MetadataKV.Get(keyArchitecture)
		if !found {
			return fmt.Errorf("no %s", keyArchitecture)
		}
		base.architecture = kv.ValueString()
		for _, kv := range file.Header.MetadataKV {
			base.numbers[kv.Key] = positive(kv.Value)
		}
		for _, t := range file.TensorInfos {
			s := shape{1, 1, 1, 1}
			copy(s[:], t.Dimensions)
			base.tensors[t.Name] = s
		}
		if len(base.tensors) == 0 {
			return fmt.Errorf("no tensors")
		}
		return nil
	}, parser.SkipLargeMetadata())
	if err != nil {
		return nil, fmt.Errorf("base model %s: %w", filepath.Base(path), err)
	}
	return base, nil
}

// Architecture is llama.cpp's name of what the model is built like.
func (b *Base) Architecture() string { return b.architecture }

// Matrix returns how many numbers a tensor takes and how many it gives, false if the base
// has no such matrix.
func (b *Base) Matrix(name string) (in, out uint64, found bool) {
	s, found := b.tensors[name]
	return s[0], s[1], found && s[2] == 1 && s[3] == 1
}

// Number returns what a key of the metadata says, 0 if that is no positive whole number,
// and whether the key is there.
func (b *Base) Number(key string) (n uint64, found bool) {
	n, found = b.numbers[key]
	return n, found
}

func positive(value any) uint64 {
	switch v := value.(type) {
	case uint8:
		return uint64(v)
	case uint16:
		return uint64(v)
	case uint32:
		return uint64(v)
	case uint64:
		return v
	case int32:
		return uint64(max(v, 0))
	case int64:
		return uint64(max(v, 0))
	}
	return 0
}

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
	err = readModel(path, func(file *parser.GGUFFile) error {
		tokens, found := file.Header.MetadataKV.Get(keyTokens)
		if !found {
			return nil
		}
		all := tokens.ValueArray().ValuesString()
		v.Tokens = len(all)
		if kind, found := file.Header.MetadataKV.Get(keyTokenizer); found && tokenizers[kind.ValueString()] {
			for _, token := range all {
				v.Longest = max(v.Longest, len(token))
			}
		}
		return nil
	})
	if err != nil {
		return Vocabulary{}, err
	}
	return v, nil
}

// readModel has a model's header read by take. The library panics on some inconsistent
// headers, as it does where a value is asked for as what it is not: that is an error, too.
func readModel(path string, take func(file *parser.GGUFFile) error, options ...parser.GGUFReadOption) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not a readable GGUF file: %v", p)
		}
	}()
	file, err := parser.ParseGGUFFile(path, options...)
	if err != nil {
		return err
	}
	return take(file)
}
