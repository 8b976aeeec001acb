package catalog

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/lora"
)

// isExpression reports whether a name can only be an expression: names of models
// have neither sign in them.
func isExpression(name string) bool { return strings.ContainsAny(name, "@+") }

// term is one adapter of an expression.
type term struct {
	name  string
	scale float64
	own   bool // no scale is given: the adapter's own
}

// parseExpression reads "coding@0.7+chat@0.3+legal".
func parseExpression(s string) ([]term, error) {
	parts := strings.Split(s, "+")
	if len(parts) > lora.MaxShares {
		return nil, lora.Errorf(lora.Invalid,
			"it adds up %d adapters, and at most %d can be", len(parts), lora.MaxShares)
	}
	terms := make([]term, len(parts))
	for i, part := range parts {
		name, scale, given := strings.Cut(part, "@")
		if name == "" {
			return nil, lora.Errorf(lora.Invalid, "an adapter's name is missing in it")
		}
		terms[i] = term{name: name, own: !given}
		if !given {
			continue
		}
		var err error
		if terms[i].scale, err = parseScale(scale); err != nil {
			return nil, err
		}
	}
	return terms, nil
}

// scalePattern has no exponent: its sign would be a sum's.
var scalePattern = regexp.MustCompile(`^-?[0-9]{1,9}(\.[0-9]{1,9})?$`)

func parseScale(s string) (float64, error) {
	if !scalePattern.MatchString(s) {
		return 0, lora.Errorf(lora.Invalid, "%q is no scale: write a number such as 0.5", lora.Shorten(s))
	}
	scale, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(scale) > lora.MaxScale {
		return 0, lora.Errorf(lora.Invalid, "the scale %s is beyond %d", s, lora.MaxScale)
	}
	return scale, nil
}

// decimal writes a scale as an expression takes it: without an exponent.
func decimal(scale float64) string {
	return strconv.FormatFloat(float64(float32(scale)), 'f', -1, 32)
}

// compose returns the model that an expression stands for.
func (s *snapshot) compose(name string) (*Model, error) {
	terms, err := parseExpression(name)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: name, Kind: lora.KindComposition, Adhoc: true, sum: true}
	m.Weight = math.Inf(1)
	if len(terms) == 1 {
		m.Kind, m.sum = lora.KindAdapter, false
	}
	var parts []lora.Part
	var canonical []string
	for _, t := range terms {
		a, err := s.named(t.name)
		if err != nil {
			return nil, err
		}
		if len(a.single) == 0 {
			return nil, lora.Errorf(lora.Invalid,
				"%q is not an adapter: only adapters can be scaled and added", lora.Shorten(t.name))
		}
		part := a.single[0]
		if !t.own {
			part.Scale = t.scale
		}
		parts = append(parts, part)
		canonical = append(canonical, a.Target+"@"+decimal(part.Scale))
		m.Weight = min(m.Weight, a.Weight)
		if a.MaxConcurrency > 0 && (m.MaxConcurrency == 0 || a.MaxConcurrency < m.MaxConcurrency) {
			m.MaxConcurrency = a.MaxConcurrency
		}
		if a.Created.After(m.Created) {
			m.Created = a.Created
		}
	}
	m.Target = strings.Join(canonical, "+")
	m.Parts = sumParts(parts)
	m.identity = identify(m.Parts)
	return m, nil
}
