package convert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// numbered returns a matrix whose elements are 0, 1, 2 and so on.
func numbered(rows, columns int) (*bytes.Reader, *stored) {
	var data []byte
	for i := range rows * columns {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
	}
	return bytes.NewReader(data), &stored{kind: f32, shape: []uint64{uint64(rows), uint64(columns)},
		bytes: int64(len(data))}
}

// TestMatricesLargerThanAChunk tests that each way to write comes out right when
// it has to read piece by piece.
func TestMatricesLargerThanAChunk(t *testing.T) {
	const rows, columns, heads = 4, 500_000, 2
	file, from := numbered(rows, columns)
	s := &stream{ctx: t.Context(), file: file, from: from, factor: 1}
	var plain, transposed, interleaved bytes.Buffer
	if err := errors.Join(s.plain(&plain), s.transposed(&transposed, columns-1),
		s.interleaved(&interleaved, heads/2)); err != nil {
		t.Fatal(err)
	}
	at := func(b *bytes.Buffer, i int) int {
		return int(math.Float32frombits(binary.LittleEndian.Uint32(b.Bytes()[i*4:])))
	}
	if plain.Len() != rows*columns*4 || transposed.Len() != rows*(columns-1)*4 || interleaved.Len() != plain.Len() {
		t.Fatalf("%d, %d and %d bytes", plain.Len(), transposed.Len(), interleaved.Len())
	}
	order := []int{0, 2, 1, 3} // of the rows of one head of four
	for i := range rows * columns {
		row, column := i/columns, i%columns
		if got := at(&plain, i); got != i {
			t.Fatalf("plain: %d at %d", got, i)
		}
		if got, want := at(&interleaved, i), order[row]*columns+column; got != want {
			t.Fatalf("interleaved: %d at %d, want %d", got, i, want)
		}
		if column < columns-1 {
			if got := at(&transposed, column*rows+row); got != i {
				t.Fatalf("transposed: %d at %d,%d, want %d", got, column, row, i)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&stream{ctx: ctx, file: file, from: from, factor: 1}).plain(&plain); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestShrinkingFileIsTruncated(t *testing.T) {
	file, from := numbered(2, 2)
	from.bytes *= 2
	err := (&stream{ctx: t.Context(), file: file, from: from, factor: 1}).plain(&bytes.Buffer{})
	expect(t, err, "", "truncated: it ends at byte 16")
}

func TestHalves(t *testing.T) {
	for h, want := range map[uint16]float64{
		0: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: math.Ldexp(1, -14), 1: math.Ldexp(1, -24),
		0x83ff: -math.Ldexp(1023, -24),
		0x7c00: math.Inf(1), 0xfc00: math.Inf(-1), 0x2e66: 0.0999755859375,
	} {
		if got := float64(fromHalf(h)); got != want {
			t.Errorf("%#04x is %v, want %v", h, got, want)
		}
	}
	if x := fromHalf(0x7e00); x == x {
		t.Errorf("0x7e00 is %v, want NaN", x)
	}
	if !math.Signbit(float64(fromHalf(0x8000))) {
		t.Error("0x8000 is not a negative zero")
	}
}

// TestLanguageModelOfMultimodal tests that the names of multimodal models' parts
// lead to the same file.
func TestLanguageModelOfMultimodal(t *testing.T) {
	base := baseOf(t, "gemma3")
	want, err := os.ReadFile(converted(t, filepath.Join("testdata", "gemma3"), base))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join("testdata", "gemma3", weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join("testdata", "gemma3", configFile))
	if err != nil {
		t.Fatal(err)
	}
	length := binary.LittleEndian.Uint64(content)
	header, data := string(content[8:8+length]), content[8+length:]
	for _, prefix := range []string{"base_model.model.model.language_model.", "base_model.model.language_model.model.",
		"model."} {
		renamed := strings.ReplaceAll(header, `"base_model.model.model.`, `"`+prefix)
		got, err := os.ReadFile(converted(t, folder(t, string(config), safetensors(t, renamed, data)), base))
		if err != nil || !bytes.Equal(got, want) || renamed == header {
			t.Errorf("%s: another file, %v", prefix, err)
		}
	}
}

// TestPatternsAsPEFTMatchesThem has the cases of get_pattern_key.
func TestPatternsAsPEFTMatchesThem(t *testing.T) {
	const module = "model.layers.1.self_attn.q_proj"
	for text, want := range map[string]float64{
		`{"q_proj":2}`:                           2, // the end of the name
		`{"self_attn.q_proj":2}`:                 2, // more of the end
		`{"proj":2}`:                             8, // not at a dot
		`{"q_pro":2}`:                            8, // not to the end
		`{"layers\\.[01]\\..*":2}`:               2, // a pattern
		`{"^q_proj":2}`:                          8, // only the whole name
		`{"^model.layers.1.self_attn.q_proj":2}`: 2,
		`{"q_proj":2,"self_attn.q_proj":3}`:      2, // the first one in the file
		`{"self_attn.q_proj":3,"q_proj":2}`:      3,
		`{"q_proj":2,"k_proj":4,"q_proj":3}`:     3, // the last value of a key
		`{"k_proj|q_proj":2}`:                    2,
	} {
		c, err := parseConfig([]byte(`{"peft_type":"LORA","rank_pattern":` + text + `}`))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if rank, _ := c.scale(module); rank != want {
			t.Errorf("%s: rank %v, want %v", text, rank, want)
		}
	}
}

// TestOutIsReplaced tests that an old file gives way and equal input gives equal
// bytes.
func TestOutIsReplaced(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := baseOf(t, "llama")
	var before []byte
	for range 2 {
		if err := Convert(t.Context(), Options{Dir: folder(t, plain(nil), soundFile(t, nil)), Base: base,
			Out: out}); err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(out)
		if err != nil || !bytes.HasPrefix(now, []byte("GGUF")) || before != nil && !bytes.Equal(now, before) {
			t.Fatalf("%v, %d bytes after %d", err, len(now), len(before))
		}
		before = now
	}
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestFoldedHalvesAreNotRounded tests a scale of its own on tensors of 16 bits:
// F16 could not hold the products.
func TestFoldedHalvesAreNotRounded(t *testing.T) {
	for kind, one := range map[dtype]uint16{f16: 0x3c00, bf16: 0x3f80} {
		parts := f32Parts(sound(nil))
		changed := map[string]part{}
		var data []byte
		for _, name := range []string{qProj + loraA, qProj + loraB} {
			p := parts[name]
			p.Kind, p.Offsets = string(kind), [2]uint64{p.Offsets[0] / 2, p.Offsets[1] / 2}
			changed[name] = p
		}
		for range 64 {
			data = binary.LittleEndian.AppendUint16(data, one)
		}
		// Two more modules make the votes: their alpha is the file's.
		for _, other := range []string{"base_model.model.model.layers.0.self_attn.o_proj",
			"base_model.model.model.layers.1.self_attn.o_proj"} {
			for half, shape := range map[string][]int{loraA: {2, hidden}, loraB: {hidden, 2}} {
				at := uint64(len(data))
				changed[other+half] = part{"F32", shape, [2]uint64{at, at + 128}}
				data = append(data, make([]byte, 128)...)
			}
		}
		config := plain(object{"lora_alpha": 3, "alpha_pattern": object{"q_proj": 1}})
		got := readGGUF(t, converted(t, folder(t, config, safetensors(t, changed, data)), baseOf(t, "llama")))
		if got.alpha != 3 {
			t.Errorf("%s: alpha %v, want 3", kind, got.alpha)
		}
		for i, x := range got.tensors["blk.0.attn_q.weight.lora_b"].floats(t) {
			if x != float64(float32(1.0/3)) {
				t.Errorf("%s: element %d is %v, want 1/3", kind, i, x)
			}
		}
	}
}
