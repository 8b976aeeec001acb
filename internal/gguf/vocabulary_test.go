package gguf

import (
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

func TestVocabulary(t *testing.T) {
	v, err := ReadVocabulary(llamatest.Base())
	if err != nil || v.Longest < 4 || v.Longest > 64 || v.Tokens != 4096 {
		t.Errorf("the demo model's: %+v, %v", v, err)
	}
	if v, err := ReadVocabulary(llamatest.Adapters()["coding"]); err != nil || v != (Vocabulary{}) {
		t.Errorf("a file without a vocabulary: %+v, %v", v, err)
	}
	if _, err := ReadVocabulary(filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("no file has a vocabulary")
	}
}
