package gguf

import (
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

func TestLongestToken(t *testing.T) {
	n, err := LongestToken(llamatest.Base())
	if err != nil || n < 4 || n > 64 {
		t.Errorf("the demo model's longest token has %d bytes, %v", n, err)
	}
	if n, err := LongestToken(llamatest.Adapters()["coding"]); err != nil || n != 0 {
		t.Errorf("a file without a vocabulary: %d, %v", n, err)
	}
	if _, err := LongestToken(filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("no file has a vocabulary")
	}
}
