package catalog

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// TestExpressions resolves sums and scales to what must be applied.
func TestExpressions(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"coding", "chat", "team/legal"} {
		r.put(name, name)
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "copy", Settings: lora.Settings{Aliases: []string{"alias"},
		MaxConcurrency: 3, Weight: 2}, Scale: .25, Source: r.file("copy", "coding")}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "coding", Scale: .5},
		{Adapter: "chat", Scale: 0}}}, true); err != nil {
		t.Fatal(err)
	}
	part := func(content string, scale string) string { return digest(content) + "@" + scale }
	both := func(a, b string) string {
		parts := []string{a, b}
		slices.Sort(parts)
		return strings.Join(parts, "+")
	}
	for name, want := range map[string]string{
		"base": "", "coding": part("coding", "1"), "coding@0.5": part("coding", "0.5"),
		"coding@-0.5":  part("coding", "-0.5"),
		"team/legal@2": part("team/legal", "2"), "copy": part("coding", "0.25"), "alias": part("coding", "0.25"),
		"alias@1":              part("coding", "1"),
		"alias+chat":           both(part("coding", "0.25"), part("chat", "1")),
		"coding@0.7+chat@0.3":  both(part("coding", "0.7"), part("chat", "0.3")),
		"chat@0.3+coding@0.7":  both(part("coding", "0.7"), part("chat", "0.3")),
		"coding@0.25+copy":     part("coding", "0.5"), // the same bytes
		"coding@0.5+copy@-0.5": "",
		"coding@0":             "", "coding@0+chat@0": "",
		"sum": both(part("coding", "0.5"), part("chat", "1")),
	} {
		m, err := r.Resolve(name)
		if err != nil || m.Identity() != want {
			t.Errorf("%s: %v, %v; want %s", name, m, err, want)
		}
	}
	if m, err := r.Resolve("coding+copy"); err != nil || m.MaxConcurrency != 3 || m.Weight != 1 || !m.Adhoc ||
		m.Target != "coding@1+copy@0.25" {
		t.Errorf("%+v, %v: the strictest bounds of its parts hold", m, err)
	}
	for name, code := range map[string]lora.Code{
		"coding@": lora.Invalid, "coding@x": lora.Invalid, "coding@1e3": lora.Invalid, "coding@NaN": lora.Invalid,
		"coding@101": lora.Invalid, "@1": lora.Invalid, "+": lora.Invalid,
		"coding+": lora.Invalid, "coding@0.5@1": lora.Invalid, "base@0.5": lora.Invalid, "sum@0.5": lora.Invalid,
		"coding@ 1": lora.Invalid, "coding@0x1": lora.Invalid,
		strings.Repeat("coding+", 8) + "coding": lora.Invalid, "coding@" + strings.Repeat("9", 400): lora.Invalid,
	} {
		if _, err := r.Resolve(name); refusal(err) != code || len(err.Error()) > 200 {
			t.Errorf("%.40s: %v, want %s and few words", name, err, code)
		}
	}
	r.unknown("nobody", "nobody@1", "coding+nobody", "", "CODING", "coding ")
	r.SetAdhoc(false)
	r.unknown("coding@0.5", "coding+chat")
	if _, err := r.Resolve("sum"); err != nil {
		t.Errorf("named sums stay: %v", err)
	}
}

// TestSpecsThatMakeNoSense are refused, and change nothing.
func TestSpecsThatMakeNoSense(t *testing.T) {
	r := newRig(t)
	source := r.file("a", "a")
	for i, s := range []lora.Spec{
		{Name: "", Source: source}, {Name: "-a", Source: source}, {Name: "a b", Source: source},
		{Name: "a@1", Source: source}, {Name: "a+b", Source: source},
		{Name: strings.Repeat("a", 129), Source: source}, {Name: "a\n", Source: source},
		{Name: "a", Settings: lora.Settings{Aliases: []string{"ä"}}, Source: source},
		{Name: "a", Settings: lora.Settings{Aliases: []string{"a"}}, Source: source},
		{Name: "a", Settings: lora.Settings{Aliases: []string{"b", "b"}}, Source: source},
		{Name: "a", Source: source, Scale: math.NaN()}, {Name: "a", Source: source, Scale: math.Inf(1)},
		{Name: "a", Source: source, Scale: 101},
		{Name: "a", Source: source, Settings: lora.Settings{Weight: .05}},
		{Name: "a", Source: source, Settings: lora.Settings{Weight: 11}},
		{Name: "a", Source: source, Settings: lora.Settings{Weight: math.NaN()}},
		{Name: "a", Source: source, Settings: lora.Settings{MaxConcurrency: -1}},
		{Name: "a", Source: source, Shares: []lora.Share{{Adapter: "b", Scale: 1}}},
		{Name: "a", Shares: []lora.Share{{Adapter: "", Scale: 1}}},
		{Name: "a", Shares: []lora.Share{{Adapter: "b", Scale: math.NaN()}}},
		{Name: "a", Shares: make([]lora.Share, 9)},
	} {
		if _, err := r.Put(t.Context(), s, true); refusal(err) != lora.Invalid {
			t.Errorf("%d: %+v: %v, want it invalid", i, s, err)
		}
	}
	if list := r.List(); len(list) != 0 {
		t.Errorf("left are %+v", list)
	}
}

