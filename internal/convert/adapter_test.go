package convert

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// object is a JSON object.
type object = map[string]any

// part is one tensor of a safetensors file.
type part struct {
	Kind    string    `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// f32Parts gives tensors of the given shapes their places, in the order of their
// names.
func f32Parts(shapes map[string][]int) map[string]part {
	parts := map[string]part{}
	var at uint64
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		size := uint64(4)
		for _, n := range shapes[name] {
			size *= uint64(n)
		}
		parts[name] = part{"F32", shapes[name], [2]uint64{at, at + size}}
		at += size
	}
	return parts
}

// dataOf returns random weights to fill the parts.
func dataOf(parts map[string]part, spread float64) []byte {
	var end uint64
	for _, p := range parts {
		end = max(end, p.Offsets[1])
	}
	r := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for range end / 4 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r.NormFloat64()*spread)))
	}
	return append(data, make([]byte, end%4)...)
}

// safetensors puts a file together. The header is any JSON.
func safetensors(t *testing.T, header any, data []byte) []byte {
	t.Helper()
	text, ok := header.(string)
	if !ok {
		encoded, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), []byte(text), data)
}

// folder returns a PEFT adapter's folder. What is nil is left out.
func folder(t *testing.T, config any, weights []byte) string {
	t.Helper()
	dir := t.TempDir()
	text, ok := config.(string)
	if !ok {
		encoded, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	files := map[string][]byte{configFile: []byte(text), weightsFile: weights}
	for name, content := range files {
		if name == weightsFile && content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// plain is the configuration of a sound adapter, with changes.
func plain(changes object) object {
	c := object{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": []string{"q_proj"}}
	maps.Copy(c, changes)
	return c
}

const qProj = "base_model.model.model.layers.0.self_attn.q_proj"

// sound are the shapes of a sound adapter for baseOf's models, with changes; a
// nil shape takes a tensor away.
func sound(changes map[string][]int) map[string][]int {
	s := map[string][]int{qProj + loraA: {2, hidden}, qProj + loraB: {hidden, 2}}
	maps.Copy(s, changes)
	maps.DeleteFunc(s, func(_ string, shape []int) bool { return shape == nil })
	return s
}

// soundFile is the file of sound's tensors.
func soundFile(t *testing.T, changes map[string][]int) []byte {
	t.Helper()
	parts := f32Parts(sound(changes))
	return safetensors(t, parts, dataOf(parts, 1))
}
