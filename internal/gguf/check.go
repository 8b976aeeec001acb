package gguf

import (
	"context"
	"io"
	"math"
	"slices"
	"strings"

	parser "github.com/gpustack/gguf-parser-go"
)

// Metadata keys with a meaning for llama-server.
const (
	keyType         = "general.type"
	keyArchitecture = "general.architecture"
	keyAlignment    = "general.alignment"
	keyAdapterType  = "adapter.type"
	keyAlpha        = "adapter.lora.alpha"
	keyInvocation   = "adapter.alora.invocation_tokens"
	keySplits       = "split.count"
)

const (
	suffixA    = ".lora_a"
	suffixB    = ".lora_b"
	suffixNorm = "_norm.weight"
	embedding  = "token_embd.weight"
	outputHead = "output.weight"
)

// pair is the two halves of one change to a tensor of the base.
type pair struct {
	name string // the base's tensor
	a, b *tensor
}

// check is Check on an open file.
func (b *Base) check(ctx context.Context, file io.ReaderAt, size int64) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	h, err := readHeader(io.NewSectionReader(file, 0, size), size)
	if err != nil {
		return Info{}, err
	}
	alpha, err := b.checkMetadata(h)
	if err != nil {
		return Info{}, err
	}
	pairs, err := pairsOf(h.tensors)
	if err != nil {
		return Info{}, err
	}
	info := Info{Architecture: b.architecture, Alpha: alpha, Tensors: 2 * len(pairs), Bytes: size}
	for _, p := range pairs {
		rank, err := b.checkPair(p)
		if err != nil {
			return Info{}, err
		}
		info.Rank = max(info.Rank, rank)
		info.Modules = append(info.Modules, moduleOf(p.name))
	}
	slices.Sort(info.Modules)
	info.Modules = slices.Compact(info.Modules)
	extents, err := h.layout(size)
	if err != nil {
		return Info{}, err
	}
	for i := range h.tensors {
		if err := h.tensors[i].read(ctx, file, extents[i]); err != nil {
			return Info{}, err
		}
	}
	info.Warnings = h.warnings(alpha, pairs)
	return info, nil
}

// checkMetadata returns alpha if the file is an adapter for this base.
func (b *Base) checkMetadata(h *header) (alpha float64, err error) {
	if err := h.isLoRA(); err != nil {
		return 0, err
	}
	if architecture, _, err := h.string(keyArchitecture); err != nil {
		return 0, err
	} else if architecture != b.architecture {
		return 0, reject(WrongArchitecture, "%s is %q, the base's is %q", keyArchitecture, architecture, b.architecture)
	}
	if _, found := h.values[keyInvocation]; found {
		return 0, reject(ALoRA, "%s is set: an activated LoRA switches itself on inside a prompt, which is not supported",
			keyInvocation)
	}
	return h.alpha()
}

// isLoRA rejects all that is no LoRA adapter and says what it is.
func (h *header) isLoRA() error {
	if parts := h.values[keySplits].number; parts > 1 {
		return reject(NotLoRA, "one of the %d parts of a split GGUF; if that is an adapter, put them together with "+
			"llama-gguf-split --merge", parts)
	}
	kind, found, err := h.string(keyType)
	if err != nil {
		return err
	}
	if kind != "adapter" {
		architecture, _, _ := h.string(keyArchitecture)
		switch {
		case architecture == "controlvector":
			return reject(NotLoRA, "a control vector, not a LoRA adapter")
		case !found:
			return reject(NotLoRA, "no %s, wanted %q: a model of architecture %q, not a LoRA adapter; the base is named by "+
				"model.path", keyType, "adapter", architecture)
		case kind == "model":
			return reject(NotLoRA, "%s is %q, wanted %q: a whole model, not a LoRA adapter; the base is named by model.path",
				keyType, kind, "adapter")
		default:
			return reject(NotLoRA, "%s is %q, wanted %q", keyType, kind, "adapter")
		}
	}
	method, found, err := h.string(keyAdapterType)
	switch {
	case err != nil:
		return err
	case !found:
		return reject(NotLoRA, "no %s, wanted %q", keyAdapterType, "lora")
	case method != "lora":
		return reject(NotLoRA, "%s is %q, wanted %q", keyAdapterType, method, "lora")
	}
	return nil
}

// string returns a string value. llama.cpp aborts on a value of another type.
func (h *header) string(key string) (text string, found bool, err error) {
	v, found := h.values[key]
	if found && v.kind != parser.GGUFMetadataValueTypeString {
		return "", true, reject(BadMetadata, "%s is of type %s, wanted string", key, typeName(v.kind))
	}
	return v.text, found, nil
}

