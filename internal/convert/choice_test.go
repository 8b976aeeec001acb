package convert

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gguf"
)

// TestChoiceIsPEFTs has what PEFT's check_target_module_exists says of modules.
func TestChoiceIsPEFTs(t *testing.T) {
	const q0, q1, up1, head = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
		"model.layers.1.mlp.up_proj", "lm_head"
	for _, c := range []struct {
		keys object
		want []string
	}{
		{object{"target_modules": []string{"q_proj"}}, []string{q0, q1}},
		{object{"target_modules": []string{"self_attn.q_proj", "lm_head"}}, []string{q0, q1, head}},
		{object{"target_modules": []string{"proj"}}, nil},
		{object{"target_modules": []string{q1}}, []string{q1}},
		{object{"target_modules": `.*\.q_proj`}, []string{q0, q1}},
		{object{"target_modules": "q_proj"}, nil}, // a pattern of the whole name
		{object{"target_modules": `model\.layers\.\d{1,}\.(?:mlp|self_attn)\.(?:up_proj)`}, []string{up1}},
		{object{"target_modules": "all-linear"}, []string{q0, q1, up1}},
		{object{"target_modules": []string{"q_proj", "up_proj"}, "exclude_modules": []string{q0}}, []string{q1, up1}},
		{object{"target_modules": []string{"q_proj"}, "exclude_modules": `.*\.1\..*`}, []string{q0}},
		{object{"target_modules": []string{"q_proj", "up_proj"}, "layers_to_transform": 1}, []string{q1, up1}},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0, 7}}, []string{q0}},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{}}, []string{q0, q1}},
		{object{"target_modules": []string{"q_proj", q1}, "layers_to_transform": []int{0}}, []string{q0, q1}},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0}, "layers_pattern": "layers"},
			[]string{q0}},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0},
			"layers_pattern": []string{"h", "block"}}, nil},
		{object{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0}, "layers_pattern": []string{}},
			[]string{q0}},
	} {
		dir := folder(t, plain(c.keys), nil)
		config, err := readConfig(filepath.Join(dir, configFile))
		if err != nil {
			t.Errorf("%v: %v", c.keys, err)
			continue
		}
		var got []string
		for _, module := range []string{q0, q1, up1, head} {
			if config.choice.names(module) {
				got = append(got, module)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v names %q, want %q", c.keys, got, c.want)
		}
	}
}

// TestWhatTheFileLacksIsSaid in the file that is made, where the check finds it.
func TestWhatTheFileLacksIsSaid(t *testing.T) {
	path := baseOf(t, "llama")
	base, err := gguf.ReadBase(path)
	if err != nil {
		t.Fatal(err)
	}
	both := map[string][]int{"base_model.model.model.layers.1.self_attn.q_proj" + loraA: {2, hidden},
		"base_model.model.model.layers.1.self_attn.q_proj" + loraB: {hidden, 2}}
	const lacks = "adapter_config.json names modules of which adapter_model.safetensors has no weights, "
	for name, c := range map[string]struct {
		keys    object
		tensors map[string][]int
		want    []string
	}{
		"whole":               {nil, both, nil},
		"of layer 0 alone":    {object{"layers_to_transform": []int{0}}, nil, nil},
		"not said":            {object{"target_modules": nil}, nil, nil},
		"a pattern of Python": {object{"target_modules": "(?!x).*"}, nil, nil},
		"a layer is missing": {nil, nil,
			[]string{lacks + "1 in all: model.layers.1.self_attn.q_proj; was it saved whole?"}},
		"modules are missing": {object{"target_modules": []string{"q_proj", "k_proj", "down_proj", "lm_head"}}, both,
			[]string{lacks + "5 in all: model.layers.0.mlp.down_proj, model.layers.0.self_attn.k_proj, " +
				"model.layers.1.mlp.down_proj and 2 more; was it saved whole?"}},
		"more than was named": {object{"layers_to_transform": []int{0}}, both,
			[]string{"adapter_model.safetensors has weights of modules that adapter_config.json does not name, 1 in all: " +
				"model.layers.1.self_attn.q_proj; PEFT would leave them out, here they are applied"}},
		"what nobody has": {
			object{"target_modules": []string{"q_proj", "c_attn"}, "layers_to_transform": []int{0, 1, 2}}, both,
			[]string{"adapter_config.json names what neither the base nor adapter_model.safetensors has: c_attn, layer 2"}},
	} {
		info, err := base.Check(t.Context(), converted(t, folder(t, plain(c.keys), soundFile(t, c.tensors)), path))
		if err != nil || !slices.Equal(info.Warnings, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, info.Warnings, err, c.want)
		}
	}
}

// TestScaleOfNothingIsSaid where some modules have an alpha of 0: their weights are zeros.
func TestScaleOfNothingIsSaid(t *testing.T) {
	path := baseOf(t, "llama")
	base, err := gguf.ReadBase(path)
	if err != nil {
		t.Fatal(err)
	}
	up := "base_model.model.model.layers.0.mlp.up_proj"
	dir := folder(t, plain(object{"target_modules": []string{"layers.0.self_attn.q_proj", "layers.0.mlp.up_proj"},
		"alpha_pattern": object{"up_proj": 0}}),
		soundFile(t, map[string][]int{up + loraA: {2, hidden}, up + loraB: {feedForward, 2}}))
	info, err := base.Check(t.Context(), converted(t, dir, path))
	if err != nil || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], "1 of its 2 pairs change nothing") {
		t.Errorf("%q, %v", info.Warnings, err)
	}
}
