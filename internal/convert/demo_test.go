package convert

import (
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

var demo = []string{"coding", "chat", "medical", "legal"}

// peft is the folder of a demo adapter as its training left it.
func peft(name string) string {
	return filepath.Join(llamatest.Root(), "examples", "finetune", "peft", name)
}

// converted returns the file that Convert makes of a folder.
func converted(t *testing.T, dir, base string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.gguf")
	if err := Convert(t.Context(), Options{Dir: dir, Base: base, Out: out}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDemoAdaptersAreTheSame compares with the files that the demo's own export
// made of the same adapters.
func TestDemoAdaptersAreTheSame(t *testing.T) {
	for _, name := range demo {
		got := readGGUF(t, converted(t, peft(name), llamatest.Base()))
		want := readGGUF(t, llamatest.Adapters()[name])
		if len(want.tensors) != 72 || got.alpha != want.alpha || got.architecture != want.architecture {
			t.Errorf("%s: alpha %v, architecture %q, want %v, %q and %d tensors", name, got.alpha, got.architecture,
				want.alpha, want.architecture, len(want.tensors))
		}
		compare(t, name, got, want)
	}
}

// TestDemoAdaptersAnswerTheSame asks a real llama-server.
func TestDemoAdaptersAnswerTheSame(t *testing.T) {
	ref := llamatest.NewReference(t)
	for _, name := range demo {
		ours := converted(t, peft(name), llamatest.Base())
		different := false
		for _, message := range []string{"What is rain?", "Write a function that adds two numbers.",
			"May my landlord keep the deposit?", "I have a headache."} {
			got, want := ref.Chat(ours, message, 48), ref.Chat(llamatest.Adapters()[name], message, 48)
			if got.Text != want.Text || got.Text == "" {
				t.Errorf("%s: %q is answered with %q, want %q", name, message, got.Text, want.Text)
			}
			different = different || got.Text != ref.Chat("", message, 48).Text
		}
		if !different {
			t.Errorf("%s answers like the base", name)
		}
	}
}
