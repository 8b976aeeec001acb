package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

const maxConfig = 1 << 20 // bytes; PEFT writes about one thousand

// config is what adapter_config.json says.
type config struct {
	rank       float64
	alpha      float64
	rankStable bool // the scale is alpha/sqrt(rank), not alpha/rank
	ranks      []pattern
	alphas     []pattern
	choice     choice
}

// scale returns a module's rank, and the alpha with which alpha/rank is the scale
// that PEFT applies.
func (c *config) scale(module string) (rank, alpha float64) {
	rank, alpha = pick(c.ranks, module, c.rank), pick(c.alphas, module, c.alpha)
	if c.rankStable {
		alpha *= math.Sqrt(rank)
	}
	return rank, alpha
}

func readConfig(path string) (*config, error) {
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, malformed("%s is missing: it says what the weights mean; copy it from where the training left them",
			configFile)
	case err != nil:
		return nil, err
	case !stat.Mode().IsRegular():
		return nil, malformed("%s is not a regular file", configFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, malformed("%s is larger than %d bytes", configFile, maxConfig)
	}
	return parseConfig(text)
}

func parseConfig(text []byte) (*config, error) {
	keys, err := readObject(text)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		return nil, malformed("%s: null, wanted an object", configFile)
	}
	if err := checkKind(keys); err != nil {
		return nil, err
	}
	if err := checkFeatures(keys); err != nil {
		return nil, err
	}
	c := &config{rank: 8, alpha: 8} // PEFT's defaults
	read := func(key string, value any) {
		if text, found := keys[key]; found && err == nil &&
			(!isSet(text) && key != "use_rslora" || json.Unmarshal(text, value) != nil) {
			err = malformed("%s: %s is %s", configFile, key, shorten(text))
		}
	}
	read("r", &c.rank)
	read("lora_alpha", &c.alpha)
	read("use_rslora", &c.rankStable)
	if err != nil {
		return nil, err
	}
	if !isRank(c.rank) {
		return nil, malformed("%s: r is %v, wanted a positive whole number", configFile, c.rank)
	}
	if c.ranks, err = readPatterns(keys, "rank_pattern"); err != nil {
		return nil, err
	}
	for _, p := range c.ranks {
		if !isRank(p.value) {
			return nil, malformed("%s: rank_pattern gives %q the rank %v, wanted a positive whole number", configFile, p.key,
				p.value)
		}
	}
	if c.alphas, err = readPatterns(keys, "alpha_pattern"); err != nil {
		return nil, err
	}
	c.choice, err = readChoice(keys)
	return c, err
}

func isRank(x float64) bool { return x >= 1 && x <= maxRank && x == math.Trunc(x) }

// checkKind refuses what is not LoRA.
func checkKind(keys map[string]json.RawMessage) error {
	var kind string
	text, found := keys["peft_type"]
	switch {
	case !found && (isSet(keys["lora_parameters"]) || isSet(keys["fine_tune_type"])):
		return unsupported("mlx", "%s: it is of MLX, whose adapters are not PEFT's: merge it into the base with "+
			"mlx_lm.fuse and serve that, or convert it to PEFT's form", configFile)
	case !found:
		return malformed("%s: peft_type is missing", configFile)
	case json.Unmarshal(text, &kind) != nil || kind == "":
		return malformed("%s: peft_type is %s", configFile, shorten(text))
	case !strings.EqualFold(kind, "LORA"):
		return unsupported("peft_type", "%s: peft_type is %q, only LORA is supported", configFile, clip(kind))
	}
	return nil
}

// refusals are keys that change what the weights mean once they are set.
var refusals = []struct{ key, feature, why string }{
	{"use_dora", "dora", "DoRA is not supported by llama.cpp"},
	{"modules_to_save", "modules_to_save", "modules that were trained as a whole are no LoRA: merge them into the base, " +
		"or train without them"},
	{"lora_bias", "bias", "a bias in lora_B is not supported by llama.cpp"},
	{"layer_replication", "layer_replication", "replicated layers are not in the base"},
	{"alora_invocation_tokens", "alora", "an activated LoRA depends on the prompt, which scales cannot express"},
	{"invocation_string", "alora", "an activated LoRA depends on the prompt, which scales cannot express"},
	{"trainable_token_indices", "trainable_tokens", "trained tokens are not supported by llama.cpp"},
	{"target_parameters", "target_parameters", "LoRA on parameters that are no linear layer is not supported"},
	{"use_qalora", "qalora", "QA-LoRA is not supported by llama.cpp"},
	{"use_bdlora", "bdlora", "block-diagonal LoRA is not supported by llama.cpp"},
	{"arrow_config", "arrow", "Arrow routes between adapters, which llama.cpp cannot"},
	{"kasa_config", "kasa", "KaSA is not supported by llama.cpp"},
	{"monteclora_config", "monteclora", "MonteCLoRA is not supported by llama.cpp"},
	{"megatron_config", "megatron", "Megatron's layers are not supported"},
}

// harmless are keys of objects and switches that steer only the training.
var harmless = []string{"use_rslora", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
	"velora_config", "runtime_config"}

// checkFeatures refuses what the file to write cannot say. fan_in_fan_out is not
// looked at: it turns the base's matrix, lora_A and lora_B are the same either way.
func checkFeatures(keys map[string]json.RawMessage) error {
	for _, r := range refusals {
		if isSet(keys[r.key]) {
			return unsupported(r.feature, "%s: %s is %s: %s", configFile, r.key, shorten(keys[r.key]), r.why)
		}
	}
	if text := keys["bias"]; isSet(text) && string(text) != `"none"` {
		return unsupported("bias", `%s: bias is %s, only "none" is supported by llama.cpp`, configFile, shorten(text))
	}
	if err := checkInit(keys["init_lora_weights"]); err != nil {
		return err
	}
	// Variants of LoRA that PEFT may learn come under such names.
	var unknown []string
	for key, text := range keys {
		if (strings.HasPrefix(key, "use_") || strings.HasSuffix(key, "_config")) && isSet(text) &&
			!slices.Contains(harmless, key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		key := slices.Min(unknown)
		return unsupported("unknown_key", "%s: %s is %s: it is not known and may change what the weights mean", configFile,
			clip(key), shorten(keys[key]))
	}
	return nil
}

// checkInit refuses initialisations that take something away from the base's
// weights: PEFT does so again when it loads the adapter, llama.cpp cannot.
func checkInit(text json.RawMessage) error {
	var name string
	if json.Unmarshal(text, &name) != nil { // true, false, null or absent
		return nil
	}
	switch strings.ToLower(name) {
	case "", "gaussian", "eva", "orthogonal":
		return nil
	}
	return unsupported("init_lora_weights", "%s: init_lora_weights is %q, which changes the base's weights: convert the "+
		"adapter to plain LoRA when saving it (path_initial_model_for_weight_conversion)",
		configFile, clip(name))
}

// isSet reports whether a value is more than null, false, "", [] or {}.
func isSet(text json.RawMessage) bool {
	switch compact := strings.Join(strings.Fields(string(text)), ""); compact {
	case "", "null", "false", `""`, "[]", "{}":
		return false
	}
	return true
}

func shorten(text []byte) string {
	var compact bytes.Buffer
	if json.Compact(&compact, text) == nil {
		text = compact.Bytes()
	}
	const longest = 60
	if len(text) > longest {
		return strings.ToValidUTF8(string(text[:longest]), "") + "..."
	}
	return string(text)
}
