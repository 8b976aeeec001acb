package convert

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxRank is above the size of any layer.
const maxRank = 1 << 16

// The last parts of PEFT's tensor names.
const (
	loraA, loraB   = ".lora_A.weight", ".lora_B.weight"
	embedA, embedB = ".lora_embedding_A", ".lora_embedding_B"
)

// lora is what the adapter adds to one matrix of the base: a times b.
type lora struct {
	module    string // as PEFT names it, without base_model.model.
	a, b      *stored
	embedding bool // of lora_embedding_A and _B

	// Set by place.
	layer  int    // -1 outside of the layers
	target string // the base's tensor
	rank   uint64
	rows   uint64 // that a embedding has in the base; a may have more
	heads  uint64 // within which the rows of b change their order; 0 for none
	alpha  float64
	factor float64 // that b is multiplied by; set by foldScales
}

// pair finds the halves that belong together, ordered by module.
func pair(tensors []stored) ([]*lora, error) {
	byModule := map[string]*lora{}
	for i := range tensors {
		t := &tensors[i]
		module, half, embedding, err := split(t.name)
		if err != nil {
			return nil, err
		}
		if half == 0 {
			continue
		}
		l := byModule[module]
		if l == nil {
			l = &lora{module: module, embedding: embedding}
			byModule[module] = l
		}
		place := &l.a
		if half == 'B' {
			place = &l.b
		}
		if *place != nil || l.embedding != embedding {
			return nil, malformed("%s: tensor %q and another one are of the same module", weightsFile, t.name)
		}
		*place = t
	}
	if len(byModule) == 0 {
		return nil, malformed("%s: no LoRA tensors", weightsFile)
	}
	var pairs []*lora
	for _, l := range byModule {
		pairs = append(pairs, l)
	}
	slices.SortFunc(pairs, func(x, y *lora) int { return cmp.Compare(x.module, y.module) })
	for _, l := range pairs {
		switch {
		case l.a == nil:
			return nil, malformed("%s: tensor %q has no lora_A beside it", weightsFile, l.b.name)
		case l.b == nil:
			return nil, malformed("%s: tensor %q has no lora_B beside it", weightsFile, l.a.name)
		}
	}
	return pairs, nil
}

// split returns the module and the half, 'A' or 'B', of a tensor; 0 for one that
// does not count.
func split(name string) (module string, half byte, embedding bool, err error) {
	module = strings.TrimPrefix(name, "base_model.model.")
	for _, s := range []struct {
		suffix    string
		half      byte
		embedding bool
	}{{loraA, 'A', false}, {loraB, 'B', false}, {embedA, 'A', true}, {embedB, 'B', true}} {
		if m, found := strings.CutSuffix(module, s.suffix); found {
			return m, s.half, s.embedding, nil
		}
	}
	refuse := func(feature, why string) error {
		return unsupported(feature, "%s: tensor %q: %s", weightsFile, name, why)
	}
	switch {
	case strings.HasSuffix(name, ".base_layer.weight"):
		// PEFT stores the base's own embedding beside a LoRA on it.
		return "", 0, false, nil
	case strings.Contains(name, "lora_magnitude_vector"):
		err = refuse("dora", "DoRA is not supported by llama.cpp")
	case strings.Contains(name, ".modules_to_save."):
		err = refuse("modules_to_save", "modules that were trained as a whole are no LoRA")
	case strings.Contains(name, "trainable_tokens") || strings.Contains(name, "token_adapter"):
		err = refuse("trainable_tokens", "trained tokens are not supported by llama.cpp")
	case strings.HasSuffix(name, ".bias"):
		err = refuse("bias", "biases are not supported by llama.cpp")
	case strings.HasSuffix(name, "embed_tokens.weight") || strings.HasSuffix(name, "lm_head.weight"):
		err = refuse("modules_to_save", "an embedding as a whole: tokens were added, or it was trained or saved with the "+
			"adapter (save_embedding_layers)")
	case strings.HasSuffix(name, "norm.weight"):
		err = refuse("modules_to_save", "a norm as a whole is not supported by llama.cpp")
	default:
		err = refuse("tensor", "neither lora_A nor lora_B")
	}
	return "", 0, false, err
}

// place finds what each pair changes in the base and checks that it fits. It
// orders the pairs as the file will have them.
func place(ctx context.Context, pairs []*lora, c *config, b *base) error {
	var unknown []string
	targets := map[string]string{}
	for _, l := range pairs {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, layer, known := locate(l.module)
		if !known {
			unknown = append(unknown, strconv.Quote(clip(l.module)))
			continue
		}
		if other, taken := targets[name]; taken {
			return malformed("%s: modules %s and %s are the same", weightsFile, other, l.module)
		}
		targets[name] = l.module
		l.layer, l.target = layer, name+".weight"
		if err := l.fit(c, b, name[strings.LastIndexByte(name, '.')+1:]); err != nil {
			return err
		}
	}
	if len(unknown) > 0 {
		rest := ""
		if n := len(unknown) - 3; n > 0 {
			unknown, rest = unknown[:3], fmt.Sprintf(" and %d more", n)
		}
		return unsupported("module", "%s: LoRA on modules that have no counterpart in llama.cpp's %s models: %s%s",
			weightsFile, b.Architecture(), strings.Join(unknown, ", "), rest)
	}
	slices.SortFunc(pairs, func(x, y *lora) int {
		return cmp.Or(cmp.Compare(x.layer, y.layer), cmp.Compare(x.target, y.target))
	})
	return nil
}

