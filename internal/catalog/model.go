package catalog

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Model is one name that a client can ask for, as it was when it was resolved.
// It is immutable.
type Model struct {
	Name string
	Kind lora.Kind
	// Target is the own name of the base, adapter or composition: Name, but for an
	// alias. For an expression it is the canonical form: "coding@0.5".
	Target  string
	Created time.Time // when what it stands for came to be
	// Parts are what must be applied: by digest, no digest twice, none at scale 0.
	// The base has none.
	Parts []lora.Part
	// Settings are those of Target; the weight is never 0. Of an expression they are the
	// least that its adapters are given.
	lora.Settings
	// Adhoc is set for an expression: its Name and Target are the client's words,
	// of which there is no end.
	Adhoc bool

	identity string
	sum      bool        // it is a composition, or an alias of one
	single   []lora.Part // of an adapter, what expressions scale; none for others
}

// Identity tells apart what gives different answers: two models share it if and
// only if the same bytes are applied at the same scales. The base's is "".
func (m *Model) Identity() string { return m.identity }

// faint is the scale below which an adapter's share changes next to nothing.
const faint = 0.01

// NearBase reports whether the model answers as the base, or nearly so: nothing is
// applied, or all of it so faintly that it hardly counts.
func (m *Model) NearBase() bool {
	return !slices.ContainsFunc(m.Parts, func(p lora.Part) bool { return math.Abs(p.Scale) >= faint })
}

// Digest returns what names the bytes that answer: "<hex>" for an adapter at any
// scale, "<hex>@0.7+<hex>@0.3" for a composition, "" for the base.
func (m *Model) Digest() string {
	if len(m.Parts) == 1 && !m.sum {
		return m.Parts[0].Version.Digest
	}
	return m.Identity()
}

func identify(parts []lora.Part) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(p.Version.Digest)
		b.WriteByte('@')
		b.WriteString(formatScale(p.Scale))
	}
	return b.String()
}

// formatScale writes a scale as llama-server takes it, in single precision: what
// is equal there is equal here.
func formatScale(s float64) string {
	return strconv.FormatFloat(float64(float32(s)), 'g', -1, 32)
}

// sumParts brings parts to the form of Model.Parts. It does not change its
// argument.
func sumParts(parts []lora.Part) []lora.Part {
	sorted := slices.Clone(parts)
	slices.SortFunc(sorted, func(a, b lora.Part) int {
		// Scales are added in a fixed order: a sum of floats depends on it.
		return cmp.Or(strings.Compare(a.Version.Digest, b.Version.Digest), cmp.Compare(a.Scale, b.Scale))
	})
	var sum []lora.Part
	for _, p := range sorted {
		if n := len(sum); n > 0 && sum[n-1].Version.Digest == p.Version.Digest {
			sum[n-1].Scale += p.Scale
			continue
		}
		sum = append(sum, p)
	}
	return slices.DeleteFunc(sum, func(p lora.Part) bool { return float32(p.Scale) == 0 })
}
