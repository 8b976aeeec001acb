package lora

import (
	"math"
	"regexp"
)

// Spec is a model as a user describes it: an adapter with a Source, or a composition with
// Shares.
type Spec struct {
	Name   string
	Source string // a path, https://, hf:// or s3://; "" for an upload
	// Digest is the SHA-256 that the source must have, in hex; "" takes any.
	Digest string  `json:"WantDigest"`
	Shares []Share // of a composition
	// Scale is how strongly an adapter is applied; 0 stands for 1. A composition has none.
	Scale float64
	Settings
	Pin     bool // every worker has it loaded at all times
	Preload bool // one worker has it loaded at all times
}

// Bounds of a composition, and of an expression that stands for one.
const (
	MaxShares = 8
	MaxScale  = 100
)

// namePattern is what a name may be; '@' and '+' are kept for scales and sums.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)

// Kind returns what the spec describes.
func (s *Spec) Kind() Kind {
	if len(s.Shares) > 0 {
		return KindComposition
	}
	return KindAdapter
}

// Names are all names that it is to have, its own first.
func (s *Spec) Names() []string { return append([]string{s.Name}, s.Aliases...) }

// Validate reports what makes no sense in the spec by itself.
func (s *Spec) Validate() error {
	for _, name := range s.Names() {
		if !namePattern.MatchString(name) {
			return Errorf(Invalid, "%q cannot name a model: letters, digits and . _ : / - only, "+
				"beginning with a letter or digit, at most 128", Shorten(name))
		}
	}
	finite := func(x float64) bool { return !math.IsNaN(x) && math.Abs(x) <= MaxScale }
	switch {
	case len(s.Shares) > MaxShares:
		return Errorf(Invalid, "%s: a composition has at most %d adapters", s.Name, MaxShares)
	case len(s.Shares) > 0 && s.Source != "":
		return Errorf(Invalid, "%s: a composition has no source", s.Name)
	case !finite(s.Scale):
		return Errorf(Invalid, "%s: the scale must be a number of at most %d", s.Name, MaxScale)
	}
	if field, must := s.Check(); field != "" {
		return Errorf(Invalid, "%s: %s %s", s.Name, field, must)
	}
	for _, share := range s.Shares {
		if !namePattern.MatchString(share.Adapter) || !finite(share.Scale) {
			return Errorf(Invalid, "%s: %q at %g is no part of a composition",
				s.Name, Shorten(share.Adapter), share.Scale)
		}
	}
	return nil
}