// kinds are the tensors of PEFT's modules of a layer.
var kinds = map[string]string{
	"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
	"self_attn.o_proj": "attn_output",
	"mlp.gate_proj":    "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}

// locate returns the name of the base's tensor without .weight, and its layer.
func locate(module string) (name string, layer int, known bool) {
	// Multimodal models have the language model as a part.
	for _, prefix := range []string{"model.language_model.", "language_model.model."} {
		if rest, found := strings.CutPrefix(module, prefix); found {
			module = "model." + rest
			break
		}
	}
	switch module {
	case "model.embed_tokens":
		return "token_embd", -1, true
	case "lm_head", "language_model.lm_head":
		return "output", -1, true
	}
	rest, found := strings.CutPrefix(module, "model.layers.")
	number, rest, cut := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	kind := kinds[rest]
	if !found || !cut || err != nil || kind == "" || layer < 0 || strconv.Itoa(layer) != number {
		return "", 0, false
	}
	return fmt.Sprintf("blk.%d.%s", layer, kind), layer, true
}

// fit checks the pair against the base and the configuration.
func (l *lora) fit(c *config, b *base, kind string) error {
	if err := l.checkHalves(kind == "token_embd"); err != nil {
		return err
	}
	rank, alpha := c.scale(l.module)
	if rank != float64(l.rank) {
		return malformed("%s: tensor %q has rank %d, %s says %v", weightsFile, l.a.name, l.rank, configFile, rank)
	}
	l.alpha = alpha
	if err := l.checkTied(b, kind); err != nil {
		return err
	}
	baseIn, baseOut, found := b.Matrix(l.target)
	if !found {
		return malformed("%s: module %s: the base has no %s: was the adapter trained on another model?", weightsFile,
			l.module, l.target)
	}
	in, out := l.a.shape[1], l.b.shape[0]
	if l.embedding {
		in, out = out, in
		l.rows = baseOut
		// llama.cpp's converter drops rows of gemma3's embedding that no token has.
		if b.Architecture() == "gemma3" {
			out = min(out, baseOut)
		}
	}
	if in != baseIn || out != baseOut {
		return malformed("%s: module %s takes %d inputs to %d outputs, the base's %s takes %d to %d: was the adapter "+
			"trained on another model?",
			weightsFile, l.module, in, out, l.target, baseIn, baseOut)
	}
	switch kind {
	case "attn_q":
		l.heads = b.heads
	case "attn_k":
		l.heads = b.headsKV
	}
	if l.heads > 0 && baseOut%(2*l.heads) != 0 {
		return malformed("%s: module %s: %d rows are not %d heads of an even size", weightsFile, l.module, baseOut, l.heads)
	}
	return nil
}

// checkHalves checks the pair by itself and sets its rank.
func (l *lora) checkHalves(embedding bool) error {
	if l.embedding != embedding {
		return malformed("%s: tensor %q: an embedding has lora_embedding_A and _B, and nothing else has", weightsFile,
			l.a.name)
	}
	for _, t := range []*stored{l.a, l.b} {
		switch {
		case t.kind != f32 && t.kind != f16 && t.kind != bf16:
			return unsupported("dtype", "%s: tensor %q has the type %s, supported are F32, F16 and BF16", weightsFile, t.name,
				t.kind)
		case len(t.shape) != 2:
			return malformed("%s: tensor %q has the shape %v, wanted two dimensions", weightsFile, t.name, t.shape)
		case t.shape[0] == 0 || t.shape[1] == 0:
			return malformed("%s: tensor %q has the shape %v: it is empty", weightsFile, t.name, t.shape)
		}
	}
	l.rank = l.a.shape[0]
	if l.rank != l.b.shape[1] {
		return malformed("%s: tensor %q has shape %v and %q has %v: the ranks differ", weightsFile, l.a.name, l.a.shape,
			l.b.name, l.b.shape)
	}
	return nil
}

// checkTied refuses LoRA on an embedding that is the output's, too: PEFT changes
// one use of it, llama.cpp has no name for the one alone and aborts on the other.
func (l *lora) checkTied(b *base, kind string) error {
	if _, _, separate := b.Matrix("output.weight"); separate || kind != "output" && kind != "token_embd" {
		return nil
	}
	return unsupported("tied_embeddings", "%s: module %s: the base uses one matrix as embedding and as output, and "+
		"llama.cpp cannot change one of them",
		weightsFile, l.module)
}

// foldScales chooses the file's one alpha, the one that most pairs need, and
// the factors that give the others their scale.
func foldScales(pairs []*lora) (alpha float32, err error) {
	votes := map[float32]int{}
	for _, l := range pairs {
		a := float32(l.alpha)
		if math.IsInf(float64(a), 0) || math.IsNaN(float64(a)) {
			return 0, malformed("%s: alpha of %s is %v", configFile, l.module, l.alpha)
		}
		if votes[a]++; a != 0 && votes[a] > votes[alpha] {
			alpha = a
		}
	}
	if alpha == 0 { // which llama.cpp reads as a scale of 1
		return 0, malformed("%s: lora_alpha is 0: the adapter does nothing", configFile)
	}
	for _, l := range pairs {
		l.factor = 1
		if float32(l.alpha) != alpha {
			l.factor = l.alpha / float64(alpha)
		}
	}
	return alpha, nil
}