// TestNamesAreOneSpace lets base, adapters, compositions and aliases clash.
func TestNamesAreOneSpace(t *testing.T) {
	r := newRig(t, lora.Spec{Name: "mine", Source: "/none", Settings: lora.Settings{Aliases: []string{"other"}}})
	source := r.file("a", "a")
	if _, err := r.Put(t.Context(), lora.Spec{Name: "free", Settings: lora.Settings{Aliases: []string{"free2"}},
		Source: source}, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"base", "mine", "other", "free2"} {
		for _, s := range []lora.Spec{{Name: name, Source: source},
			{Name: "x", Settings: lora.Settings{Aliases: []string{name}}, Source: source},
			{Name: name, Shares: []lora.Share{{Adapter: "free", Scale: 1}}}} {
			if _, err := r.Put(t.Context(), s, true); refusal(err) != lora.Conflict {
				t.Errorf("%+v: %v, want a conflict", s, err)
			}
		}
	}
	sum := lora.Spec{Name: "free", Shares: []lora.Share{{Adapter: "free", Scale: 1}}}
	if _, err := r.Put(t.Context(), sum, true); refusal(err) != lora.Conflict {
		t.Errorf("a composition in place of an adapter: %v", err)
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "free", Settings: lora.Settings{Aliases: []string{"free3"}},
		Source: source}, true); err != nil {
		t.Errorf("its own name: %v", err)
	}
	r.unknown("free2")
	r.want("free3", "a")
	for _, f := range []func(string) error{r.Remove,
		func(name string) error { _, err := r.Rollback(name); return err }} {
		if err := f("nobody"); refusal(err) != lora.NotFound {
			t.Errorf("%v, want not found", err)
		}
	}
	if err := r.Remove("mine"); refusal(err) != lora.Conflict {
		t.Errorf("removing an entry of the configuration: %v", err)
	}
}

// TestConfigurationIsAppliedWholeOrNot replaces the list.
func TestConfigurationIsAppliedWholeOrNot(t *testing.T) {
	r := newRig(t)
	a, b := r.file("a", "a"), r.file("b", "b")
	r.put("taken", "taken")
	first := []lora.Spec{{Name: "one", Source: a, Settings: lora.Settings{Aliases: []string{"uno"}}},
		{Name: "sum", Shares: []lora.Share{{Adapter: "one", Scale: .5}, {Adapter: "taken", Scale: 1}}}}
	if err := r.Configure(first); err != nil {
		t.Fatal(err)
	}
	r.until("one is ready", func() bool { return r.answers("uno") == digest("a") })
	err := r.Configure([]lora.Spec{{Name: "two", Source: b}, {Name: "taken", Source: b}, {Name: "base", Source: b},
		{Name: "three", Settings: lora.Settings{Aliases: []string{"taken"}}, Source: b}})
	for _, part := range []string{`"taken" is taken`, `"base" is taken by the base`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	for _, bad := range [][]lora.Spec{{{Name: "x", Source: a}, {Name: "x", Source: b}},
		{{Name: "x", Settings: lora.Settings{Aliases: []string{"y"}}, Source: a}, {Name: "y", Source: b}},
		{{Name: "a b", Source: a}}} {
		if err := r.Configure(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	r.want("one", "a")
	r.unknown("two", "three", "x")
	if _, err := r.Resolve("sum"); err != nil {
		t.Error(err)
	}
	// Names may move between entries of the list.
	if err := r.Configure([]lora.Spec{{Name: "uno", Source: b},
		{Name: "other", Settings: lora.Settings{Aliases: []string{"one"}}, Source: a}}); err != nil {
		t.Fatal(err)
	}
	r.until("the new list is ready", func() bool {
		return r.answers("uno") == digest("b") && r.answers("one") == digest("a")
	})
	r.unknown("sum")
	r.want("taken", "taken")
}

// TestCompositionsFollowTheirParts removes and replaces an adapter under a sum.
func TestCompositionsFollowTheirParts(t *testing.T) {
	r := newRig(t)
	if _, err := r.Put(t.Context(), lora.Spec{Name: "sum", Settings: lora.Settings{Aliases: []string{"s"}},
		Shares: []lora.Share{{Adapter: "a", Scale: .5}, {Adapter: "b", Scale: 0}}}, true); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		rec, _ := r.Get("sum")
		return fmt.Sprint(rec.State, ": ", rec.Reason)
	}
	r.unknown("sum", "s")
	if got := state(); got != "rejected: it needs the adapter a, which does not exist" {
		t.Error(got)
	}
	r.put("a", "a")
	r.put("b", "b")
	if got := state(); got != "ready: " {
		t.Error(got)
	}
	one := r.answers("s")
	r.put("a", "a2")
	if two := r.answers("sum"); two == one || !strings.Contains(two, digest("a2")+"@0.5") ||
		!strings.Contains(two, digest("b")+"@1") {
		t.Errorf("%s, then %s", one, two)
	}
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	r.unknown("sum")
	r.put("nested", "n")
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "outer", Shares: []lora.Share{{Adapter: "sum", Scale: 1}}}, true); err != nil {
		t.Fatal(err)
	}
	if rec, _ := r.Get("outer"); rec.State != lora.Rejected || !strings.Contains(rec.Reason, "a composition itself") {
		t.Errorf("%+v", rec)
	}
	if _, err := r.Resolve("outer"); refusal(err) != lora.NotFound {
		t.Error(err)
	}
}

