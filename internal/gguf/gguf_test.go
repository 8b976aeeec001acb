package gguf

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"

	"github.com/loragate/loragate/internal/llamatest"
)

func TestCheckTakesDemoAdapters(t *testing.T) {
	base := readBase(t)
	modules := []string{"attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_up"}
	ranks := map[string]int{"legal-r4": 4, "chat-r16": 16}
	for name, path := range llamatest.Adapters() {
		info, err := base.Check(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rank := ranks[name]
		if rank == 0 {
			rank = 8
		}
		stat, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Architecture != "llama" || info.Rank != rank || info.Alpha != float64(2*rank) || info.Tensors != 72 ||
			!slices.Equal(info.Modules, modules) || info.Bytes != stat.Size() {
			t.Errorf("%s: %+v", name, info)
		}
	}
}

const (
	f32Type    = parser.GGMLTypeF32
	stringType = parser.GGUFMetadataValueTypeString
	floatType  = parser.GGUFMetadataValueTypeFloat32
	uintType   = parser.GGUFMetadataValueTypeUint32
	arrayType  = parser.GGUFMetadataValueTypeArray
)

// The first pair in the demo adapters: 768 inputs, 256 outputs, rank 8.
const (
	downA = "blk.0.ffn_down.weight.lora_a"
	downB = "blk.0.ffn_down.weight.lora_b"
)

// broken are files that Check rejects.
var broken = []struct {
	name    string
	change  func(*file)
	code    string
	message string // without the file's name
	// served says that llama-server takes the file: Check is stricter, because
	// the answers would be wrong, or because the file is not what it should be.
	served bool
}{
	{"other magic", func(f *file) { f.magic = "GGML" }, NotGGUF, `not a GGUF file: it starts with "GGML", not "GGUF"`,
		false},
	{"version 1", func(f *file) { f.version = 1 }, NotGGUF, "GGUF version 1, wanted 2 or 3", false},
	{"version 4", func(f *file) { f.version = 4 }, NotGGUF, "GGUF version 4, wanted 2 or 3", false},
	{"big endian", func(f *file) { f.version = 3 << 24 }, NotGGUF,
		"GGUF in big-endian byte order, wanted little-endian", false},
	{"a tensor more announced", func(f *file) { f.announced = 73 }, Malformed,
		`the description of tensor 73 of 73: a tensor name`, false},
	{"tensors beyond counting", func(f *file) { f.announced = 1 << 62 }, Malformed,
		"the header announces 4611686018427387904 tensors, more than 65536", false},
	{"cut in the data", func(f *file) { f.cut = 1 }, Truncated,
		"truncated: the file has 373663 bytes, tensor blk.5.attn_v.weight.lora_b needs 373664", false},
	{"cut in the header", func(f *file) { f.cut = 373_000 }, Truncated,
		"truncated: the description of tensor 8 of 72 needs 31 bytes from byte 657 on, the file has 664", false},
	{"key twice", func(f *file) { f.keys = append(f.keys, f.keys[0]) }, Malformed,
		"key general.architecture is there twice", false},
	{"key without a name", func(f *file) { f.set("", floatType, f32(1)) }, Malformed,
		`key 5 of 5: a key "" that is empty or not printable`, false},
	{"key with a zero byte", func(f *file) { f.set("general\x00", floatType, f32(1)) }, Malformed,
		`key 5 of 5: a key "general\x00" that is empty or not printable`, true},
	{"value of unknown type", func(f *file) { f.set("x", 13, nil) }, Malformed, "key x has a value of unknown type 13",
		false},
	{"array of arrays", func(f *file) { f.set("x", arrayType, array(arrayType, 1, array(uintType, 0, nil))) },
		Malformed, "key x is an array of elements of unknown type 9", false},
	{"array beyond counting", func(f *file) { f.set("x", arrayType, array(uintType, math.MaxInt64, nil)) }, Malformed,
		"key x is an array of 9223372036854775807 elements", false},
	{"string beyond the file", func(f *file) { f.set("x", stringType, u64(1<<40)) }, Truncated,
		"truncated: key x needs 1099511623680 bytes from byte 4295 on, the file has 373696", false},
	{"alignment of another type", func(f *file) { f.set(keyAlignment, parser.GGUFMetadataValueTypeUint64, u64(32)) },
		Malformed, "general.alignment is of type uint64, wanted uint32", false},
	{"alignment 24", func(f *file) { f.alignment = 24; f.set(keyAlignment, uintType, u32(24)) }, Malformed,
		"general.alignment is 24, wanted a power of 2", false},
	{"alignment 0", func(f *file) { f.set(keyAlignment, uintType, u32(0)) }, Malformed,
		"general.alignment is 0, wanted a power of 2", false},

	{"no general.type", func(f *file) { f.remove(keyType) }, NotLoRA,
		`no general.type, wanted "adapter": a model of architecture "llama", not a LoRA adapter`, false},
	{"a model", func(f *file) { f.set(keyType, stringType, text("model")) }, NotLoRA,
		`general.type is "model", wanted "adapter": a whole model, not a LoRA adapter; the base is named by model.path`,
		false},
	{"a part of a split", func(f *file) { f.set(keySplits, parser.GGUFMetadataValueTypeUint16, []byte{2, 0}) }, NotLoRA,
		"one of the 2 parts of a split GGUF; if that is an adapter, put them together with llama-gguf-split --merge", true},
	{"a space too many", func(f *file) { f.set(keyType, stringType, text("adapter ")) }, NotLoRA,
		`general.type is "adapter ", wanted "adapter"`, false},
	{"a control vector", func(f *file) { f.remove(keyType); f.set(keyArchitecture, stringType, text("controlvector")) },
		NotLoRA, "a control vector, not a LoRA adapter", false},
	{"general.type of another type", func(f *file) { f.set(keyType, uintType, u32(1)) }, BadMetadata,
		"general.type is of type uint32, wanted string", false},
	{"no adapter.type", func(f *file) { f.remove(keyAdapterType) }, NotLoRA, `no adapter.type, wanted "lora"`, false},
	{"another adapter.type", func(f *file) { f.set(keyAdapterType, stringType, text("loha")) }, NotLoRA,
		`adapter.type is "loha", wanted "lora"`, false},
	{"adapter.type of another type", func(f *file) {
		f.set(keyAdapterType, arrayType,
			array(stringType, 1, text("lora")))
	}, BadMetadata, "adapter.type is of type array, wanted string", true},
	{"another architecture", func(f *file) { f.set(keyArchitecture, stringType, text("qwen2")) }, WrongArchitecture,
		`general.architecture is "qwen2", the base's is "llama"`, false},
	{"no architecture", func(f *file) { f.remove(keyArchitecture) }, WrongArchitecture,
		`general.architecture is "", the base's is "llama"`, false},
	{"activated", func(f *file) { f.set(keyInvocation, arrayType, array(uintType, 1, u32(5))) }, ALoRA,
		"adapter.alora.invocation_tokens is set: an activated LoRA switches itself on inside a prompt, which is not " +
			"supported", true},
	{"activated by other numbers", func(f *file) { f.set(keyInvocation, arrayType, array(floatType, 1, f32(5))) },
		ALoRA, "adapter.alora.invocation_tokens is set: an activated LoRA switches itself on inside a prompt, which is not " +
			"supported", false},
	{"no alpha", func(f *file) { f.remove(keyAlpha) }, BadAlpha, "no adapter.lora.alpha, wanted a finite float32", true},
	{"alpha of another type", func(f *file) {
		f.set(keyAlpha, parser.GGUFMetadataValueTypeFloat64,
			u64(math.Float64bits(8)))
	}, BadAlpha, "adapter.lora.alpha is of type float64, wanted float32", false},
	{"alpha NaN", func(f *file) { f.set(keyAlpha, floatType, f32(math.NaN())) }, BadAlpha,
		"adapter.lora.alpha is NaN, wanted a finite number", true},
	{"alpha infinite", func(f *file) { f.set(keyAlpha, floatType, f32(math.Inf(-1))) }, BadAlpha,
		"adapter.lora.alpha is -Inf, wanted a finite number", true},

	{"no tensors", func(f *file) { f.tensors = nil }, NoTensors, "no .lora_a and .lora_b tensors", true},
	{"only norms", func(f *file) { f.tensors = nil; f.add("output_norm.weight", f32Type, 256) }, NoTensors,
		"no .lora_a and .lora_b tensors", true},
	{"tensor twice", func(f *file) { f.tensors = append(f.tensors, *f.tensor(downA)) }, DuplicateTensor,
		"tensor " + downA + " is there twice", false},
	{"another suffix", func(f *file) { f.tensor(downA).name = "blk.0.ffn_down.lora_A.weight" }, UnknownTensor,
		"tensor blk.0.ffn_down.lora_A.weight ends in neither .lora_a nor .lora_b", false},
	{"a whole tensor", func(f *file) { f.add("blk.0.attn_q.weight", f32Type, 256, 256) }, UnknownTensor,
		"tensor blk.0.attn_q.weight ends in neither .lora_a nor .lora_b", false},
	{"layer that the base lacks", func(f *file) { f.addPair("blk.6.attn_q.weight", 256, 8, 256) }, UnknownTensor,
		"tensor blk.6.attn_q.weight.lora_a: the base has no tensor blk.6.attn_q.weight", false},
	{"space after a name", func(f *file) { f.tensor(downA).name += " " }, UnknownTensor,
		"tensor " + downA + "  ends in neither .lora_a nor .lora_b", false},
	{"suffix twice", func(f *file) { f.tensor(downA).name += suffixA }, UnknownTensor,
		"tensor " + downA + ".lora_a: the base has no tensor " + downA, true},
	{"name of 64 bytes", func(f *file) { f.tensor(downA).name = strings.Repeat("x", 64) }, Malformed,
		"tensor name \"" + strings.Repeat("x", 64) + "\" has 64 bytes, wanted at most 63", false},
	{"name with a zero byte", func(f *file) { f.tensor(downA).name += "\x00" }, Malformed,
		"the description of tensor 1 of 72: a tensor name \"" + downA + `\x00" that is empty or not printable`, true},
	{"lora_a alone", func(f *file) { f.tensor(downB).name = "blk.0.ffn_gate.weight.lora_b" }, IncompletePair,
		"tensor " + downA + " has no " + downB + " beside it", false},
	{"lora_b alone", func(f *file) { f.tensors = f.tensors[1:] }, IncompletePair,
		"tensor " + downB + " has no " + downA + " beside it", false},

	{"another base's inputs", func(f *file) { f.reshape(downA, f32Type, 512, 8) }, WrongShape,
		"tensor " + downA + " is [512 8], wanted [768 8] for the base's [768 256]", false},
	{"another base's outputs", func(f *file) { f.reshape(downB, f32Type, 8, 512) }, WrongShape,
		"tensor " + downB + " is [8 512], wanted [8 256] for the base's [768 256]", false},
	{"transposed", func(f *file) { f.reshape(downA, f32Type, 8, 768) }, WrongShape,
		"tensor " + downA + " is [8 768], wanted [768 768] for the base's [768 256]", false},
	{"a third dimension", func(f *file) { f.reshape(downA, f32Type, 768, 8, 2) }, WrongShape,
		"tensor " + downA + " is [768 8 2], wanted [768 8] for the base's [768 256]", false},
	{"five dimensions", func(f *file) { f.reshape(downA, f32Type, 768, 8, 1, 1, 1) }, Malformed,
		"tensor " + downA + " has 5 dimensions, wanted 1 to 4", false},
	{"no dimensions", func(f *file) { f.add("output_norm.weight", f32Type) }, Malformed,
		"tensor output_norm.weight has 0 dimensions, wanted 1 to 4", true},
	{"too large to exist", func(f *file) {
		f.tensors = append(f.tensors, part{"output_norm.weight", []uint64{1 << 40, 1 << 40}, f32Type, nil, nil})
	},
		WrongShape, "tensor output_norm.weight is [1099511627776 1099511627776]: too large to exist", false},
	{"two ranks", func(f *file) { f.reshape(downB, f32Type, 4, 256) }, BadRank,
		"tensor " + downA + " is of rank 8, " + downB + " of rank 4", false},
	{"rank 0", func(f *file) { f.reshape(downA, f32Type, 768, 0); f.reshape(downB, f32Type, 0, 256) }, BadRank,
		"tensor " + downA + " is of rank 0", false},
	{"embedding that is the output as well", func(f *file) { f.addEmbedding(4096, 256, 8) }, UnknownTensor,
		"tensor token_embd.weight.lora_a: the base has no output.weight and uses token_embd.weight in its place, where " +
			"llama-server cannot apply an adapter", false},
	{"embedding like all others", func(f *file) { f.addPair(embedding, 256, 8, 4096) }, WrongShape,
		"tensor token_embd.weight.lora_a is [256 8], wanted [256 4096] for the base's [256 4096]", false},

	{"integers", func(f *file) { f.reshape(downA, parser.GGMLTypeI32, 768, 8) }, WrongType,
		"tensor " + downA + " is of type I32, wanted F32, F16, BF16 or Q8_0", false},
	{"float64", func(f *file) { f.reshape(downA, parser.GGMLTypeF64, 768, 8) }, WrongType,
		"tensor " + downA + " is of type F64, wanted F32, F16, BF16 or Q8_0", false},
	{"a quantized type of models", func(f *file) { f.reshape(downA, parser.GGMLTypeQ4_K, 768, 8) }, WrongType,
		"tensor " + downA + " is of type Q4_K, wanted F32, F16, BF16 or Q8_0", true},
	{"a type of a later version", func(f *file) { f.tensor(downA).kind = 99 }, WrongType,
		"tensor " + downA + " is of type GGMLType(99), wanted F32, F16, BF16 or Q8_0", false},
	{"row not whole blocks", func(f *file) { f.tensor(downB).kind = parser.GGMLTypeQ8_0 }, WrongType,
		"tensor " + downB + " has rows of 8 elements, type Q8_0 needs a multiple of 32", false},
	{"hole in the data", func(f *file) { f.tensor(downB).offset = new(uint64(64)) }, Malformed,
		"tensor " + downB + " starts at offset 64, wanted 12288", false},
	{"NaN", func(f *file) { f.reshape(downB, f32Type, 8, 256); copy(f.tensor(downB).data[400:], f32(math.NaN())) },
		NotFinite, "tensor " + downB + ": NaN or infinity at byte 400 of its data", true},
	{"infinity", func(f *file) {
		f.reshape(downA, f32Type, 768, 8)
		copy(f.tensor(downA).data[20_000:], f32(math.Inf(1)))
	}, NotFinite, "tensor " + downA + ": NaN or infinity at byte 20000 of its data", true},
	{"NaN in float16", func(f *file) {
		f.reshape(downA, parser.GGMLTypeF16, 768, 8)
		copy(f.tensor(downA).data[6:], "\x01\xfe")
	},
		NotFinite, "tensor " + downA + ": NaN or infinity at byte 6 of its data", true},
	{"NaN in bfloat16", func(f *file) {
		f.reshape(downA, parser.GGMLTypeBF16, 768, 8)
		copy(f.tensor(downA).data[8:], "\xc0\x7f")
	},
		NotFinite, "tensor " + downA + ": NaN or infinity at byte 8 of its data", true},
	{"infinite scale of a block", func(f *file) {
		f.reshape(downA, parser.GGMLTypeQ8_0, 768, 8)
		copy(f.tensor(downA).data[34:], "\x00\x7c")
	},
		NotFinite, "tensor " + downA + ": NaN or infinity at byte 34 of its data", true},
}

// addPair adds a pair in the usual layout.
func (f *file) addPair(name string, in, rank, out uint64) {
	f.add(name+suffixA, f32Type, in, rank)
	f.add(name+suffixB, f32Type, rank, out)
}

// addEmbedding adds a pair in the layout of token embeddings.
func (f *file) addEmbedding(vocabulary, width, rank uint64) {
	f.add(embedding+suffixA, f32Type, rank, vocabulary)
	f.add(embedding+suffixB, f32Type, rank, width)
}

// TestBroken compares Check with what the real llama-server does.
func TestBroken(t *testing.T) {
	base := readBase(t)
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			f := takeApart(t, "coding")
			c.change(f)
			path := save(t, f.bytes())
			_, err := base.Check(t.Context(), path)
			r, is := errors.AsType[*Rejection](err)
			if !is || r.Code != c.code || !strings.HasPrefix(r.Message, "adapter.gguf: "+c.message) {
				t.Errorf("Check says %#v, wanted %s, adapter.gguf: %s", err, c.code, c.message)
			}
			compare(t, c.served, path)
		})
	}
}

