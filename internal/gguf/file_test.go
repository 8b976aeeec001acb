package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"

	"github.com/loragate/loragate/internal/llamatest"
)

// file is an adapter taken apart, for tests to break.
type file struct {
	magic     string
	version   uint32
	keys      []key
	tensors   []part
	alignment int
	// announced replaces the number of tensors, if not 0.
	announced uint64
	// cut is how many bytes are missing at the end; there are more if it is below 0.
	cut int
}

type key struct {
	name  string
	kind  parser.GGUFMetadataValueType
	value []byte
}

type part struct {
	name   string
	dims   []uint64
	kind   parser.GGMLType
	data   []byte
	offset *uint64 // replaces the right one
}

// takeApart reads one of the demo adapters, without the keys that nobody needs.
func takeApart(t testing.TB, name string) *file {
	t.Helper()
	f := dismantle(t, llamatest.Adapters()[name])
	needed := []string{keyArchitecture, keyType, keyAdapterType, keyAlpha}
	f.keys = slices.DeleteFunc(f.keys, func(k key) bool { return !slices.Contains(needed, k.name) })
	return f
}

// dismantle reads any file whose tensors are of the types of adapters.
func dismantle(t testing.TB, path string) *file {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(content))
	h, err := readHeader(bytes.NewReader(content), size)
	if err != nil {
		t.Fatal(err)
	}
	extents, err := h.layout(size)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{magic: "GGUF", version: 3, alignment: Alignment}
	for i, t := range h.tensors {
		data := content[extents[i].start : extents[i].start+extents[i].size]
		f.tensors = append(f.tensors, part{t.name, t.shape[:2:2], t.kind, bytes.Clone(data), nil})
	}
	d := &decoder{r: bufio.NewReader(bytes.NewReader(content)), size: size}
	_, keys := d.preamble()
	for range keys {
		start, one := d.pos, map[string]value{}
		d.keyValue(one)
		for name, v := range one {
			head := int64(len(text(name)) + 4)
			f.keys = append(f.keys, key{name, v.kind, bytes.Clone(content[start+head : d.pos])})
		}
	}
	return f
}

func (f *file) set(name string, kind parser.GGUFMetadataValueType, value []byte) {
	for i := range f.keys {
		if f.keys[i].name == name {
			f.keys[i] = key{name, kind, value}
			return
		}
	}
	f.keys = append(f.keys, key{name, kind, value})
}

func (f *file) remove(name string) {
	for i := range f.keys {
		if f.keys[i].name == name {
			f.keys = append(f.keys[:i], f.keys[i+1:]...)
			return
		}
	}
}

// tensor returns the tensor of a name, which must be there.
func (f *file) tensor(name string) *part {
	for i := range f.tensors {
		if f.tensors[i].name == name {
			return &f.tensors[i]
		}
	}
	panic("no tensor " + name)
}

// add appends a tensor of zeros.
func (f *file) add(name string, kind parser.GGMLType, dims ...uint64) {
	trait, _ := kind.Trait()
	size := trait.TypeSize
	for i, n := range dims {
		if i == 0 {
			n /= trait.BlockSize
		}
		size *= n
	}
	f.tensors = append(f.tensors, part{name, dims, kind, make([]byte, size), nil})
}

// reshape gives a tensor other dimensions and zeros.
func (f *file) reshape(name string, kind parser.GGMLType, dims ...uint64) {
	f.add(name, kind, dims...)
	last := len(f.tensors) - 1
	*f.tensor(name) = f.tensors[last]
	f.tensors = f.tensors[:last]
}

func (f *file) bytes() []byte {
	var out bytes.Buffer
	out.WriteString(f.magic)
	out.Write(u32(f.version))
	count := uint64(len(f.tensors))
	if f.announced != 0 {
		count = f.announced
	}
	out.Write(u64(count))
	out.Write(u64(uint64(len(f.keys))))
	for _, k := range f.keys {
		out.Write(text(k.name))
		out.Write(u32(uint32(k.kind)))
		out.Write(k.value)
	}
	var offset uint64
	pad := func(n int) int { return (n + f.alignment - 1) / f.alignment * f.alignment }
	for _, t := range f.tensors {
		out.Write(text(t.name))
		out.Write(u32(uint32(len(t.dims))))
		for _, n := range t.dims {
			out.Write(u64(n))
		}
		out.Write(u32(uint32(t.kind)))
		at := offset
		if t.offset != nil {
			at = *t.offset
		}
		out.Write(u64(at))
		offset += uint64(pad(len(t.data)))
	}
	for _, t := range f.tensors {
		out.Write(make([]byte, pad(out.Len())-out.Len()))
		out.Write(t.data)
	}
	if f.cut < 0 {
		out.Write(make([]byte, -f.cut))
		return out.Bytes()
	}
	return out.Bytes()[:out.Len()-f.cut]
}

// save writes content to a new file.
func save(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func u32(n uint32) []byte  { return binary.LittleEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte  { return binary.LittleEndian.AppendUint64(nil, n) }
func f32(x float64) []byte { return u32(math.Float32bits(float32(x))) }
func text(s string) []byte { return append(u64(uint64(len(s))), s...) }

func array(kind parser.GGUFMetadataValueType, length int, values []byte) []byte {
	return append(append(u32(uint32(kind)), u64(uint64(length))...), values...)
}
