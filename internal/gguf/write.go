package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Alignment is what each tensor's data starts at a multiple of, counted from the
// start of the data; so does the data itself in the file. In bytes.
const Alignment = 32

// MaxName is the longest name of a tensor that ggml reads, in bytes.
const MaxName = 63

// Entry is one key of the metadata with its value: a string, bool, uint32,
// int32, uint64, float32, []string, []int32 or []uint32.
type Entry struct {
	Key   string
	Value any
}

// Type is ggml's number of how a tensor's elements are stored.
type Type uint32

// Types without blocks. Others are written as well: only the caller knows how
// many bytes they take.
const (
	F32  Type = 0
	F16  Type = 1
	BF16 Type = 30
)

// Tensor describes one tensor and gives its data.
type Tensor struct {
	Name  string
	Type  Type
	Shape []uint64 // the dimension that is contiguous in memory first; 1 to 4 of them
	Bytes int64    // of the data, without padding
	// Write writes exactly Bytes bytes to w. It is called once, in the order of
	// the tensors, on the goroutine that called Write.
	Write func(w io.Writer) error
}

// Write writes a whole file of version 3 to w, metadata and tensors in the order given, in
// many small parts: pass something buffered. No file has to fit into memory.
// Nothing is written if the metadata or a description is at fault. An error of
// a tensor's Write comes back wrapped, with the tensor's name before it.
func Write(w io.Writer, metadata []Entry, tensors []Tensor) error {
	header, err := Header(metadata, tensors)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		part := &exactly{w: w, left: t.Bytes}
		if err := t.Write(part); err != nil {
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if part.left != 0 {
			return fmt.Errorf("tensor %s: %d of its %d bytes are missing", t.Name, part.left, t.Bytes)
		}
		if _, err := w.Write(padding(t.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

// exactly lets no more bytes through than announced.
type exactly struct {
	w    io.Writer
	left int64
}

func (e *exactly) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than announced", int64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// Padded returns the bytes that n bytes of data take in the file.
func Padded(n int64) int64 { return (n + Alignment - 1) / Alignment * Alignment }

func padding(n int64) []byte { return make([]byte, Padded(n)-n) }

// Header returns all that comes before the data, padded.
func Header(metadata []Entry, tensors []Tensor) ([]byte, error) {
	const version = 3
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), version)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(metadata)))
	keys := make(map[string]bool, len(metadata))
	for _, e := range metadata {
		if keys[e.Key] {
			return nil, fmt.Errorf("key %q is given twice", e.Key)
		}
		keys[e.Key] = true
		var err error
		if b, err = appendValue(appendString(b, e.Key), e.Value); err != nil {
			return nil, fmt.Errorf("key %q: %w", e.Key, err)
		}
	}
	var offset int64
	names := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		if names[t.Name] {
			return nil, fmt.Errorf("tensor %q is given twice", t.Name)
		}
		names[t.Name] = true
		if err := t.check(offset); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		b = le.AppendUint32(appendString(b, t.Name), uint32(len(t.Shape)))
		for _, n := range t.Shape {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint32(b, uint32(t.Type))
		b = le.AppendUint64(b, uint64(offset))
		offset += Padded(t.Bytes)
	}
	return append(b, padding(int64(len(b)))...), nil
}

func (t Tensor) check(offset int64) error {
	switch {
	case t.Name == "" || len(t.Name) > MaxName || !utf8.ValidString(t.Name) || strings.ContainsRune(t.Name, 0):
		return fmt.Errorf("a name must be text of 1 to %d bytes", MaxName)
	case len(t.Shape) < 1 || len(t.Shape) > 4:
		return fmt.Errorf("%d dimensions, wanted 1 to 4", len(t.Shape))
	case t.Bytes < 0 || t.Bytes > math.MaxInt64-offset-Alignment:
		return fmt.Errorf("a size of %d bytes", t.Bytes)
	case t.Write == nil:
		return fmt.Errorf("no data")
	}
	return nil
}

// The numbers of GGUF's types of values.
const (
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9
	typeUint64  = 10
)

// appendValue appends the type and the value.
func appendValue(b []byte, value any) ([]byte, error) {
	le := binary.LittleEndian
	array := func(of uint32, length int) {
		b = le.AppendUint32(le.AppendUint32(b, typeArray), of)
		b = le.AppendUint64(b, uint64(length))
	}
	switch v := value.(type) {
	case string:
		b = appendString(le.AppendUint32(b, typeString), v)
	case bool:
		b = append(le.AppendUint32(b, typeBool), 0)
		if v {
			b[len(b)-1] = 1
		}
	case uint32:
		b = le.AppendUint32(le.AppendUint32(b, typeUint32), v)
	case int32:
		b = le.AppendUint32(le.AppendUint32(b, typeInt32), uint32(v))
	case uint64:
		b = le.AppendUint64(le.AppendUint32(b, typeUint64), v)
	case float32:
		b = le.AppendUint32(le.AppendUint32(b, typeFloat32), math.Float32bits(v))
	case []string:
		array(typeString, len(v))
		for _, s := range v {
			b = appendString(b, s)
		}
	case []int32:
		array(typeInt32, len(v))
		for _, n := range v {
			b = le.AppendUint32(b, uint32(n))
		}
	case []uint32:
		array(typeUint32, len(v))
		for _, n := range v {
			b = le.AppendUint32(b, n)
		}
	default:
		return nil, fmt.Errorf("no GGUF type for %T", value)
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
