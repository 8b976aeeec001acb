package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"

	"github.com/loragate/loragate/internal/llamatest"
)

var (
	hunt     = flag.Int("hunt", 12, "how many random adapters that pass Check the real llama-server loads in TestHunt")
	huntSeed = flag.Uint64("huntseed", 1, "seed of TestHunt")
)

// TestHunt looks for files that pass Check and end llama-server nevertheless:
// each is a demo adapter with a few random changes.
func TestHunt(t *testing.T) {
	llamatest.Binary(t)
	base := readBase(t)
	r := rand.New(rand.NewPCG(*huntSeed, 0))
	passed, tried := 0, 0
	for ; passed < *hunt; tried++ {
		f := takeApart(t, []string{"coding", "legal-r4", "chat-r16"}[r.IntN(3)])
		var did []string
		for range 1 + r.IntN(3) {
			did = append(did, change(r, base, f))
		}
		content := f.bytes()
		if r.IntN(4) == 0 {
			at := r.IntN(min(len(content), 6000))
			content[at] = byte(r.IntN(256))
			did = append(did, fmt.Sprintf("byte %d to %#x", at, content[at]))
		}
		path := save(t, content)
		if _, err := base.Check(t.Context(), path); err != nil {
			if _, is := errors.AsType[*Rejection](err); !is {
				t.Fatalf("%q: %v is no rejection", did, err)
			}
			os.Remove(path)
			continue
		}
		passed++
		if err := serve(t, path); err != nil {
			kept := filepath.Join(os.TempDir(), fmt.Sprintf("hunt-%d-%d.gguf", *huntSeed, tried))
			os.WriteFile(kept, content, 0o600)
			t.Errorf("%q passes Check, but (kept as %s): %v", did, kept, err)
		}
		os.Remove(path)
	}
	t.Logf("%d files made, %d passed Check", tried, passed)
}

// compare has llama-server say whether it serves an adapter; with -short nobody is asked.
func compare(t *testing.T, served bool, path string, args ...string) {
	t.Helper()
	if testing.Short() {
		return
	}
	if err := serve(t, path, args...); (err == nil) != served {
		t.Errorf("llama-server serves it: %v, wanted %v (%.500v)", err == nil, served, err)
	}
}

// serve starts llama-server with an adapter and lets it answer once.
func serve(t testing.TB, path string, args ...string) error {
	t.Setenv("GGML_NO_BACKTRACE", "1") // no debugger when it aborts: that takes seconds
	args = append(args, "--parallel", "1", "--ctx-size", "256", "--cache-ram", "0")
	s, err := llamatest.Launch([]string{path}, args...)
	if err != nil {
		return err
	}
	defer s.Close()
	request := map[string]any{
		"prompt": "Once upon a time", "max_tokens": 3,
		"lora": []any{map[string]any{"id": 0, "scale": 1}},
	}
	if status, answer, err := s.Do(http.MethodPost, "/v1/completions", request); err != nil || status != http.StatusOK {
		return fmt.Errorf("completion: status %d, %v: %s", status, err, answer)
	}
	if status, answer, err := s.Do(http.MethodGet, "/lora-adapters", nil); err != nil || status != http.StatusOK ||
		!bytes.Contains(answer, []byte(`"id":0`)) {
		return fmt.Errorf("list: status %d, %v: %s", status, err, answer)
	}
	return nil
}

// change makes one random change and describes it.
func change(r *rand.Rand, base *Base, f *file) string {
	changes := []func(*rand.Rand, *Base, *file) string{
		changeKey, changeKey, changeAlpha, changeOrder, dropPair, addPair, addPair, resizePair, resizePair,
		addNorm, rename, changeLayout, changeData,
	}
	return changes[r.IntN(len(changes))](r, base, f)
}

