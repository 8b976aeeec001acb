package gguf

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/bits"
	"slices"

	parser "github.com/gpustack/gguf-parser-go"
)

// elements are the types that llama.cpp's converter writes into adapters.
const elements = "F32, F16, BF16 or Q8_0"

// q8Block is Q8_0's layout: a float16 scale, then 32 small integers.
const q8Block = 34

// extent is where a tensor's data lies in the file.
type extent struct{ start, size int64 }

// layout returns the extents of all tensors, which follow each other with
// nothing but padding between them and lie inside the file.
func (h *header) layout(fileSize int64) ([]extent, error) {
	alignment, err := h.alignment()
	if err != nil {
		return nil, err
	}
	start := (uint64(h.end) + alignment - 1) &^ (alignment - 1)
	extents := make([]extent, len(h.tensors))
	var next uint64
	for i := range h.tensors {
		t := &h.tensors[i]
		size, err := t.bytes()
		if err != nil {
			return nil, err
		}
		if t.offset != next {
			return nil, reject(Malformed, "tensor %s starts at offset %d, wanted %d", t.name, t.offset, next)
		}
		if end := start + next + size; end > uint64(fileSize) {
			return nil, reject(Truncated, "truncated: the file has %d bytes, tensor %s needs %d", fileSize, t.name, end)
		}
		extents[i] = extent{int64(start + next), int64(size)}
		next += (size + alignment - 1) &^ (alignment - 1)
	}
	return extents, nil
}

// alignment of the data: a power of 2.
func (h *header) alignment() (uint64, error) {
	v, found := h.values[keyAlignment]
	if !found {
		return Alignment, nil
	}
	if v.kind != parser.GGUFMetadataValueTypeUint32 {
		return 0, reject(Malformed, "%s is of type %s, wanted uint32", keyAlignment, typeName(v.kind))
	}
	if bits.OnesCount64(v.number) != 1 {
		return 0, reject(Malformed, "%s is %d, wanted a power of 2", keyAlignment, v.number)
	}
	return v.number, nil
}

// bytes is the size of the tensor's data, at most 2^62.
func (t *tensor) bytes() (uint64, error) {
	switch t.kind {
	case parser.GGMLTypeF32, parser.GGMLTypeF16, parser.GGMLTypeBF16, parser.GGMLTypeQ8_0:
	default:
		return 0, reject(WrongType, "tensor %s is of type %v, wanted %s", t.name, t.kind, elements)
	}
	trait, _ := t.kind.Trait()
	if t.shape[0]%trait.BlockSize != 0 {
		return 0, reject(WrongType, "tensor %s has rows of %d elements, type %v needs a multiple of %d", t.name,
			t.shape[0], t.kind, trait.BlockSize)
	}
	size := trait.TypeSize
	for _, n := range []uint64{t.shape[0] / trait.BlockSize, t.shape[1], t.shape[2], t.shape[3]} {
		high, low := bits.Mul64(size, n)
		if high != 0 || low > math.MaxInt64/2 {
			return 0, reject(WrongShape, "tensor %s is %v: too large to exist", t.name, t.shape)
		}
		size = low
	}
	return size, nil
}

// read reads a tensor's data, notes whether all of it is zero, and rejects NaN and
// infinity: one such element makes all answers nonsense, without an error.
func (t *tensor) read(ctx context.Context, file io.ReaderAt, e extent) error {
	t.zero = true
	const chunk = q8Block << 13 // whole elements of every type
	buf := make([]byte, min(chunk, e.size))
	for done := int64(0); done < e.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(int64(len(buf)), e.size-done)]
		if _, err := file.ReadAt(part, e.start+done); errors.Is(err, io.EOF) {
			return reject(Truncated, "truncated: it became shorter while it was read")
		} else if err != nil {
			return err
		}
		if at := notFinite(t.kind, part); at >= 0 {
			return reject(NotFinite, "tensor %s: NaN or infinity at byte %d of its data", t.name, done+int64(at))
		}
		t.zero = t.zero && allZero(t.kind, part)
		done += int64(len(part))
	}
	return nil
}

// notFinite returns where the first number is that is NaN or infinite: all
// bits of its exponent are set. -1 if there is none.
func notFinite(kind parser.GGMLType, data []byte) int {
	const f32, f16, bf16 = 0x7f800000, 0x7c00, 0x7f80
	if kind == parser.GGMLTypeF32 {
		for i := 0; i < len(data); i += 4 {
			if binary.LittleEndian.Uint32(data[i:])&f32 == f32 {
				return i
			}
		}
		return -1
	}
	mask, step := uint16(f16), 2
	switch kind {
	case parser.GGMLTypeBF16:
		mask = bf16
	case parser.GGMLTypeQ8_0:
		step = q8Block
	}
	for i := 0; i < len(data); i += step {
		if binary.LittleEndian.Uint16(data[i:])&mask == mask {
			return i
		}
	}
	return -1
}

// allZero reports whether every number is 0 or -0.
func allZero(kind parser.GGMLType, data []byte) bool {
	switch kind {
	case parser.GGMLTypeF32:
		for i := 0; i < len(data); i += 4 {
			if binary.LittleEndian.Uint32(data[i:])<<1 != 0 {
				return false
			}
		}
	case parser.GGMLTypeQ8_0: // a block is zero by its scale or by all that this multiplies
		for block := range slices.Chunk(data, q8Block) {
			if binary.LittleEndian.Uint16(block)<<1 != 0 && slices.ContainsFunc(block[2:], isSet) {
				return false
			}
		}
	default:
		for i := 0; i < len(data); i += 2 {
			if binary.LittleEndian.Uint16(data[i:])<<1 != 0 {
				return false
			}
		}
	}
	return true
}

func isSet(b byte) bool { return b != 0 }
