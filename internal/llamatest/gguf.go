package llamatest

import (
	"bytes"
	encoding "encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
)

// donor is a demo adapter's file with the places of what variants change.
type donor struct {
	data    []byte
	alpha   int    // where the 4 bytes of adapter.lora.alpha are
	tensors []span // in the order of the file
}

// span is where a tensor's weights are, 16-bit floats all.
type span struct {
	name       string
	dims       int // where its two sizes are, 8 bytes each, the columns' first
	begin, end int
}

var readDonors = sync.OnceValues(func() ([]donor, error) {
	var all []donor
	for _, name := range []string{"chat", "coding", "legal", "medical"} {
		d, err := parseDonor(filepath.Join(Root(), "deploy", "demo", "adapters", name+".gguf"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, d)
		if !slices.EqualFunc(d.tensors, all[0].tensors, sameWeights) {
			return nil, fmt.Errorf("%s: its tensors do not lie where those of chat do", name)
		}
	}
	return all, nil
})

// sameWeights tells whether tensors of two files are interchangeable.
func sameWeights(a, b span) bool { return a.name == b.name && a.end-a.begin == b.end-b.begin }

// donors returns the demo adapters of one shape. Nobody may change them.
func donors(t testing.TB) []donor {
	t.Helper()
	d, err := readDonors()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d donor) weights(i int) []byte { return d.data[d.tensors[i].begin:d.tensors[i].end] }

// parseDonor finds the places in a file whose tensors are pairs of 16-bit matrices.
func parseDonor(path string) (donor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return donor{}, err
	}
	file, err := parser.ParseGGUFFile(path)
	if err != nil {
		return donor{}, err
	}
	const alpha, typeBytes = "adapter.lora.alpha", 4
	d := donor{data: data, alpha: bytes.Index(data, []byte(alpha)) + len(alpha) + typeBytes}
	for i, info := range file.TensorInfos {
		if len(info.Dimensions) != 2 || info.Type != parser.GGMLTypeF16 {
			return d, fmt.Errorf("%s is %v of %v, not a matrix of 16-bit floats", info.Name, info.Dimensions, info.Type)
		}
		begin := int(file.TensorDataStartOffset) + int(info.Offset)
		d.tensors = append(d.tensors, span{
			name: info.Name, dims: int(info.StartOffset) + 8 + len(info.Name) + 4, // behind two lengths
			begin: begin, end: begin + int(info.Bytes()),
		})
		if i%2 == 1 && strings.TrimSuffix(info.Name, "b") != strings.TrimSuffix(d.tensors[i-1].name, "a") {
			return d, fmt.Errorf("%s does not follow its A", info.Name)
		}
	}
	return d, nil
}

// narrower returns an adapter for a model of half the width: every A has half of
// its columns and twice the rank, every B twice the rank and half of its rows.
func (d donor) narrower() []byte {
	out := slices.Clone(d.data)
	for i, s := range d.tensors {
		first, second := out[s.dims:s.dims+8], out[s.dims+8:s.dims+16]
		if i%2 == 1 {
			first, second = second, first
		}
		encoding.LittleEndian.PutUint64(first, encoding.LittleEndian.Uint64(first)/2)
		encoding.LittleEndian.PutUint64(second, encoding.LittleEndian.Uint64(second)*2)
	}
	return out
}

func putUint32(b []byte, v uint32) { encoding.LittleEndian.PutUint32(b, v) }
