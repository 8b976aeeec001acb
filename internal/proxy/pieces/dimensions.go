package pieces

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Dimensions is how many numbers of each embedding a client wants; 0 is all.
type Dimensions int

// dimensionsKey is the field that says so.
const dimensionsKey = "dimensions"

// DimensionsOf reads it. llama-server's own form, with content, has no such field.
func DimensionsOf(body rawjson.Object) (Dimensions, error) {
	n := 0.0
	given, err := body.Decode(dimensionsKey, &n)
	if err != nil || given && (n < 1 || n != math.Trunc(n) || n > math.MaxInt32) {
		return 0, httpkit.Invalid(dimensionsKey, "The field %q must be a whole number of at least 1.", dimensionsKey)
	}
	if given && body.Given("content") && !body.Given("input") {
		return 0, httpkit.Invalid(dimensionsKey, "The field %q needs input: it is OpenAI's, and content is not.",
			dimensionsKey)
	}
	return Dimensions(n), nil
}

// Cut leaves of each embedding in an answer in OpenAI's form its first numbers, made as long as one
// again, as OpenAI does: models that are trained for that say the most in these. An answer that is
// none is left alone.
func (d Dimensions) Cut(answer []byte) ([]byte, error) {
	object, ok := rawjson.Scan(answer)
	raw, has := object.Raw("data")
	if d == 0 || !ok || !has {
		return answer, nil
	}
	all := rawjson.Elements(raw)
	for i, element := range all {
		one, ok := rawjson.Scan(element)
		if !ok {
			continue
		}
		embedding, _ := one.Raw("embedding")
		cut, err := d.cut(embedding)
		if err != nil {
			return nil, err
		}
		all[i] = one.Apply(rawjson.Edit{Key: "embedding", Value: cut})
	}
	return object.Apply(rawjson.Edit{Key: "data", Value: rawjson.List(all)}), nil
}

// cut is Cut for one embedding, which is a list of numbers or, in base64, of what they are in
// memory.
func (d Dimensions) cut(raw []byte) ([]byte, error) {
	var numbers []float64
	packed := len(raw) > 0 && raw[0] == '"'
	if packed {
		memory, err := base64.StdEncoding.DecodeString(rawjson.Text(raw))
		if err != nil {
			return nil, fmt.Errorf("an embedding is no base64: %w", err)
		}
		for ; len(memory) >= 4; memory = memory[4:] {
			numbers = append(numbers, float64(math.Float32frombits(binary.LittleEndian.Uint32(memory))))
		}
	} else if err := json.Unmarshal(raw, &numbers); err != nil {
		return nil, fmt.Errorf("an embedding is no list of numbers: %w", err)
	}
	if int(d) > len(numbers) {
		return nil, httpkit.Invalid(dimensionsKey, "The field %q must be from 1 to %d, which this model's embeddings have.",
			dimensionsKey, len(numbers))
	}
	numbers = normalize(numbers[:d])
	if !packed {
		return json.Marshal(numbers)
	}
	var memory []byte
	for _, n := range numbers {
		memory = binary.LittleEndian.AppendUint32(memory, math.Float32bits(float32(n)))
	}
	return rawjson.String(base64.StdEncoding.EncodeToString(memory)), nil
}

// normalize makes a vector as long as one, if it has a direction.
func normalize(v []float64) []float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	if length := math.Sqrt(sum); length > 0 {
		for i := range v {
			v[i] /= length
		}
	}
	return v
}
