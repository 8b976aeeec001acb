package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	parser "github.com/gpustack/gguf-parser-go"
)

// Adapters come from anywhere, so their headers are read here and not by the
// library: it trims strings (llama.cpp does not), follows split file names to
// other files, trusts split.tensors.count and panics on wrong types.

// Bounds on a header. Adapters stay far below; llama.cpp compares all names
// with each other, so it would be busy for minutes beyond them.
const (
	maxHeader  = 32 << 20 // bytes
	maxKeys    = 4096
	maxTensors = 1 << 16
	maxText    = 4096 // bytes of a string value that are kept
)

// shape is ggml's: the length of rows first, 1 for absent dimensions.
type shape [4]uint64

func (s shape) String() string {
	n := len(s)
	for n > 2 && s[n-1] == 1 {
		n--
	}
	return fmt.Sprint(s[:n])
}

// value is one metadata value; only short strings and numbers are kept.
type value struct {
	kind   parser.GGUFMetadataValueType
	text   string // of a string, cut after maxText bytes
	number uint64 // the bits of a number of up to 8 bytes
}

type tensor struct {
	name   string
	shape  shape
	kind   parser.GGMLType
	offset uint64 // from the start of the data
	zero   bool   // all of its numbers are, once its data was read
}

type header struct {
	values  map[string]value
	tensors []tensor
	end     int64 // where the header ends; the data starts after padding
}

// decoder reads a header forwards. The first failure stays in err and all
// later reads return zeros.
type decoder struct {
	r    *bufio.Reader
	pos  int64
	size int64   // of the file
	what string  // is being read, for messages
	word [8]byte // the last number: no allocation for each
	err  error
}

// readHeader reads a header whose structure llama.cpp accepts.
func readHeader(r io.Reader, size int64) (*header, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10), size: size}
	tensors, keys := d.preamble()
	h := &header{values: map[string]value{}}
	for i := uint64(0); i < keys && d.err == nil; i++ {
		d.what = fmt.Sprintf("key %d of %d", i+1, keys)
		d.keyValue(h.values)
	}
	seen := make(map[string]bool)
	for i := uint64(0); i < tensors && d.err == nil; i++ {
		d.what = fmt.Sprintf("the description of tensor %d of %d", i+1, tensors)
		t := d.tensor()
		if d.err == nil && seen[t.name] {
			d.fail(DuplicateTensor, "tensor %s is there twice", t.name)
		}
		seen[t.name] = true
		h.tensors = append(h.tensors, t)
	}
	h.end = d.pos
	return h, d.err
}

// preamble reads what precedes the keys.
func (d *decoder) preamble() (tensors, keys uint64) {
	const magic = "GGUF"
	start, err := d.r.Peek(min(int(d.size), len("version https://git-lfs")))
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = err
		return 0, 0
	}
	switch {
	case strings.HasPrefix(string(start), "version https://git-lfs"):
		d.fail(NotGGUF, "not the file itself but a Git LFS pointer to it")
		return 0, 0
	case !strings.HasPrefix(string(start), magic):
		d.fail(NotGGUF, "not a GGUF file: it starts with %q, not %q", start[:min(len(start), len(magic))], magic)
		return 0, 0
	}
	d.what = "the preamble"
	d.skip(uint64(len(magic)))
	version := d.uint32()
	tensors, keys = d.uint64(), d.uint64()
	switch {
	case d.err != nil:
	case version != 0 && version&0xffff == 0:
		d.fail(NotGGUF, "GGUF in big-endian byte order, wanted little-endian")
	case version != 2 && version != 3:
		d.fail(NotGGUF, "GGUF version %d, wanted 2 or 3", version)
	case tensors > maxTensors:
		d.fail(Malformed, "the header announces %d tensors, more than %d", tensors, maxTensors)
	case keys > maxKeys:
		d.fail(Malformed, "the header announces %d keys, more than %d", keys, maxKeys)
	}
	return tensors, keys
}

func (d *decoder) keyValue(values map[string]value) {
	key := d.name("key")
	if d.err != nil {
		return
	}
	if _, twice := values[key]; twice {
		d.fail(Malformed, "key %s is there twice", key)
		return
	}
	d.what = "key " + key
	v := value{kind: parser.GGUFMetadataValueType(d.uint32())}
	switch v.kind {
	case parser.GGUFMetadataValueTypeString:
		v.text = d.text()
	case parser.GGUFMetadataValueTypeArray:
		d.array(key)
	default:
		width := widthOf(v.kind)
		if width == 0 {
			d.fail(Malformed, "key %s has a value of unknown type %d", key, uint32(v.kind))
			return
		}
		v.number = d.number(width)
	}
	values[key] = v
}

