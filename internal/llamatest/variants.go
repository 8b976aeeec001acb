package llamatest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// variantAlpha is large enough for the variants' answers to differ: at 16, as the
// demo adapters have, half of them answer like one of those.
const variantAlpha = 64

// Variant writes a LoRA adapter for the demo base to name.gguf in a temporary
// directory and returns its path. The seed alone decides the bytes: each matrix
// comes from one of the demo adapters by chance, half of the Bs negated, and
// alpha differs. Its answers have no meaning, but hardly two seeds give the same.
func Variant(t testing.TB, name string, seed int) string {
	t.Helper()
	return writeFile(t, t.TempDir(), name+".gguf", VariantBytes(t, seed))
}

// Variants writes n variants, of seeds 0 to n-1, into one temporary directory
// and returns their paths.
func Variants(t testing.TB, n int) []string {
	t.Helper()
	dir := t.TempDir()
	files := make([]string, n)
	for seed := range files {
		files[seed] = writeFile(t, dir, fmt.Sprintf("v%03d.gguf", seed), VariantBytes(t, seed))
	}
	return files
}

// VariantBytes returns what Variant writes; the caller may change it.
func VariantBytes(t testing.TB, seed int) []byte {
	t.Helper()
	d := donors(t)
	out := slices.Clone(d[0].data)
	rng := rand.New(rand.NewPCG(uint64(seed), 17))
	putUint32(out[d[0].alpha:], math.Float32bits(float32(variantAlpha*(1+rng.Float64()/4))))
	for i, s := range d[0].tensors {
		part := out[s.begin:s.end]
		copy(part, d[rng.IntN(len(d))].weights(i))
		negate := i%2 == 1 && rng.IntN(2) == 0
		for at := 1; negate && at < len(part); at += 2 {
			part[at] ^= 0x80 // the sign of a 16-bit float
		}
	}
	return out
}

// Marked returns a variant that passes every check of a GGUF, with the marker
// among its weights, for a fake worker that refuses to load it. The marker is
// ASCII of an even length: any such weights are finite.
func Marked(t testing.TB, seed int, marker string) []byte {
	t.Helper()
	out := VariantBytes(t, seed)
	copy(out[len(out)-len(marker):], marker)
	return out
}

// Broken writes files that are no adapters for the demo base, each under the
// name of its fault, into one temporary directory and returns their paths by
// that name. llama-server ends if it is made to load any of them.
func Broken(t testing.TB) map[string]string {
	t.Helper()
	good, demo := VariantBytes(t, 1), donors(t)[0]
	base, err := os.ReadFile(Base())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 18))
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	contents := map[string][]byte{
		"truncated":        good[:len(good)*2/3],
		"truncated-header": good[:1000],
		"garbage":          garbage,
		"empty":            {},
		"base-model":       base,
		"other-type": replaced(t, good, stringValue("general.type", "adapter"),
			stringValue("general.type", "control")),
		"wrong-architecture": replaced(t, good, stringValue("general.architecture", "llama"),
			stringValue("general.architecture", "gemma")),
		"no-such-layer": replaced(t, good, "blk.5.attn_v.weight", "blk.9.attn_v.weight"),
		"wrong-width":   demo.narrower(),
		"nan-alpha":     slices.Clone(good),
	}
	putUint32(contents["nan-alpha"][demo.alpha:], math.Float32bits(float32(math.NaN())))
	dir := t.TempDir()
	files := map[string]string{}
	for name, content := range contents {
		files[name] = writeFile(t, dir, name+".gguf", content)
	}
	return files
}

// replaced returns data with every old as new, which is as long.
func replaced(t testing.TB, data []byte, old, with string) []byte {
	t.Helper()
	if len(old) != len(with) || !bytes.Contains(data, []byte(old)) {
		t.Fatalf("cannot put %q for %q", with, old)
	}
	return bytes.ReplaceAll(data, []byte(old), []byte(with))
}

// stringValue is how a GGUF stores a key whose value is a string.
func stringValue(key, value string) string {
	const typeString = 8
	out := key + "\x00\x00\x00\x00" + string(make([]byte, 8)) + value
	b := []byte(out)
	putUint32(b[len(key):], typeString)
	putUint32(b[len(key)+4:], uint32(len(value)))
	return string(b)
}

func writeFile(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
