package gguf

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
)

// data returns a tensor of bytes whose data is written in two parts.
func data(name string, bytes string, shape ...uint64) Tensor {
	return Tensor{Name: name, Type: F16, Shape: shape, Bytes: int64(len(bytes)), Write: func(w io.Writer) error {
		half := len(bytes) / 2
		_, err := io.WriteString(w, bytes[:half])
		_, second := io.WriteString(w, bytes[half:])
		return errors.Join(err, second)
	}}
}

// TestAnotherReaderAgrees tests that an independent reader finds what was written.
func TestAnotherReaderAgrees(t *testing.T) {
	metadata := []Entry{
		{"general.architecture", "llama"}, {"a.bool", true}, {"a.off", false}, {"a.u32", uint32(7)}, {"a.i32", int32(-7)},
		{"a.u64", uint64(1) << 40}, {"a.f32", float32(0.25)}, {"a.strings", []string{"x", "", "zz"}},
		{"a.i32s", []int32{1, -2}}, {"a.u32s", []uint32{3}},
	}
	tensors := []Tensor{
		data("first", strings.Repeat("1", 12), 3, 2), data("second", strings.Repeat("2", 64), 32),
		data("third", "33", 1, 1, 1, 1),
	}
	var out bytes.Buffer
	if err := Write(&out, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseGGUFFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Header.MetadataKV) != len(metadata) || len(file.TensorInfos) != len(tensors) {
		t.Fatalf("%d keys and %d tensors", len(file.Header.MetadataKV), len(file.TensorInfos))
	}
	for i, kv := range file.Header.MetadataKV {
		want := metadata[i]
		got := kv.Value
		if array, ok := got.(parser.GGUFMetadataKVArrayValue); ok {
			list := reflect.MakeSlice(reflect.TypeOf(want.Value), 0, 0)
			for _, v := range array.Array {
				list = reflect.Append(list, reflect.ValueOf(v))
			}
			got = list.Interface()
		}
		if kv.Key != want.Key || !reflect.DeepEqual(got, want.Value) {
			t.Errorf("key %d is %s = %v, want %s = %v", i, kv.Key, got, want.Key, want.Value)
		}
	}
	for i, info := range file.TensorInfos {
		want := tensors[i]
		if info.Name != want.Name || !reflect.DeepEqual(info.Dimensions, want.Shape) ||
			uint32(info.Type) != uint32(want.Type) {
			t.Errorf("tensor %d is %v", i, info)
		}
		var expected bytes.Buffer
		if err := want.Write(&expected); err != nil {
			t.Fatal(err)
		}
		at := file.TensorDataStartOffset + int64(info.Offset)
		if at%Alignment != 0 || !bytes.HasPrefix(out.Bytes()[at:], expected.Bytes()) {
			t.Errorf("tensor %s: its data is not at %d", info.Name, at)
		}
	}
	if out.Len()%Alignment != 0 {
		t.Errorf("the file has %d bytes: its end is not padded", out.Len())
	}
}

func TestRefusals(t *testing.T) {
	ok := data("x", "1234", 2)
	change := func(f func(*Tensor)) []Tensor {
		x := ok
		f(&x)
		return []Tensor{x}
	}
	for _, c := range []struct {
		metadata []Entry
		tensors  []Tensor
		want     string
	}{
		{[]Entry{{"k", 1.5}}, nil, `key "k": no GGUF type for float64`},
		{[]Entry{{"k", true}, {"k", true}}, nil, `key "k" is given twice`},
		{nil, []Tensor{ok, ok}, `tensor "x" is given twice`},
		{nil, change(func(x *Tensor) { x.Name = strings.Repeat("n", 64) }), "text of 1 to 63 bytes"},
		{nil, change(func(x *Tensor) { x.Name = "" }), "text of 1 to 63 bytes"},
		{nil, change(func(x *Tensor) { x.Name = "a\x00" }), "text of 1 to 63 bytes"},
		{nil, change(func(x *Tensor) { x.Shape = nil }), "0 dimensions"},
		{nil, change(func(x *Tensor) { x.Shape = make([]uint64, 5) }), "5 dimensions"},
		{nil, change(func(x *Tensor) { x.Bytes = -1 }), "a size of -1 bytes"},
		{nil, change(func(x *Tensor) { x.Bytes = 1<<63 - 1 }), "a size of 9223372036854775807 bytes"},
		{nil, change(func(x *Tensor) { x.Write = nil }), "no data"},
	} {
		var out bytes.Buffer
		err := Write(&out, c.metadata, c.tensors)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes were written", c.want, out.Len())
		}
	}
}

func TestDataMustHaveItsSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		3: "tensor x: 1 bytes more than announced", 5: "tensor x: 1 of its 5 bytes are missing",
	} {
		x := data("x", "1234", 2)
		x.Bytes = bytes
		if err := Write(io.Discard, nil, []Tensor{x}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	broken := errors.New("the disk is full")
	x := data("x", "1234", 2)
	x.Write = func(io.Writer) error { return broken }
	if err := Write(io.Discard, nil, []Tensor{x}); !errors.Is(err, broken) ||
		!strings.HasPrefix(err.Error(), "tensor x: ") {
		t.Errorf("got %v, want %v", err, broken)
	}
}
