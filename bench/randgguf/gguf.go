package randgguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
)

// entry is one key of the metadata with its value: a string, bool, uint32,
// float32, []string or []int32.
type entry struct {
	key   string
	value any
}

// tensor is a matrix of random weights, or a vector if it has no rows.
type tensor struct {
	name       string
	quant      Quant
	cols, rows int
	zeros      int // the first rows, of zero weights
	spread     float64
}

const (
	alignment  = 32
	chunkBytes = 1 << 20
)

// size returns the bytes of the weights and of the zero rows they begin with.
func (t tensor) size() (all, zero int64) {
	row := int64(t.cols / t.quant.elements * t.quant.bytes)
	return row * int64(max(t.rows, 1)), row * int64(t.zeros)
}

func padded(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// write writes a GGUF file. Each tensor's weights depend on the seed and on its
// place among the tensors.
func write(path string, metadata []entry, tensors []tensor, seed uint64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	header := header(metadata, tensors)
	if _, err := f.Write(header); err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, chunkBytes)
	for i, t := range tensors {
		r := random(mix(mix(seed) + uint64(i)))
		if err := t.write(w, &r); err != nil {
			return fmt.Errorf("write %s: %w", t.name, err)
		}
	}
	return w.Flush()
}

// write writes the weights and pads them.
func (t tensor) write(w *bufio.Writer, r *random) error {
	all, zero := t.size()
	if _, err := w.Write(make([]byte, zero)); err != nil {
		return err
	}
	chunk := make([]byte, chunkBytes/t.quant.bytes*t.quant.bytes)
	for left := all - zero; left > 0; {
		part := chunk[:min(left, int64(len(chunk)))]
		t.quant.fill(part, t.spread, r)
		if _, err := w.Write(part); err != nil {
			return err
		}
		left -= int64(len(part))
	}
	_, err := w.Write(make([]byte, padded(all)-all))
	return err
}

// header returns all that comes before the weights, padded.
func header(metadata []entry, tensors []tensor) []byte {
	const version = 3
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), version)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(metadata)))
	for _, e := range metadata {
		b = appendValue(appendString(b, e.key), e.value)
	}
	var offset int64
	for _, t := range tensors {
		b = appendString(b, t.name)
		// The dimension that is contiguous in memory comes first.
		if t.rows == 0 {
			b = le.AppendUint32(b, 1)
			b = le.AppendUint64(b, uint64(t.cols))
		} else {
			b = le.AppendUint32(b, 2)
			b = le.AppendUint64(b, uint64(t.cols))
			b = le.AppendUint64(b, uint64(t.rows))
		}
		b = le.AppendUint32(b, t.quant.code)
		b = le.AppendUint64(b, uint64(offset))
		all, _ := t.size()
		offset += padded(all)
	}
	return append(b, make([]byte, padded(int64(len(b)))-int64(len(b)))...)
}

// The numbers of GGUF's types of values.
const (
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9
)

// appendValue appends the type and the value.
func appendValue(b []byte, value any) []byte {
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
	default:
		panic(fmt.Sprintf("randgguf: no GGUF type for %T", value))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