// TestUnusual has files that look odd and that llama-server serves.
func TestUnusual(t *testing.T) {
	base := readBase(t)
	for name, change := range map[string]func(*file){
		"version 2":           func(f *file) { f.version = 2 },
		"bytes after the end": func(f *file) { f.cut = -100 },
		"alpha 0":             func(f *file) { f.set(keyAlpha, floatType, f32(0)) },
		"negative alpha":      func(f *file) { f.set(keyAlpha, floatType, f32(-4)) },
		"norms":               func(f *file) { f.add("blk.0.attn_norm.weight", f32Type, 256) },
		"mixed ranks":         func(f *file) { f.addPair("blk.0.ffn_gate.weight", 256, 3, 768) },
		"texts not UTF-8":     func(f *file) { f.set("adapter.lora.task_name", stringType, text("\xff\xfe")) },
		"long text": func(f *file) {
			f.set("adapter.lora.prompt_prefix", stringType,
				text(strings.Repeat("\u00e9", 5000)))
		},
		"alignment 64": func(f *file) { f.alignment = 64; f.set(keyAlignment, uintType, u32(64)) },
		"bfloat16 and blocks": func(f *file) {
			f.reshape(downA, parser.GGMLTypeQ8_0, 768, 32)
			f.reshape(downB, parser.GGMLTypeBF16, 32, 256)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := takeApart(t, "coding")
			change(f)
			path := save(t, f.bytes())
			if _, err := base.Check(t.Context(), path); err != nil {
				t.Errorf("Check: %v", err)
			}
			compare(t, true, path)
		})
	}
}