// TestRefusalsOfSpecsSayWhatIsWrong in full.
func TestRefusalsOfSpecsSayWhatIsWrong(t *testing.T) {
	r := newRig(t)
	r.put("taken", "one")
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "taken", Scale: 1}}}, true); err != nil {
		t.Fatal(err)
	}
	const letters = "letters, digits and . _ : / - only, beginning with a letter or digit, at most 128"
	long := strings.Repeat("a", 200)
	for _, c := range []struct {
		spec lora.Spec
		want string
	}{
		{lora.Spec{Name: "a b", Source: "/a"}, `"a b" cannot name a model: ` + letters},
		{lora.Spec{Name: long, Source: "/a"}, `"` + long[:64] + `..." cannot name a model: ` + letters},
		{lora.Spec{Name: "a", Settings: lora.Settings{Aliases: []string{"b@1"}}, Source: "/a"},
			`"b@1" cannot name a model: ` + letters},
		{lora.Spec{Name: "a", Source: "/a", Shares: []lora.Share{{Adapter: "b", Scale: 1}}},
			"a: a composition has no source"},
		{lora.Spec{Name: "a", Shares: make([]lora.Share, 9)}, "a: a composition has at most 8 adapters"},
		{lora.Spec{Name: "a", Shares: []lora.Share{{Adapter: "b", Scale: math.Inf(-1)}}},
			`a: "b" at -Inf is no part of a composition`},
		{lora.Spec{Name: "a", Shares: []lora.Share{{Adapter: "b+c", Scale: 1}}},
			`a: "b+c" at 1 is no part of a composition`},
		{lora.Spec{Name: "a", Source: "/a", Scale: -101}, "a: the scale must be a number of at most 100"},
		{lora.Spec{Name: "a", Source: "/a", Settings: lora.Settings{Weight: -1}}, "a: weight must be from 0.1 to 10"},
		{lora.Spec{Name: "a", Source: "/a", Settings: lora.Settings{MaxConcurrency: -1}},
			"a: max_concurrency must be from 0 to 2147483647; 0 is no bound"},
		{lora.Spec{Name: "a", Source: "/a", Settings: lora.Settings{Aliases: []string{"b", "b"}}},
			`a: the name "b" is there twice`},
		{lora.Spec{Name: "base", Source: "/a"}, `the name "base" is taken by the base model`},
		{lora.Spec{Name: "a", Source: "/a", Settings: lora.Settings{Aliases: []string{"taken"}}},
			`the name "taken" is taken by "taken"`},
		{lora.Spec{Name: "sum", Source: "/a"}, "sum is a composition: remove it first"},
		{lora.Spec{Name: "taken", Shares: []lora.Share{{Adapter: "b", Scale: 1}}},
			"taken is an adapter: remove it first"},
	} {
		if _, err := r.Put(t.Context(), c.spec, true); err == nil || err.Error() != c.want {
			t.Errorf("%.40s: %v, want %s", c.spec.Name, err, c.want)
		}
	}
	for name, want := range map[string]string{
		"taken@":                          `"" is no scale: write a number such as 0.5`,
		"taken@much":                      `"much" is no scale: write a number such as 0.5`,
		"taken@100.5":                     `the scale 100.5 is beyond 100`,
		"+taken":                          `an adapter's name is missing in it`,
		strings.Repeat("taken+", 8) + "a": `it adds up 9 adapters, and at most 8 can be`,
		"sum@0.5":                         `"sum" is not an adapter: only adapters can be scaled and added`,
		"base+taken":                      `"base" is not an adapter: only adapters can be scaled and added`,
		"taken+nobody":                    `there is no model "nobody"`,
		"nobody":                          `there is no model "nobody"`,
	} {
		if _, err := r.Resolve(name); err == nil || err.Error() != want {
			t.Errorf("%.40s: %v, want %s", name, err, want)
		}
	}
}

