package convert

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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

// TestPatternsAnswerTheSame asks a real llama-server with an adapter some of whose modules
// have four times the weights and a quarter of the alpha, by patterns that Python has.
func TestPatternsAnswerTheSame(t *testing.T) {
	const name = "coding"
	text, err := os.ReadFile(filepath.Join(peft(name), configFile))
	if err != nil {
		t.Fatal(err)
	}
	config := object{}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	alpha := config["lora_alpha"].(float64)
	maps.Copy(config, object{
		"r": 3, "rank_pattern": object{`layers\.\d{1,2}\.(?:self_attn|mlp)\..*`: config["r"]},
		"alpha_pattern": object{`^model\.layers\.[02]{1}\.self_attn\.(q|v)_proj`: alpha / 4, "down_proj": alpha / 4},
	})
	weights, err := os.ReadFile(filepath.Join(peft(name), weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := readHeader(bytes.NewReader(weights), int64(len(weights)))
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	at := regexp.MustCompile(`\.layers\.[02]\.self_attn\.[qv]_proj\.lora_B|\.down_proj\.lora_B`)
	for _, s := range tensors {
		if !at.MatchString(s.name) {
			continue
		}
		changed++
		data := weights[s.offset:][:s.bytes]
		if s.kind != f16 {
			t.Fatalf("%s is of type %s", s.name, s.kind)
		}
		for i := 0; i < len(data); i += 2 {
			binary.LittleEndian.PutUint16(data[i:], quadruple(binary.LittleEndian.Uint16(data[i:])))
		}
	}
	if changed < 5 || changed == len(tensors)/2 {
		t.Fatalf("%d of %d tensors match", changed, len(tensors))
	}
	ours, ref := converted(t, folder(t, config, weights), llamatest.Base()), llamatest.NewReference(t)
	for _, message := range []string{"Write a function that adds two numbers.", "What is rain?"} {
		got, want := ref.Chat(ours, message, 48), ref.Chat(llamatest.Adapters()[name], message, 48)
		if got.Text != want.Text || got.Text == ref.Chat("", message, 48).Text {
			t.Errorf("%q is answered with %q, want %q", message, got.Text, want.Text)
		}
	}
}

// quadruple multiplies a number of 16 bits by 4, which is exact for weights.
func quadruple(h uint16) uint16 {
	sign, exponent, mantissa := h&0x8000, h>>10&0x1f, h&0x3ff
	switch four := mantissa << 2; {
	case exponent > 0:
		return h + 2<<10
	case four < 1<<10:
		return sign | four
	case four < 1<<11:
		return sign | 1<<10 | four&0x3ff
	default:
		return sign | 2<<10 | four>>1&0x3ff
	}
}