// array passes over an array.
func (d *decoder) array(key string) {
	kind := parser.GGUFMetadataValueType(d.uint32())
	length := d.uint64()
	if kind == parser.GGUFMetadataValueTypeString {
		for i := uint64(0); i < length && d.err == nil; i++ {
			d.skip(d.uint64())
		}
		return
	}
	width := widthOf(kind)
	switch {
	case d.err != nil:
	case width == 0: // llama.cpp has no arrays of arrays
		d.fail(Malformed, "key %s is an array of elements of unknown type %d", key, uint32(kind))
	case length > math.MaxInt64/width:
		d.fail(Malformed, "key %s is an array of %d elements", key, length)
	default:
		d.skip(length * width)
	}
}

func (d *decoder) tensor() tensor {
	t := tensor{name: d.name("tensor name"), shape: shape{1, 1, 1, 1}}
	if len(t.name) > MaxName {
		d.fail(Malformed, "tensor name %q has %d bytes, wanted at most %d", t.name, len(t.name), MaxName)
	}
	dimensions := d.uint32()
	if d.err == nil && (dimensions == 0 || dimensions > uint32(len(t.shape))) {
		d.fail(Malformed, "tensor %s has %d dimensions, wanted 1 to %d", t.name, dimensions, len(t.shape))
	}
	for i := uint32(0); i < dimensions && d.err == nil; i++ {
		t.shape[i] = d.uint64()
	}
	t.kind = parser.GGMLType(d.uint32())
	t.offset = d.uint64()
	return t
}

// widthOf is the size in bytes of a number or bool, 0 for all else.
func widthOf(kind parser.GGUFMetadataValueType) uint64 {
	switch kind {
	case parser.GGUFMetadataValueTypeUint8, parser.GGUFMetadataValueTypeInt8, parser.GGUFMetadataValueTypeBool:
		return 1
	case parser.GGUFMetadataValueTypeUint16, parser.GGUFMetadataValueTypeInt16:
		return 2
	case parser.GGUFMetadataValueTypeUint32, parser.GGUFMetadataValueTypeInt32, parser.GGUFMetadataValueTypeFloat32:
		return 4
	case parser.GGUFMetadataValueTypeUint64, parser.GGUFMetadataValueTypeInt64, parser.GGUFMetadataValueTypeFloat64:
		return 8
	default:
		return 0
	}
}

// name reads a key or a tensor's name. C code ends a name at a zero byte and
// logs the rest, so only printable text passes.
func (d *decoder) name(what string) string {
	length := d.uint64()
	if length > maxText {
		d.need(length) // a wrong length is most often a truncated file
		d.fail(Malformed, "%s: a %s of %d bytes", d.what, what, length)
	}
	text := string(d.bytes(length))
	if d.err == nil && (text == "" || !printable(text)) {
		d.fail(Malformed, "%s: a %s %q that is empty or not printable", d.what, what, text)
	}
	return text
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// text reads a string value and keeps its start.
func (d *decoder) text() string {
	length := d.uint64()
	kept := d.bytes(min(length, maxText))
	d.skip(length - uint64(len(kept)))
	return string(kept)
}

func (d *decoder) uint32() uint32 { return uint32(d.number(4)) }
func (d *decoder) uint64() uint64 { return d.number(8) }

func (d *decoder) number(width uint64) uint64 {
	d.word = [8]byte{}
	if !d.fill(d.word[:width]) {
		return 0
	}
	return binary.LittleEndian.Uint64(d.word[:])
}

// bytes reads at most maxText bytes, nil if they are not there.
func (d *decoder) bytes(n uint64) []byte {
	if !d.need(n) {
		return nil
	}
	buf := make([]byte, n)
	if !d.fill(buf) {
		return nil
	}
	return buf
}

// fill reports whether it read as many bytes as buf has.
func (d *decoder) fill(buf []byte) bool {
	n := uint64(len(buf))
	if !d.need(n) {
		return false
	}
	_, err := io.ReadFull(d.r, buf)
	d.read(n, err)
	return d.err == nil
}

func (d *decoder) skip(n uint64) {
	if !d.need(n) {
		return
	}
	_, err := d.r.Discard(int(n))
	d.read(n, err)
}

// need reports whether n more bytes may be read.
func (d *decoder) need(n uint64) bool {
	switch {
	case d.err != nil:
	case n > uint64(d.size-d.pos):
		d.fail(Truncated, "truncated: %s needs %d bytes from byte %d on, the file has %d", d.what, n, d.pos, d.size)
	case n > uint64(maxHeader-d.pos):
		d.fail(Malformed, "the header is larger than %d bytes", maxHeader)
	}
	return d.err == nil
}

// read accounts for bytes that were read.
func (d *decoder) read(n uint64, err error) {
	d.pos += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		d.fail(Truncated, "truncated: it became shorter while it was read")
		return
	}
	if d.err == nil {
		d.err = err
	}
}

// fail keeps the first failure.
func (d *decoder) fail(code, format string, args ...any) {
	if d.err == nil {
		d.err = reject(code, format, args...)
	}
}