// TestIdentitiesFollowTheBytes and the scales at which they are applied, not the
// names.
func TestIdentitiesFollowTheBytes(t *testing.T) {
	r := newRig(t, lora.Spec{Name: "configured", Source: "/none"})
	put := func(s lora.Spec, content string) {
		t.Helper()
		if len(s.Shares) == 0 {
			s.Source = r.file(s.Name, content)
		}
		if _, err := r.Put(t.Context(), s, true); err != nil {
			t.Fatal(err)
		}
	}
	put(lora.Spec{Name: "a", Settings: lora.Settings{Aliases: []string{"a2"}}}, "one")
	put(lora.Spec{Name: "b"}, "one")
	put(lora.Spec{Name: "half", Scale: .5}, "one")
	put(lora.Spec{Name: "other"}, "two")
	put(lora.Spec{Name: "nothing", Scale: 1e-50}, "one") // 0 in the precision that it is applied in
	put(lora.Spec{Name: "single", Settings: lora.Settings{Aliases: []string{"single2"}},
		Shares: []lora.Share{{Adapter: "a2", Scale: .5}}}, "")
	put(lora.Spec{Name: "tenths", Shares: []lora.Share{{Adapter: "a", Scale: .1}, {Adapter: "b", Scale: .2}}}, "")
	put(lora.Spec{Name: "both", Shares: []lora.Share{{Adapter: "a", Scale: .7}, {Adapter: "other", Scale: -.3}}}, "")
	one, two := digest("one"), digest("two")
	parts := []string{one + "@0.7", two + "@-0.3"}
	slices.Sort(parts)
	for _, c := range []struct{ names, identity, digest string }{
		{"base nothing a@0 nothing@0", "", ""},
		{"a a2 b a@1 a@1.0 b@1 half@1", one + "@1", one},
		{"half a@0.5 b@0.50", one + "@0.5", one},
		{"a@0.25+half@0.25 single single2", one + "@0.5", one + "@0.5"},
		{"tenths a@0.3+b@0", one + "@0.3", one + "@0.3"},
		{"a@100+b@100", one + "@200", one + "@200"},
		{"both a@0.7+other@-0.3 other@-0.3+b@0.7", strings.Join(parts, "+"), strings.Join(parts, "+")},
	} {
		for _, name := range strings.Fields(c.names) {
			m, err := r.Resolve(name)
			if err != nil || m.Identity() != c.identity || m.Digest() != c.digest {
				t.Errorf("%s: %v, %v; want identity %q and digest %q", name, m, err, c.identity, c.digest)
			}
			if err == nil && m.Name != name {
				t.Errorf("%s calls itself %s", name, m.Name)
			}
		}
	}
	if m, err := r.Resolve("a2"); err != nil || m.Kind != lora.KindAlias || m.Target != "a" {
		t.Errorf("%+v, %v", m, err)
	}
	var names []string
	for _, m := range r.Models() {
		names = append(names, m.Name)
	}
	if got := strings.Join(names, " "); got != "base a a2 b both half nothing other single single2 tenths" ||
		r.Models()[0] != r.Base() {
		t.Errorf("the models are %s", got)
	}
}

// TestCompositionsHaveSettingsOfTheirOwn and keep an operator's pin.
func TestCompositionsHaveSettingsOfTheirOwn(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("b", "two")
	sum := lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "a", Scale: .5}, {Adapter: "b", Scale: 0}},
		Settings: lora.Settings{Weight: 2, MaxConcurrency: 3}}
	put := func() {
		t.Helper()
		if rec, err := r.Put(t.Context(), sum, false); err != nil || rec.State != lora.Ready {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	put()
	if m, err := r.Resolve("sum"); err != nil || m.Weight != 2 || m.MaxConcurrency != 3 ||
		m.Kind != lora.KindComposition {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := r.Pin("sum", true); err != nil {
		t.Fatal(err)
	}
	pinned := func() (n int) {
		for _, s := range r.Stock() {
			if s.Pin {
				n++
			}
		}
		return n
	}
	sum.Weight = 1
	put()
	sum.Shares[1].Adapter = "a" // a list of the caller's is not the catalog's
	if rec, _ := r.Get("sum"); rec.Shares[1].Adapter != "b" {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	if pinned() != 2 {
		t.Errorf("in stock are %+v", r.Stock())
	}
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if pinned() != 0 {
		t.Errorf("of a sum that is not whole are pinned %+v", r.Stock())
	}
	if _, err := r.Rollback("sum"); refusal(err) != lora.Conflict {
		t.Errorf("a rollback of a sum: %v", err)
	}
}
