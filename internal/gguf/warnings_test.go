package gguf

import (
	"slices"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
)

func TestWarnings(t *testing.T) {
	base := readBase(t)
	zero := func(suffix string) func(*file) {
		return func(f *file) {
			for i := range f.tensors {
				if strings.HasSuffix(f.tensors[i].name, suffix) {
					clear(f.tensors[i].data)
				}
			}
		}
	}
	const untrained = "it changes nothing: in each of its 36 pairs lora_a or lora_b is all zeros; was it trained, and " +
		"saved after that?"
	one := func(kind parser.GGMLType, data func(p *part)) func(*file) {
		return func(f *file) {
			f.reshape(downA, kind, 768, 32)
			f.reshape(downB, f32Type, 32, 256)
			for i := range f.tensor(downB).data {
				f.tensor(downB).data[i] = 1
			}
			data(f.tensor(downA))
		}
	}
	const half = "1 of its 36 pairs change nothing, as lora_a or lora_b is all zeros: blk.0.ffn_down.weight"
	last := func(p *part) { p.data[len(p.data)-2] = 1 } // a number that is not 0, but small
	for name, c := range map[string]struct {
		change func(*file)
		want   []string
	}{
		"sound":                {func(*file) {}, nil},
		"never trained":        {zero(suffixB), []string{untrained}},
		"lora_a is zero":       {zero(suffixA), []string{untrained}},
		"one pair":             {one(f32Type, func(*part) {}), []string{half}},
		"one pair's last":      {one(f32Type, last), nil},
		"halves":               {one(parser.GGMLTypeF16, func(*part) {}), []string{half}},
		"halves' last":         {one(parser.GGMLTypeF16, last), nil},
		"bfloat16":             {one(parser.GGMLTypeBF16, func(*part) {}), []string{half}},
		"blocks":               {one(parser.GGMLTypeQ8_0, func(*part) {}), []string{half}},
		"blocks without scale": {one(parser.GGMLTypeQ8_0, last), []string{half}},
		"blocks without numbers": {one(parser.GGMLTypeQ8_0, func(p *part) {
			for block := range slices.Chunk(p.data, q8Block) {
				block[0] = 1
			}
		}), []string{half}},
		"a block": {one(parser.GGMLTypeQ8_0, func(p *part) { p.data[0], p.data[2] = 1, 1 }), nil},
		"minus zero": {one(parser.GGMLTypeF16, func(p *part) {
			for i := range p.data {
				p.data[i] = byte(i % 2 * 0x80)
			}
		}), []string{half}},
		"alpha 0": {func(f *file) { f.set(keyAlpha, floatType, f32(0)) },
			[]string{"adapter.lora.alpha is 0, which llama.cpp takes as if it were the rank: the scale is 1, not 0"}},
		"norms": {func(f *file) { f.add("blk.0.attn_norm.weight", f32Type, 256) },
			[]string{"llama.cpp passes over 1 tensors of norms: blk.0.attn_norm.weight"}},
		"the converter's": {func(f *file) { f.set(KeyWarnings, stringType, text("one\n\ntwo\n\x1b[2J\n")) },
			[]string{"one", "two"}},
		"too many of the converter's": {
			func(f *file) { f.set(KeyWarnings, stringType, text(strings.Repeat("x\n", 100))) },
			slices.Repeat([]string{"x"}, maxWarnings)},
		"a long one": {func(f *file) { f.set(KeyWarnings, stringType, text(strings.Repeat("x", 5000))) },
			[]string{strings.Repeat("x", maxWarning)}},
		"no text": {func(f *file) { f.set(KeyWarnings, uintType, u32(1)) }, nil},
	} {
		f := takeApart(t, "coding")
		c.change(f)
		info, err := base.Check(t.Context(), save(t, f.bytes()))
		if err != nil || !slices.Equal(info.Warnings, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, info.Warnings, err, c.want)
		}
	}
}

func TestSomeNamesFew(t *testing.T) {
	if got := Some([]string{"a", "b", "c", "d", "e"}); got != "a, b, c and 2 more" {
		t.Error(got)
	}
}