func changeKey(r *rand.Rand, _ *Base, f *file) string {
	names := []string{
		"general.name", "general.alignment", "general.file_type", "general.quantization_version", "split.count", "split.no",
		"split.tensors.count", "adapter.lora.task_name", "adapter.lora.prompt_prefix", "adapter.lora.rank",
		"llama.block_count",
		"tokenizer.ggml.tokens", "tokenizer.chat_template", keyType, keyAdapterType, keyArchitecture, keyAlpha,
		keyInvocation, "x y", " pad ", "\u00e9",
	}
	name := names[r.IntN(len(names))]
	kind := parser.GGUFMetadataValueType(r.IntN(14))
	value := make([]byte, widthOf(kind))
	switch kind {
	case parser.GGUFMetadataValueTypeString:
		value = text(strings.Repeat([]string{"adapter", "lora ", "a\xff", "\n\x00", "%s%n", `"\`}[r.IntN(6)],
			[]int{0, 1, 2, 200, 2000}[r.IntN(5)]))
	case parser.GGUFMetadataValueTypeArray:
		of, n := parser.GGUFMetadataValueType(r.IntN(14)), r.IntN(4)
		items := make([]byte, n*int(widthOf(of)))
		if of == parser.GGUFMetadataValueTypeString {
			items = bytes.Repeat(text("item"), n)
		}
		value = array(of, n, items)
	default:
		for i := range value {
			value[i] = byte(r.IntN(256))
		}
	}
	f.set(name, kind, value)
	return fmt.Sprintf("key %s %v %.40q", name, kind, value)
}

func changeAlpha(r *rand.Rand, _ *Base, f *file) string {
	alpha := []float64{0, -8, 1e38, 1e-45, math.Copysign(0, -1), math.NaN(), 1}[r.IntN(7)]
	f.set(keyAlpha, parser.GGUFMetadataValueTypeFloat32, f32(alpha))
	return fmt.Sprint("alpha ", alpha)
}

func changeOrder(r *rand.Rand, _ *Base, f *file) string {
	r.Shuffle(len(f.tensors), func(i, j int) { f.tensors[i], f.tensors[j] = f.tensors[j], f.tensors[i] })
	r.Shuffle(len(f.keys), func(i, j int) { f.keys[i], f.keys[j] = f.keys[j], f.keys[i] })
	return "order"
}

// dropPair leaves a few pairs.
func dropPair(r *rand.Rand, _ *Base, f *file) string {
	n := 2 * r.IntN(len(f.tensors)/2+1)
	f.tensors = f.tensors[:n]
	return fmt.Sprintf("%d tensors left", n)
}

// addPair adds a pair for any tensor of the base.
func addPair(r *rand.Rand, base *Base, f *file) string {
	names := []string{
		"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.1.ffn_norm.weight",
		"blk.0.ffn_gate.weight", "blk.5.ffn_gate.weight",
		"blk.3.attn_q.weight", "blk.6.attn_q.weight", "output.weight", "blk.0.attn_q.bias", "x.lora_a.weight",
	}
	name := names[r.IntN(len(names))]
	s, found := base.tensors[name]
	if !found {
		s = shape{256, 256, 1, 1}
	}
	kind, rank := kindAndRank(r)
	extra := uint64(1 + r.IntN(8)/7) // rarely a third dimension
	f.add(name+suffixA, kind, s[0], rank, extra)
	f.add(name+suffixB, kind, rank, s[1], extra)
	return fmt.Sprintf("pair for %s, %v, rank %d, third dimension %d", name, kind, rank, extra)
}

func kindAndRank(r *rand.Rand) (parser.GGMLType, uint64) {
	kinds := []parser.GGMLType{parser.GGMLTypeF32, parser.GGMLTypeF16, parser.GGMLTypeBF16, parser.GGMLTypeQ8_0}
	return kinds[r.IntN(len(kinds))], []uint64{0, 1, 3, 32, 64, 257, 1024}[r.IntN(7)]
}

// resizePair gives a pair another rank and type, sometimes only one half.
func resizePair(r *rand.Rand, _ *Base, f *file) string {
	if len(f.tensors) < 2 {
		return "nothing"
	}
	i := 2 * r.IntN(len(f.tensors)/2)
	kind, rank := kindAndRank(r)
	a, b := f.tensors[i], f.tensors[i+1]
	if len(a.dims) < 2 || len(b.dims) < 2 {
		return "nothing"
	}
	f.reshape(a.name, kind, a.dims[0], rank)
	if r.IntN(6) > 0 {
		kind, _ = kindAndRank(r)
		f.reshape(b.name, kind, rank, b.dims[1])
	}
	return fmt.Sprintf("%s with rank %d, lora_b %v", a.name, rank, kind)
}

// addNorm adds a tensor that llama.cpp passes over.
func addNorm(r *rand.Rand, _ *Base, f *file) string {
	kind, n := kindAndRank(r)
	dims := make([]uint64, r.IntN(6))
	for i := range dims {
		dims[i] = []uint64{n, 1, 2, 32}[r.IntN(4)]
		n = 1 // once only: the product stays small
	}
	name := []string{"blk.0.attn_norm.weight", "_norm.weight", "\u00e9_norm.weight",
		strings.Repeat("x", 51) + "_norm.weight", strings.Repeat("x", 52) + "_norm.weight"}[r.IntN(5)]
	f.add(name, kind, dims...)
	return fmt.Sprintf("norm %s %v %v", name, kind, dims)
}

func rename(r *rand.Rand, _ *Base, f *file) string {
	if len(f.tensors) == 0 {
		return "nothing"
	}
	t := &f.tensors[r.IntN(len(f.tensors))]
	old := t.name
	t.name = []string{" " + old, old + " ", strings.ToUpper(old), strings.Replace(old, ".lora", "\x00.lora", 1),
		f.tensors[0].name, old + suffixA}[r.IntN(6)]
	return fmt.Sprintf("%s to %q", old, t.name)
}

// changeLayout moves where the data lies.
func changeLayout(r *rand.Rand, _ *Base, f *file) string {
	switch r.IntN(4) {
	case 0:
		f.version = uint32(r.IntN(5))
		return fmt.Sprint("version ", f.version)
	case 1:
		f.cut = 1 + r.IntN(64)
		return fmt.Sprint("cut ", f.cut)
	case 2:
		f.cut = -(1 + r.IntN(64))
		return fmt.Sprint("longer by ", -f.cut)
	default:
		f.alignment = []int{1, 2, 8, 64, 4096, 24}[r.IntN(6)]
		f.set(keyAlignment, parser.GGUFMetadataValueTypeUint32, u32(uint32(f.alignment)))
		return fmt.Sprint("alignment ", f.alignment)
	}
}

// changeData overwrites numbers with extreme ones.
func changeData(r *rand.Rand, _ *Base, f *file) string {
	if len(f.tensors) == 0 {
		return "nothing"
	}
	t := &f.tensors[r.IntN(len(f.tensors))]
	extreme := []uint32{0x7f7fffff, 0xff7fffff, 1, 0x7f800000, 0x7bff7bff, 0x7f7f7f7f}[r.IntN(6)]
	for i := 0; i+4 <= len(t.data); i += 4 {
		binary.LittleEndian.PutUint32(t.data[i:], extreme)
	}
	return fmt.Sprintf("%s all %#x", t.name, extreme)
}

func readBase(t testing.TB) *Base {
	t.Helper()
	base, err := ReadBase(llamatest.Base())
	if err != nil {
		t.Fatal(err)
	}
	return base
}
