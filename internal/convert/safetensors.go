package convert

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
)

// Bounds on a safetensors header. Adapters stay far below.
const (
	maxHeader     = 16 << 20 // bytes
	maxTensors    = 1 << 16
	maxDimensions = 8
	maxKey        = 1024 // bytes of a tensor's name
)

// dtype is how elements are stored.
type dtype string

const (
	f32  dtype = "F32"
	f16  dtype = "F16"
	bf16 dtype = "BF16"
)

// width returns an element's size in bytes, 0 for types that are not known.
func (t dtype) width() uint64 {
	switch t {
	case "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ":
		return 1
	case f16, bf16, "I16", "U16":
		return 2
	case f32, "I32", "U32":
		return 4
	case "F64", "I64", "U64", "C64":
		return 8
	default:
		return 0
	}
}

// stored is a tensor of a safetensors file.
type stored struct {
	name   string
	kind   dtype
	shape  []uint64 // the dimension that is contiguous in memory last
	offset int64    // of the data in the file
	bytes  int64
}

// readHeader reads the header of a safetensors file of size bytes and checks
// that its tensors fill the rest exactly, as the format demands.
func readHeader(r io.ReaderAt, size int64) ([]stored, error) {
	const prefix = 8 // the header's length
	var start [prefix]byte
	if size < prefix {
		return nil, malformed("%s: truncated: %d bytes", weightsFile, size)
	}
	if err := readAt(r, start[:], 0); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(start[:])
	switch {
	case strings.HasPrefix(string(start[:]), "version "):
		return nil, malformed("%s: not the file itself but a Git LFS pointer to it", weightsFile)
	case length > maxHeader:
		return nil, malformed("%s: a header of %d bytes, wanted at most %d: is this a safetensors file?", weightsFile,
			length, maxHeader)
	case int64(length) > size-prefix:
		return nil, malformed("%s: truncated: a header of %d bytes in a file of %d", weightsFile, length, size)
	}
	text := make([]byte, length)
	if err := readAt(r, text, prefix); err != nil {
		return nil, err
	}
	tensors, err := parseHeader(text)
	if err != nil {
		return nil, err
	}
	if err := checkLayout(tensors, size-prefix-int64(length)); err != nil {
		return nil, err
	}
	for i := range tensors {
		tensors[i].offset += prefix + int64(length)
	}
	return tensors, nil
}

// readAt fills p. A file that ends before was cut while it was read.
func readAt(r io.ReaderAt, p []byte, offset int64) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return malformed("%s: truncated: it ends at byte %d", weightsFile, offset+int64(n))
	}
	return fmt.Errorf("read %s: %w", weightsFile, err)
}

// parseHeader reads the header's JSON. Offsets are from the start of the data.
func parseHeader(text []byte) ([]stored, error) {
	bad := func(err error) error { return malformed("%s: header: %v", weightsFile, err) }
	d := json.NewDecoder(bytes.NewReader(text))
	open, err := d.Token()
	if err != nil {
		return nil, bad(err)
	}
	if open != json.Delim('{') {
		return nil, bad(fmt.Errorf("%v, wanted an object", open))
	}
	seen := map[string]bool{}
	var tensors []stored
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, bad(err)
		}
		name := fmt.Sprint(token)
		switch {
		case seen[name]:
			return nil, malformed("%s: tensor %q is there twice", weightsFile, clip(name))
		case len(name) > maxKey:
			return nil, malformed("%s: tensor %q: a name of %d bytes, wanted at most %d", weightsFile, clip(name), len(name),
				maxKey)
		case len(tensors) == maxTensors:
			return nil, malformed("%s: more than %d tensors", weightsFile, maxTensors)
		}
		seen[name] = true
		if name == "__metadata__" {
			var ignored json.RawMessage
			if err := d.Decode(&ignored); err != nil {
				return nil, bad(err)
			}
			continue
		}
		t, err := parseTensor(d, name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
	}
	if _, err := d.Token(); err != nil {
		return nil, bad(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // spaces may follow
		return nil, malformed("%s: header: more than one value", weightsFile)
	}
	return tensors, nil
}

func parseTensor(d *json.Decoder, name string) (stored, error) {
	var x struct {
		Kind    dtype    `json:"dtype"`
		Shape   []uint64 `json:"shape"`
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := d.Decode(&x); err != nil {
		return stored{}, malformed("%s: tensor %q: %v", weightsFile, name, err)
	}
	bytes := x.Kind.width()
	if bytes == 0 {
		return stored{}, unsupported("dtype", "%s: tensor %q has the type %q, supported are F32, F16 and BF16",
			weightsFile, name, clip(string(x.Kind)))
	}
	if len(x.Shape) > maxDimensions {
		return stored{}, malformed("%s: tensor %q has %d dimensions", weightsFile, name, len(x.Shape))
	}
	for _, n := range x.Shape {
		high, low := bits.Mul64(bytes, n)
		if high != 0 || low > 1<<62 {
			return stored{}, malformed("%s: tensor %q has the shape %v", weightsFile, name, x.Shape)
		}
		bytes = low
	}
	if len(x.Offsets) != 2 {
		return stored{}, malformed("%s: tensor %q has %d data_offsets, wanted 2", weightsFile, name, len(x.Offsets))
	}
	if x.Offsets[0] > x.Offsets[1] || x.Offsets[1] > 1<<62 || x.Offsets[1]-x.Offsets[0] != bytes {
		return stored{}, malformed("%s: tensor %q: %s of shape %v takes %d bytes, its data_offsets are %v", weightsFile,
			name, x.Kind, x.Shape, bytes, x.Offsets)
	}
	return stored{name: name, kind: x.Kind, shape: x.Shape, offset: int64(x.Offsets[0]), bytes: int64(bytes)}, nil
}

// checkLayout refuses tensors that overlap or leave gaps: what such a file means
// depends on who reads it.
func checkLayout(tensors []stored, data int64) error {
	ordered := slices.Clone(tensors)
	slices.SortStableFunc(ordered, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.bytes, b.bytes))
	})
	var end int64
	for _, t := range ordered {
		switch {
		case t.offset+t.bytes > data:
			return malformed("%s: truncated: tensor %q ends at byte %d of the data, which has %d", weightsFile, t.name,
				t.offset+t.bytes, data)
		case t.offset != end:
			return malformed("%s: tensor %q starts at byte %d of the data, the one before it ends at %d", weightsFile, t.name,
				t.offset, end)
		}
		end = t.offset + t.bytes
	}
	if end != data {
		return malformed("%s: %d bytes follow the last tensor", weightsFile, data-end)
	}
	return nil
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	const longest = 120
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "..."
}
