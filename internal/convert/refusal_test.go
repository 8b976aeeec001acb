package convert

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// attempt converts and returns the error. Nothing must be left after one.
func attempt(t *testing.T, dir, base string) error {
	t.Helper()
	out := t.TempDir()
	err := Convert(t.Context(), Options{Dir: dir, Base: base, Out: filepath.Join(out, "x.gguf")})
	left, readErr := os.ReadDir(out)
	if readErr != nil || (err != nil) != (len(left) == 0) || len(left) > 1 {
		t.Errorf("error %v leaves %v", err, left)
	}
	return err
}

// expect checks the class of an error, and its feature; "" is for Malformed.
func expect(t *testing.T, err error, feature, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
		return
	}
	if u, ok := errors.AsType[*Unsupported](err); ok {
		if u.Feature != feature {
			t.Errorf("%v: feature %q, want %q", err, u.Feature, feature)
		}
		return
	}
	if _, ok := errors.AsType[*Malformed](err); !ok || feature != "" {
		t.Errorf("%v is a %T, want feature %q", err, err, feature)
	}
}

func TestSoundAdapterPasses(t *testing.T) {
	for _, changes := range []object{
		nil, {"init_lora_weights": "gaussian"}, {"init_lora_weights": false}, {"modules_to_save": []string{}},
		{"eva_config": object{"rho": 2}},
		{"fan_in_fan_out": true}, {"use_qalora": false, "qalora_group_size": 16}, {"r": 2.0}, {"peft_type": "lora"},
		{"lora_alpha": -0.5},
		{"bias": nil}, {"alora_invocation_tokens": nil}, {"r": 64, "rank_pattern": object{"q_proj": 2}},
	} {
		if err := attempt(t, folder(t, plain(changes), soundFile(t, nil)), baseOf(t, "llama")); err != nil {
			t.Errorf("%v: %v", changes, err)
		}
	}
}

