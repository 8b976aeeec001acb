package gguf

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
)

// FuzzCheck wants every content to pass or to be rejected, in little memory.
func FuzzCheck(f *testing.F) {
	base := readBase(f)
	for _, content := range seeds(f) {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		info, err := base.check(t.Context(), bytes.NewReader(content), int64(len(content)))
		runtime.ReadMemStats(&after)
		if _, is := errors.AsType[*Rejection](err); err != nil && !is {
			t.Errorf("%v is no rejection", err)
		}
		if err == nil && (info.Rank < 1 || info.Tensors < 2 || len(info.Modules) == 0) {
			t.Errorf("passed with %+v", info)
		}
		// Names and tensors take a few times their size in the file, and the
		// buffers are of fixed sizes.
		const fixed, factor = 2 << 20, 64
		if used := after.TotalAlloc - before.TotalAlloc; used > fixed+factor*uint64(len(content)) {
			t.Errorf("%d bytes of memory for a file of %d", used, len(content))
		}
	})
}

// TestHostileHeader wants headers that would keep llama-server or a careless
// reader busy to be rejected in little memory.
func TestHostileHeader(t *testing.T) {
	base := readBase(t)
	texts := takeApart(t, "coding")
	texts.set("texts", arrayType, array(stringType, maxHeader/8, make([]byte, maxHeader)))
	keys := takeApart(t, "coding")
	for i := range maxKeys {
		keys.keys = append(keys.keys, key{strconv.Itoa(i), uintType, u32(0)})
	}
	long := takeApart(t, "coding")
	long.set("long", stringType, text(strings.Repeat("x", maxHeader)))
	for message, f := range map[string]*file{
		"the header is larger than 33554432 bytes":         texts,
		"the header announces 4100 keys, more than 4096":   keys,
		"the header is larger than 33554432 bytes in text": long,
	} {
		content := f.bytes()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := base.check(t.Context(), bytes.NewReader(content), int64(len(content)))
		runtime.ReadMemStats(&after)
		if r, is := errors.AsType[*Rejection](err); !is || r.Code != Malformed || !strings.HasPrefix(message, r.Message) {
			t.Errorf("%v, wanted %s", err, message)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d bytes of memory", message, used)
		}
	}
}

// seeds are small files: one pair, and one of each kind of value.
func seeds(t testing.TB) [][]byte {
	pair := takeApart(t, "coding")
	pair.tensors = nil
	pair.addPair("blk.0.attn_k.weight", 256, 1, 128)
	keys := takeApart(t, "coding")
	keys.tensors = nil
	keys.add("output_norm.weight", f32Type, 2)
	for kind := parser.GGUFMetadataValueTypeUint8; kind <= parser.GGUFMetadataValueTypeFloat64; kind++ {
		width := int(widthOf(kind))
		if width > 0 {
			keys.set(kind.String(), kind, make([]byte, width))
			keys.set("array of "+kind.String(), arrayType, array(kind, 2, make([]byte, 2*width)))
		}
	}
	keys.set("texts", arrayType, array(stringType, 2, append(text("a"), text("")...)))
	keys.set(keyAlignment, uintType, u32(8))
	keys.alignment = 8
	huge := takeApart(t, "coding")
	huge.tensors, huge.announced = nil, maxTensors
	return [][]byte{pair.bytes(), keys.bytes(), huge.bytes(), []byte("GGUF"), nil}
}
