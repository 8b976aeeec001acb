package convert

import (
	"context"
	"encoding/binary"
	"io"
	"math"

	"github.com/loragate/loragate/internal/gguf"
)

// chunkBytes is how much of a tensor is in memory at once.
const chunkBytes = 1 << 20

// tensors returns both halves of each pair as they are written.
func tensors(ctx context.Context, file io.ReaderAt, pairs []*lora) []gguf.Tensor {
	var out []gguf.Tensor
	for _, l := range pairs {
		a := stream{ctx: ctx, file: file, from: l.a, factor: 1}
		b := stream{ctx: ctx, file: file, from: l.b, factor: l.factor}
		shape := []uint64{l.a.shape[1], l.rank}
		writeA, writeB := a.plain, b.plain
		if l.embedding {
			// llama.cpp looks tokens up in the rows of lora_a.
			shape = []uint64{l.rank, l.rows}
			writeA = func(w io.Writer) error { return a.transposed(w, l.rows) }
		}
		if l.heads > 0 {
			writeB = func(w io.Writer) error { return b.interleaved(w, l.heads) }
		}
		out = append(out,
			a.tensor(l.target+".lora_a", shape, writeA),
			b.tensor(l.target+".lora_b", []uint64{l.rank, l.b.shape[0]}, writeB))
	}
	return out
}

// stream writes one tensor's data. Its methods stop with ctx.
type stream struct {
	ctx    context.Context
	file   io.ReaderAt
	from   *stored
	factor float64
}

// target returns how the elements are written. F16 and F32 stay what they are.
// BF16 becomes F32, as llama.cpp's converter does: not every backend has it, and
// F32 holds it exactly. So does what is multiplied: F16 would round.
func (s *stream) target() gguf.Type {
	if s.from.kind == f16 && s.factor == 1 {
		return gguf.F16
	}
	return gguf.F32
}

func (s *stream) tensor(name string, shape []uint64, write func(io.Writer) error) gguf.Tensor {
	bytes := int64(shape[0]) * int64(shape[1]) * 4
	if s.target() == gguf.F16 {
		bytes /= 2
	}
	return gguf.Tensor{Name: name, Type: s.target(), Shape: shape, Bytes: bytes, Write: write}
}

// plain writes the data in its own order.
func (s *stream) plain(w io.Writer) error {
	return s.copy(w, s.from.offset, s.from.bytes, make([]byte, min(s.from.bytes, chunkBytes)))
}

// copy writes a part of the file by way of buf.
func (s *stream) copy(w io.Writer, offset, length int64, buf []byte) error {
	for length > 0 {
		part := buf[:min(length, int64(len(buf)))]
		if err := s.read(part, offset); err != nil {
			return err
		}
		if err := s.write(w, part); err != nil {
			return err
		}
		offset += int64(len(part))
		length -= int64(len(part))
	}
	return nil
}

func (s *stream) read(p []byte, offset int64) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	return readAt(s.file, p, offset)
}

// interleaved writes the rows of each head in the order that base explains: from
// each half of the head in turn.
func (s *stream) interleaved(w io.Writer, heads uint64) error {
	row := s.from.bytes / int64(s.from.shape[0])
	half := int64(s.from.shape[0] / heads / 2)
	buf := make([]byte, min(row, chunkBytes))
	for head := range int64(heads) {
		for i := range half {
			for part := range int64(2) {
				from := head*2*half + part*half + i
				if err := s.copy(w, s.from.offset+from*row, row, buf); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// transposed writes the first columns as rows, block by block.
func (s *stream) transposed(w io.Writer, columns uint64) error {
	width := int64(s.from.kind.width())
	rows, row := int64(s.from.shape[0]), int64(s.from.shape[1])*width
	block := max(1, chunkBytes/(rows*width)) // in columns
	buf := make([]byte, block*width)
	out := make([]byte, rows*block*width)
	for left, at := int64(columns), int64(0); left > 0; {
		n := min(block, left)
		for r := range rows {
			line := buf[:n*width]
			if err := s.read(line, s.from.offset+r*row+at*width); err != nil {
				return err
			}
			for c := range n {
				copy(out[(c*rows+r)*width:], line[c*width:(c+1)*width])
			}
		}
		if err := s.write(w, out[:rows*n*width]); err != nil {
			return err
		}
		left, at = left-n, at+n
	}
	return nil
}

// write writes elements, converted and multiplied.
func (s *stream) write(w io.Writer, data []byte) error {
	if s.factor == 1 && s.from.kind != bf16 {
		_, err := w.Write(data)
		return err
	}
	le := binary.LittleEndian
	width := int(s.from.kind.width())
	out := make([]byte, 0, len(data)/width*4)
	for ; len(data) > 0; data = data[width:] {
		var x float32
		switch s.from.kind {
		case f32:
			x = math.Float32frombits(le.Uint32(data))
		case f16:
			x = fromHalf(le.Uint16(data))
		case bf16:
			x = math.Float32frombits(uint32(le.Uint16(data)) << 16)
		}
		if s.factor != 1 {
			x = float32(float64(x) * s.factor)
		}
		out = le.AppendUint32(out, math.Float32bits(x))
	}
	_, err := w.Write(out)
	return err
}

// fromHalf returns the number that 16 bits in IEEE 754's form stand for.
func fromHalf(h uint16) float32 {
	sign, exponent, mantissa := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero or subnormal: a multiple of 2^-24
		x := float32(mantissa) / (1 << 24)
		return math.Float32frombits(math.Float32bits(x) | sign)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}