func TestConfigurationIsRefused(t *testing.T) {
	for _, c := range []struct {
		changes object
		feature string
		want    string
	}{
		{object{"use_dora": true}, "dora", "adapter_config.json: use_dora is true: DoRA"},
		{object{"modules_to_save": []string{"lm_head"}}, "modules_to_save", `modules_to_save is ["lm_head"]`},
		{object{"bias": "lora_only"}, "bias", `bias is "lora_only"`},
		{object{"lora_bias": true}, "bias", "lora_bias is true"},
		{object{"layer_replication": [][]int{{0, 1}}}, "layer_replication", "layer_replication is [[0,1]]"},
		{object{"alora_invocation_tokens": []int{1, 2}}, "alora", "alora_invocation_tokens is [1,2]"},
		{object{"trainable_token_indices": []int{7}}, "trainable_tokens", "trainable_token_indices is [7]"},
		{object{"target_parameters": []string{"experts.w"}}, "target_parameters", `target_parameters is ["experts.w"]`},
		{object{"use_bdlora": object{"nblocks": 2}}, "bdlora", "use_bdlora is"},
		{object{"use_qalora": true}, "qalora", "use_qalora is true"},
		{object{"use_magic": true}, "unknown_key", "use_magic is true: it is not known"},
		{object{"magic_config": object{"a": 1}}, "unknown_key", `magic_config is {"a":1}: it is not known`},
		{object{"init_lora_weights": "pissa_niter_16"}, "init_lora_weights",
			`"pissa_niter_16", which changes the base's weights`},
		{object{"init_lora_weights": "olora"}, "init_lora_weights", "olora"},
		{object{"peft_type": "LOHA"}, "peft_type", `peft_type is "LOHA"`},
		{object{"rank_pattern": object{"(?=q)q_proj": 2}}, "pattern", `rank_pattern: "(?=q)q_proj" is not a pattern`},
		{object{"alpha_pattern": object{"(q_proj){1000}": 2}}, "pattern",
			"with {1000} it repeats a part of it more than 100 times"},
		{object{"layers_to_transform": "all"}, "", `layers_to_transform is "all", wanted a list of whole numbers`},
		{object{"target_modules": 1}, "", "target_modules is 1, wanted a list of names"},
		{object{"exclude_modules": object{"a": 1}}, "", `exclude_modules is {"a":1}, wanted a list of names`},
		{object{"layers_pattern": []string{"(?=h)"}}, "pattern", `layers_pattern: "(?=h)" is not a pattern`},
		{object{"alpha_pattern": object{strings.Repeat("q", 257): 2}}, "pattern", "it has 257 bytes, more than 256"},
		{object{"peft_type": nil}, "", "peft_type is null"},
		{object{"r": "8"}, "", `r is "8"`},
		{object{"r": 0}, "", "r is 0, wanted a positive whole number"},
		{object{"r": 1.5}, "", "r is 1.5, wanted a positive whole number"},
		{object{"r": 4}, "", `lora_A.weight" has rank 2, adapter_config.json says 4`},
		{object{"rank_pattern": object{"q_proj": -1}}, "", `rank_pattern gives "q_proj" the rank -1`},
		{object{"rank_pattern": []int{1}}, "", "rank_pattern is [1], wanted an object"},
		{object{"alpha_pattern": object{"q_proj": "x"}}, "", `alpha_pattern: "q_proj": json:`},
		{object{"lora_alpha": 0}, "", "lora_alpha is 0: the adapter does nothing"},
		{object{"lora_alpha": 1e300}, "", "alpha of model.layers.0.self_attn.q_proj is 1e+300"},
	} {
		err := attempt(t, folder(t, plain(c.changes), soundFile(t, nil)), baseOf(t, "llama"))
		expect(t, err, c.feature, c.want)
	}
	for text, want := range map[string]string{
		`{"peft_type":"LORA","lora_alpha":NaN}`:                   "adapter_config.json: invalid character 'N'",
		`{"peft_type":"LORA","r":2`:                               "adapter_config.json: unexpected end of JSON input",
		`{"peft_type":"LORA",` + "\n" + `"lora_alpha":-Infinity}`: "in line 2: JSON has no NaN and no infinity",
		`{"lora_alpha":NaN}`:                                      "in line 1: JSON has no NaN and no infinity; write a number, or null",
		"{\n// mine\n}":                                           "in line 2: JSON has no comments; take them out",
		`{"r":8,}`:                                                "there may be a comma too many before it",
		`{'r':8}`:                                                 `JSON has texts in ", not in '`,
		"\xff\xfe{\x00}\x00":                                      "it is not in UTF-8 but, by its first bytes, in UTF-16 or UTF-32: save it as UTF-8",
		"\x00{\x00}":                                              "save it as UTF-8",
		"{\"a\":\"\xe4\"}":                                        "it is not in UTF-8: save it as UTF-8",
		`{"fine_tune_type":"lora","num_layers":16,"lora_parameters":{"rank":8}}`: "it is of MLX",
		`[1]`:  "adapter_config.json: json: cannot unmarshal array",
		`null`: "null, wanted an object",
		`{}`:   "peft_type is missing",
		`{"x":"` + strings.Repeat("x", maxConfig) + `"}`: "larger than 1048576 bytes",
	} {
		feature := ""
		if strings.Contains(want, "MLX") {
			feature = "mlx"
		}
		expect(t, attempt(t, folder(t, text, soundFile(t, nil)), baseOf(t, "llama")), feature, want)
	}
}

// TestByteOrderMarkIsNoMatter which Windows' editors write.
func TestByteOrderMarkIsNoMatter(t *testing.T) {
	dir := folder(t, "\xef\xbb\xbf"+`{"peft_type":"LORA","r":2}`, soundFile(t, nil))
	if err := attempt(t, dir, baseOf(t, "llama")); err != nil {
		t.Error(err)
	}
}

