package catalog

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// FuzzExpression reads names as clients make them up: what is taken means the same
// when it is written canonically.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"a@0.5", "a@0.7+b@0.3", "a+b", "a@-1", "@", "+", "a@1@2", "a@1e5", "a@0x1",
		"a@100.000000001", "a@-0", strings.Repeat("a+", 9)} {
		f.Add(seed)
	}
	base := &Model{Name: "base", Kind: lora.KindBase, Target: "base"}
	version := func(digest string) *lora.Version { return &lora.Version{Digest: digest} }
	s := &snapshot{adhoc: true, byName: map[string]*Model{"base": base}}
	for _, name := range []string{"a", "b", "c/d"} {
		m := &Model{Name: name, Target: name, Kind: lora.KindAdapter,
			Parts: []lora.Part{{Version: version(name), Scale: 1}}, single: []lora.Part{{Version: version(name),
				Scale: 1}}, Settings: lora.Settings{Weight: 1}}
		s.byName[name] = m
	}
	f.Fuzz(func(t *testing.T, name string) {
		m, err := s.resolve(name)
		if err != nil {
			if len(err.Error()) > 400 {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		if !m.Adhoc {
			return
		}
		for i, p := range m.Parts {
			if p.Scale == 0 || p.Scale < -lora.MaxScale*lora.MaxShares || p.Scale > lora.MaxScale*lora.MaxShares ||
				i > 0 && m.Parts[i-1].Version.Digest >= p.Version.Digest {
				t.Fatalf("%q has the parts %+v", name, m.Parts)
			}
		}
		again, err := s.resolve(m.Target)
		if err != nil || again.Identity() != m.Identity() || again.Target != m.Target {
			t.Fatalf("%q is %q, which is %v, %v", name, m.Target, again, err)
		}
	})
}
