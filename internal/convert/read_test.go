package convert

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"
)

// adapter is what a GGUF file says, read by an independent library.
type adapter struct {
	architecture string
	alpha        float32
	keys         map[string]any
	tensors      map[string]values
}

// values are a tensor's.
type values struct {
	kind  parser.GGMLType
	shape []uint64
	data  []byte
}

func readGGUF(t *testing.T, path string) adapter {
	t.Helper()
	file, err := parser.ParseGGUFFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := adapter{keys: map[string]any{}, tensors: map[string]values{}}
	for _, kv := range file.Header.MetadataKV {
		a.keys[kv.Key] = kv.Value
	}
	a.architecture, _ = a.keys["general.architecture"].(string)
	a.alpha, _ = a.keys["adapter.lora.alpha"].(float32)
	for _, info := range file.TensorInfos {
		start := file.TensorDataStartOffset + int64(info.Offset)
		a.tensors[info.Name] = values{kind: info.Type, shape: info.Dimensions,
			data: content[start : start+int64(info.Bytes())]}
	}
	return a
}

// compare compares all tensors, bit by bit.
func compare(t *testing.T, what string, got, want adapter) {
	t.Helper()
	for name, w := range want.tensors {
		g, found := got.tensors[name]
		switch {
		case !found:
			t.Errorf("%s: no tensor %s", what, name)
		case g.kind != w.kind || !slices.Equal(g.shape, w.shape):
			t.Errorf("%s: tensor %s is %v %v, want %v %v", what, name, g.kind, g.shape, w.kind, w.shape)
		case !bytes.Equal(g.data, w.data):
			t.Errorf("%s: tensor %s has other data", what, name)
		}
	}
	if len(got.tensors) != len(want.tensors) {
		t.Errorf("%s: %d tensors, want %d", what, len(got.tensors), len(want.tensors))
	}
}

type parserType = parser.GGMLType

const (
	parserF32 = parser.GGMLTypeF32
	parserF16 = parser.GGMLTypeF16
)

// floats decodes the elements.
func (v values) floats(t *testing.T) []float64 {
	t.Helper()
	var out []float64
	r := bytes.NewReader(v.data)
	for {
		var err error
		var x float64
		switch v.kind {
		case parser.GGMLTypeF32:
			var bits uint32
			err = binary.Read(r, binary.LittleEndian, &bits)
			x = float64(math.Float32frombits(bits))
		case parser.GGMLTypeF16:
			var bits uint16
			err = binary.Read(r, binary.LittleEndian, &bits)
			x = float64(fromHalf(bits))
		default:
			t.Fatalf("a tensor of %v", v.kind)
		}
		if err == io.EOF {
			return out
		}
		out = append(out, x)
	}
}