func TestTensorsAreRefused(t *testing.T) {
	const layer = "base_model.model.model.layers.0."
	for _, c := range []struct {
		changes map[string][]int
		feature string
		want    string
	}{
		{map[string][]int{qProj + ".lora_magnitude_vector": {16}}, "dora", `q_proj.lora_magnitude_vector": DoRA`},
		{map[string][]int{"base_model.model.lm_head.modules_to_save.weight": {40, 16}}, "modules_to_save",
			"lm_head.modules_to_save.weight"},
		{map[string][]int{"base_model.model.model.embed_tokens.weight": {41, 16}}, "modules_to_save", "tokens were added"},
		{map[string][]int{"base_model.model.model.embed_tokens.trainable_tokens_delta": {1, 16}}, "trainable_tokens",
			"trained tokens"},
		{map[string][]int{qProj + ".lora_B.bias": {16}}, "bias", `q_proj.lora_B.bias": biases`},
		{map[string][]int{layer + "input_layernorm.weight": {16}}, "modules_to_save", "input_layernorm.weight"},
		{map[string][]int{qProj + ".lora_diag": {2}}, "tensor", "neither lora_A nor lora_B"},
		{map[string][]int{layer + "mlp.router" + loraA: {2, 16}, layer + "mlp.router" + loraB: {4, 2}}, "module",
			`llama models: "model.layers.0.mlp.router"`},
		{map[string][]int{layer + "b" + loraA: {1}, layer + "b" + loraB: {1}, layer + "c" + loraA: {1},
			layer + "c" + loraB: {1},
			layer + "d" + loraA: {1}, layer + "d" + loraB: {1}, layer + "e" + loraA: {1}, layer + "e" + loraB: {1}}, "module",
			`"model.layers.0.d" and 1 more`},
		{map[string][]int{"base_model.model.model.layers.01.mlp.up_proj" + loraA: {2, 16},
			"base_model.model.model.layers.01.mlp.up_proj" + loraB: {24, 2}},
			"module", "model.layers.01.mlp.up_proj"},
		{map[string][]int{qProj + loraB: nil}, "", `q_proj.lora_A.weight" has no lora_B beside it`},
		{map[string][]int{qProj + loraA: nil}, "", `q_proj.lora_B.weight" has no lora_A beside it`},
		{map[string][]int{qProj + loraA: nil, qProj + loraB: nil}, "", "no LoRA tensors"},
		{map[string][]int{qProj + loraA: {2, 8}}, "",
			"takes 8 inputs to 16 outputs, the base's blk.0.attn_q.weight takes 16 to 16"},
		{map[string][]int{qProj + loraB: {8, 2}}, "", "takes 16 inputs to 8 outputs"},
		{map[string][]int{qProj + loraB: {16, 3}}, "", "the ranks differ"},
		{map[string][]int{qProj + loraB: {16, 2, 1}}, "", "has the shape [16 2 1], wanted two dimensions"},
		{map[string][]int{qProj + loraA: {0, 16}, qProj + loraB: {16, 0}}, "", "it is empty"},
		{map[string][]int{"base_model.model.model.layers.9.mlp.up_proj" + loraA: {2, 16},
			"base_model.model.model.layers.9.mlp.up_proj" + loraB: {24, 2}},
			"", "model.layers.9.mlp.up_proj: the base has no blk.9.ffn_up.weight"},
		{map[string][]int{"model.layers.0.self_attn.q_proj" + loraA: {2, 16}}, "", "and another one are of the same module"},
		{map[string][]int{"language_model.model.layers.0.self_attn.q_proj" + loraA: {2, 16},
			"language_model.model.layers.0.self_attn.q_proj" + loraB: {16, 2}},
			"", "are the same"},
		{map[string][]int{"base_model.model.model.embed_tokens" + loraA: {2, 40},
			"base_model.model.model.embed_tokens" + loraB: {16, 2}},
			"", "an embedding has lora_embedding_A and _B"},
		{map[string][]int{layer + "mlp.up_proj" + embedA: {2, 16}, layer + "mlp.up_proj" + embedB: {24, 2}}, "",
			"an embedding has lora_embedding_A and _B"},
		{map[string][]int{"base_model.model.model.embed_tokens" + embedA: {2, 41},
			"base_model.model.model.embed_tokens" + embedB: {16, 2}},
			"", "takes 16 inputs to 41 outputs, the base's token_embd.weight takes 16 to 40"},
	} {
		err := attempt(t, folder(t, plain(nil), soundFile(t, c.changes)), baseOf(t, "llama"))
		expect(t, err, c.feature, c.want)
	}
}