func (h *header) alpha() (float64, error) {
	v, found := h.values[keyAlpha]
	if !found {
		return 0, reject(BadAlpha, "no %s, wanted a finite float32", keyAlpha)
	}
	if v.kind != parser.GGUFMetadataValueTypeFloat32 {
		return 0, reject(BadAlpha, "%s is of type %s, wanted float32", keyAlpha, typeName(v.kind))
	}
	alpha := float64(math.Float32frombits(uint32(v.number)))
	if math.IsNaN(alpha) || math.IsInf(alpha, 0) {
		return 0, reject(BadAlpha, "%s is %v, wanted a finite number", keyAlpha, alpha)
	}
	return alpha, nil
}

func typeName(kind parser.GGUFMetadataValueType) string { return strings.ToLower(kind.String()) }

// pairsOf pairs the tensors in the file's order.
func pairsOf(tensors []tensor) ([]*pair, error) {
	var pairs []*pair
	byName := map[string]*pair{}
	find := func(name string) *pair {
		if byName[name] == nil {
			byName[name] = &pair{name: name}
			pairs = append(pairs, byName[name])
		}
		return byName[name]
	}
	for i := range tensors {
		t := &tensors[i]
		if name, is := strings.CutSuffix(t.name, suffixA); is {
			find(name).a = t
		} else if name, is := strings.CutSuffix(t.name, suffixB); is {
			find(name).b = t
		} else if !strings.HasSuffix(t.name, suffixNorm) { // llama.cpp passes over norms
			return nil, reject(UnknownTensor, "tensor %s ends in neither %s nor %s", t.name, suffixA, suffixB)
		}
	}
	if len(pairs) == 0 {
		return nil, reject(NoTensors, "no %s and %s tensors", suffixA, suffixB)
	}
	return pairs, nil
}

// checkPair returns the pair's rank if it fits the base.
func (b *Base) checkPair(p *pair) (rank int, err error) {
	base, found := b.tensors[p.name]
	switch {
	case !found:
		return 0, reject(UnknownTensor, "tensor %s: the base has no tensor %s", p.one().name, p.name)
	case p.a == nil:
		return 0, reject(IncompletePair, "tensor %s has no %s beside it", p.b.name, p.name+suffixA)
	case p.b == nil:
		return 0, reject(IncompletePair, "tensor %s has no %s beside it", p.a.name, p.name+suffixB)
	}
	a, half := p.a.shape, p.b.shape
	wantA, wantB := shape{base[0], a[1], base[2], base[3]}, shape{half[0], base[1], base[2], base[3]}
	rankA, rankB := a[1], half[0]
	if strings.HasSuffix(p.name, embedding) {
		// Rows are looked up in lora_a, so it is transposed.
		wantA, wantB = shape{a[0], base[1], base[2], base[3]}, shape{half[0], base[0], base[2], base[3]}
		rankA = a[0]
	}
	switch {
	case a != wantA:
		return 0, reject(WrongShape, "tensor %s is %v, wanted %v for the base's %v", p.a.name, a, wantA, base)
	case half != wantB:
		return 0, reject(WrongShape, "tensor %s is %v, wanted %v for the base's %v", p.b.name, half, wantB, base)
	case rankA != rankB:
		return 0, reject(BadRank, "tensor %s is of rank %d, %s of rank %d", p.a.name, rankA, p.b.name, rankB)
	case rankA == 0 || rankA > math.MaxInt32:
		return 0, reject(BadRank, "tensor %s is of rank %d", p.a.name, rankA)
	}
	if p.name == embedding {
		if err := b.checkEmbedding(p); err != nil {
			return 0, err
		}
	}
	return int(rankA), nil
}

// checkEmbedding rejects a change to an embedding that is the output layer as
// well: llama.cpp multiplies with the transposed lora_a there, and aborts.
func (b *Base) checkEmbedding(p *pair) error {
	if _, found := b.tensors[outputHead]; found {
		return nil
	}
	return reject(UnknownTensor, "tensor %s: the base has no %s and uses %s in its place, where llama-server cannot "+
		"apply an adapter",
		p.a.name, outputHead, embedding)
}

// one returns either half.
func (p *pair) one() *tensor {
	if p.a != nil {
		return p.a
	}
	return p.b
}

// moduleOf shortens blk.3.attn_q.weight to attn_q.
func moduleOf(name string) string {
	name = strings.TrimSuffix(name, ".weight")
	if rest, is := strings.CutPrefix(name, "blk."); is {
		if _, module, is := strings.Cut(rest, "."); is {
			return module
		}
	}
	return name
}
