package randgguf

import (
	"bufio"
	"errors"
	"io"
	"os"

	"github.com/loragate/loragate/internal/gguf"
)

// entry is one key of the metadata with its value, of a type that gguf.Write knows.
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

const chunkBytes = 1 << 20

// size returns the bytes of the weights and of the zero rows they begin with.
func (t tensor) size() (all, zero int64) {
	row := int64(t.cols / t.quant.elements * t.quant.bytes)
	return row * int64(max(t.rows, 1)), row * int64(t.zeros)
}

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
	w := bufio.NewWriterSize(f, chunkBytes)
	if err := gguf.Write(w, entries(metadata), streams(tensors, seed)); err != nil {
		return err
	}
	return w.Flush()
}

func entries(metadata []entry) []gguf.Entry {
	var out []gguf.Entry
	for _, e := range metadata {
		out = append(out, gguf.Entry{Key: e.key, Value: e.value})
	}
	return out
}

// streams returns the tensors as they are written.
func streams(tensors []tensor, seed uint64) []gguf.Tensor {
	var out []gguf.Tensor
	for i, t := range tensors {
		all, _ := t.size()
		shape := []uint64{uint64(t.cols)}
		if t.rows > 0 {
			shape = append(shape, uint64(t.rows))
		}
		out = append(out, gguf.Tensor{
			Name: t.name, Type: gguf.Type(t.quant.code), Shape: shape, Bytes: all,
			Write: func(w io.Writer) error {
				r := random(mix(mix(seed) + uint64(i)))
				return t.write(w, &r)
			},
		})
	}
	return out
}

// write writes the weights.
func (t tensor) write(w io.Writer, r *random) error {
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
	return nil
}