func TestFileIsRefused(t *testing.T) {
	parts := f32Parts(sound(nil))
	data := dataOf(parts, 1)
	whole := safetensors(t, parts, data)
	change := func(f func(*part)) []byte {
		changed := maps.Clone(parts)
		p := changed[qProj+loraB]
		f(&p)
		changed[qProj+loraB] = p
		return safetensors(t, changed, data)
	}
	for _, c := range []struct {
		file    []byte
		feature string
		want    string
	}{
		{[]byte{}, "", "truncated: 0 bytes"},
		{whole[:7], "", "truncated: 7 bytes"},
		{whole[:20], "", "truncated: a header of"},
		{whole[:len(whole)-1], "", `truncated: tensor "` + qProj + `.lora_B.weight" ends at byte 256 of the data, which has 255`},
		{append(slices.Clone(whole), 0), "", "1 bytes follow the last tensor"},
		{[]byte("version https://git-lfs.github.com/spec/v1"), "", "a Git LFS pointer"},
		{binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "", "a header of 18446744073709551615 bytes"},
		{safetensors(t, "{", nil), "", "header: "},
		{safetensors(t, "[]", nil), "", "header: [, wanted an object"},
		{safetensors(t, "{}{}", nil), "", "more than one value"},
		{safetensors(t, `{"x":1}`, nil), "", `tensor "x": json:`},
		{safetensors(t, `{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, nil), "", `tensor "x": json:`},
		{safetensors(t, `{"x":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, nil), "", "has 1 data_offsets, wanted 2"},
		{safetensors(t, `{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, nil), "", `tensor "x" is there twice`},
		{safetensors(t, `{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, nil), "",
			"has the shape [4294967296 4294967296]"},
		{safetensors(t, `{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, nil), "",
			"has 9 dimensions"},
		{change(func(p *part) { p.Kind = "F6" }), "dtype", `has the type "F6"`},
		{change(func(p *part) { p.Kind, p.Shape = "I8", []int{16, 8} }), "dtype", "has the type I8"},
		{change(func(p *part) { p.Kind = "F16" }), "", "F16 of shape [16 2] takes 64 bytes, its data_offsets are [128 256]"},
		{change(func(p *part) { p.Offsets = [2]uint64{256, 128} }), "", "its data_offsets are [256 128]"},
		{change(func(p *part) { p.Offsets = [2]uint64{0, 128} }), "", "the one before it ends at 128"},
	} {
		expect(t, attempt(t, folder(t, plain(nil), c.file), baseOf(t, "llama")), c.feature, c.want)
	}
}

func TestFilesAreMissing(t *testing.T) {
	base := baseOf(t, "llama")
	dir := folder(t, plain(nil), nil)
	expect(t, attempt(t, dir, base), "", "adapter_model.safetensors is missing")
	expect(t, attempt(t, t.TempDir(), base), "", "adapter_config.json is missing: it says what the weights mean")
	// Each is there with those before, and says more.
	for _, c := range [][3]string{
		{"adapter.safetensors", "",
			"adapter_model.safetensors is missing: if that is adapter.safetensors, give it this name"},
		{mlxFile, "mlx", "adapters.safetensors is of MLX"},
		{indexFile, "sharded", "the weights are in several files"},
		{pickleFile, "pickle", "adapter_model.bin is a pickle: save it as safetensors"},
	} {
		if err := os.WriteFile(filepath.Join(dir, c[0]), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, attempt(t, dir, base), c[1], c[2])
	}
}

func TestBaseIsRefused(t *testing.T) {
	dir := folder(t, plain(nil), soundFile(t, nil))
	expect(t, attempt(t, dir, baseOf(t, "phi3")), "architecture",
		`the architecture "phi3" cannot be converted, supported are llama, qwen2`)
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(broken, []byte("GGUF\x03\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{broken, filepath.Join(t.TempDir(), "absent.gguf")} {
		err := attempt(t, dir, path)
		if _, ok := errors.AsType[*Malformed](err); err == nil || ok ||
			!strings.Contains(err.Error(), "base model "+filepath.Base(path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := filepath.Join(t.TempDir(), "x.gguf")
	err := Convert(ctx, Options{Dir: folder(t, plain(nil), soundFile(t, nil)), Base: baseOf(t, "llama"), Out: out})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
