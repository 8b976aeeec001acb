package randgguf

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gguf"
)

// content returns what write wrote.
func content(t *testing.T, write func(path string) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSeedDecidesTheBytes(t *testing.T) {
	base := func(seed uint64) []byte {
		return content(t, func(path string) error { return WriteBase(path, Tiny, seed) })
	}
	adapter := func(seed uint64) []byte {
		return content(t, func(path string) error { return WriteAdapter(path, Tiny, 4, 8, seed) })
	}
	for name, write := range map[string]func(uint64) []byte{"base": base, "adapter": adapter} {
		if !bytes.Equal(write(1), write(1)) {
			t.Errorf("%s: the same seed gives other bytes", name)
		}
		if bytes.Equal(write(1), write(2)) {
			t.Errorf("%s: another seed gives the same bytes", name)
		}
	}
}

// TestTensorsDiffer tests that no tensor repeats another's weights.
func TestTensorsDiffer(t *testing.T) {
	tensors := baseTensors(Tiny)
	data := content(t, func(path string) error { return WriteBase(path, Tiny, 1) })
	header, err := gguf.Header(entries(baseMetadata(Tiny)), streams(tensors, 1))
	if err != nil {
		t.Fatal(err)
	}
	at := len(header)
	seen := map[string]string{}
	for _, x := range tensors {
		all, zero := x.size()
		if x.rows > 0 {
			begin := string(data[at+int(zero) : at+int(zero)+64])
			if other := seen[begin]; other != "" {
				t.Errorf("%s begins like %s", x.name, other)
			}
			seen[begin] = x.name
			if !bytes.Equal(data[at:at+int(zero)], make([]byte, zero)) {
				t.Errorf("%s: its first rows are not zero", x.name)
			}
		}
		at += int(gguf.Padded(all))
	}
	if at != len(data) {
		t.Errorf("tensors end at %d of %d bytes", at, len(data))
	}
}

func TestSizesOfAdapters(t *testing.T) {
	const rank = 2
	for _, c := range []struct {
		shape   Shape
		modules []string
		inOut   int64 // inputs and outputs of a layer's modules, added up
	}{
		{ThreeB, Attention, 2*(3072+3072) + 2*(3072+1024)},
		{ThreeB, nil, 2*(3072+3072) + 2*(3072+1024) + 3*(3072+8192)},
		{EightB, nil, 2*(4096+4096) + 2*(4096+1024) + 3*(4096+14336)},
	} {
		data := content(t, func(path string) error { return WriteAdapter(path, c.shape, rank, 4, 1, c.modules...) })
		weights := int64(c.shape.Layers) * rank * c.inOut * 4
		if extra := int64(len(data)) - weights; extra < 0 || extra > 64<<10 {
			t.Errorf("%s, %v: %d bytes, want %d and a small header", c.shape.Name, c.modules, len(data), weights)
		}
	}
}

func TestSizesOfBases(t *testing.T) {
	for _, c := range []struct {
		shape    Shape
		from, to int64 // MB
	}{{Tiny, 3, 5}, {GemmaTiny, 3, 5}, {ThreeB, 1650, 1750}, {EightB, 4000, 4200}} {
		var sum int64
		for _, tensor := range baseTensors(c.shape) {
			all, _ := tensor.size()
			sum += all
		}
		if mb := sum / 1e6; mb < c.from || mb > c.to {
			t.Errorf("%s weighs %d MB, not %d to %d", c.shape.Name, mb, c.from, c.to)
		}
	}
}

func TestPresets(t *testing.T) {
	for _, s := range Shapes {
		if got, err := Preset(s.Name); err != nil || got.Name != s.Name || s.check() != nil {
			t.Errorf("%s: %v, %v", s.Name, err, s.check())
		}
	}
	if _, err := Preset("7b"); err == nil || !strings.Contains(err.Error(), "tiny, 3b, 8b, gemma-tiny") {
		t.Errorf("the error is %v", err)
	}
	if rank, modules := EightB.Usual(); rank != 16 || len(modules) != len(Modules) {
		t.Errorf("8b has adapters of rank %d on %v", rank, modules)
	}
}

func TestVocabulary(t *testing.T) {
	for _, n := range []int{minVocab, 1000, ThreeB.Vocab} {
		values := map[string]any{}
		for _, e := range vocabulary(n) {
			values[e.key] = e.value
		}
		tokens := values["tokenizer.ggml.tokens"].([]string)
		known := map[string]bool{}
		for _, token := range tokens {
			known[token] = true
		}
		if len(tokens) != n || len(known) != n {
			t.Errorf("%d tokens, %d of them distinct, want %d", len(tokens), len(known), n)
		}
		for _, m := range values["tokenizer.ggml.merges"].([]string) {
			left, right, _ := strings.Cut(m, " ")
			if !known[left] || !known[right] || !known[left+right] {
				t.Errorf("the merge %q is of unknown tokens", m)
			}
		}
	}
	for b, want := range map[byte]rune{0: 'Ā', ' ': 'Ġ', 'a': 'a', 0x7f: 'ġ', 0xad: 'Ń', 0xff: 'ÿ'} {
		if got := byteRune(b); got != want {
			t.Errorf("byte %#x is %q, want %q", b, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	change := func(f func(*Shape)) Shape {
		s := Tiny
		f(&s)
		return s
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	adapter := func(rank int, alpha float64, modules ...string) error {
		return WriteAdapter(path, Tiny, rank, alpha, 1, modules...)
	}
	for want, err := range map[string]error{
		"every size must be positive": WriteBase(path, change(func(s *Shape) { s.KVHeads = 0 }), 1),
		"no quantisation":             WriteBase(path, change(func(s *Shape) { s.Quant = Quant{} }), 1),
		"do not divide":               WriteBase(path, change(func(s *Shape) { s.KVHeads = 3 }), 1),
		"multiples of 32":             WriteBase(path, change(func(s *Shape) { s.FeedForward = 100 }), 1),
		"is below 287":                WriteBase(path, change(func(s *Shape) { s.Vocab = 286 }), 1),
		"a window of -1":              WriteBase(path, change(func(s *Shape) { s.Window = -1 }), 1),
		"a RoPE base of 0":            WriteBase(path, change(func(s *Shape) { s.RopeBase = 0 }), 1),
		"rank 0":                      adapter(0, 1),
		"alpha 0":                     adapter(1, 0),
		"alpha NaN":                   adapter(1, math.NaN()),
		`an adapter of "lm_head"`:     adapter(1, 1, "lm_head"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a refused shape leaves a file: %v", err)
	}
}
