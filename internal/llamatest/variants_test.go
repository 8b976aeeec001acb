package llamatest

import "testing"

// TestVariantsDiffer holds variants to what tests lean on: one that answers for
// another is noticed.
func TestVariantsDiffer(t *testing.T) {
	files := Variants(t, 12)
	ref, answers := NewCrowd(t, files), map[string]string{}
	for _, file := range append(files, "") {
		text := ref.Chat(file, "How do I sort a list?", 24).Text
		if other, taken := answers[text]; taken {
			t.Errorf("%q and %q both answer %q", other, file, text)
		}
		answers[text] = file
	}
}