func TestNotAFile(t *testing.T) {
	base := readBase(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, message := range map[string]string{
		write("empty", ""):         `empty: not a GGUF file: it starts with "", not "GGUF"`,
		write("short", "GGUF\x03"): "short: truncated: the preamble needs 4 bytes from byte 4 on, the file has 5",
		write("page", "<html>"):    `page: not a GGUF file: it starts with "<htm", not "GGUF"`,
		write("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"): "lfs: not the file itself but a Git " +
			"LFS pointer to it",
		dir: filepath.Base(dir) + ": not a regular file but a directory",
		llamatest.Base(): `base.gguf: general.type is "model", wanted "adapter": a whole model, not a LoRA adapter; ` +
			"the base is named by model.path",
	} {
		_, err := base.Check(t.Context(), path)
		if r, is := errors.AsType[*Rejection](err); !is || r.Message != message {
			t.Errorf("%v, wanted %s", err, message)
		}
	}
	if _, err := base.Check(t.Context(), filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

func TestCheckEndsWithContext(t *testing.T) {
	base := readBase(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := base.Check(ctx, llamatest.Adapters()["coding"]); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, wanted %v", err, context.Canceled)
	}
}

func TestReadBaseFails(t *testing.T) {
	for name, content := range map[string]string{"empty": "",
		"garbage": "GGUF garbage that goes on for a while and more"} {
		if _, err := ReadBase(save(t, []byte(content))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	f := takeApart(t, "coding")
	f.set(keyArchitecture, uintType, u32(1)) // the library panics
	if _, err := ReadBase(save(t, f.bytes())); err == nil {
		t.Error("architecture that is a number: no error")
	}
}
