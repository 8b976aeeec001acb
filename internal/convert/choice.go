package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/gguf"
)

// choice is which modules the configuration names. PEFT puts LoRA on these and on no others,
// and takes what the file has of them. The weights are what was trained: they are converted
// whatever the configuration says, but what the two disagree on is a warning.
type choice struct {
	targets, except modules
	layers          []int            // of which alone, if there are some
	layersAt        []*regexp.Regexp // where in a module's name its layer is
	unknown         bool             // a pattern that cannot be read decides
}

// modules are some, by name or by the end of the name, or by a pattern of the whole name.
type modules struct {
	names   []string
	pattern *regexp.Regexp
}

func (m modules) empty() bool { return len(m.names) == 0 && m.pattern == nil }

// matches is PEFT's check_target_module_exists for one of its keys.
func (m modules) matches(module string) bool {
	if m.pattern != nil {
		return m.pattern.MatchString(module)
	}
	return slices.ContainsFunc(m.names, func(name string) bool { return ends(module, name) })
}

// ends reports whether a name is a module's, or its end.
func ends(module, name string) bool { return module == name || strings.HasSuffix(module, "."+name) }

// readChoice reads what names modules.
func readChoice(keys map[string]json.RawMessage) (c choice, err error) {
	for key, to := range map[string]*modules{"target_modules": &c.targets, "exclude_modules": &c.except} {
		known, err := readModules(keys, key, to)
		if err != nil {
			return c, err
		}
		c.unknown = c.unknown || !known
	}
	var one int
	switch text := keys["layers_to_transform"]; {
	case !isSet(text):
	case json.Unmarshal(text, &one) == nil:
		c.layers = []int{one}
	case json.Unmarshal(text, &c.layers) != nil:
		return c, malformed("%s: layers_to_transform is %s, wanted a list of whole numbers", configFile, shorten(text))
	}
	patterns, err := readTexts(keys, "layers_pattern")
	if err != nil {
		return c, err
	}
	if len(patterns) == 0 {
		patterns = []string{`[^.]*`}
	}
	left := maxWork
	for _, p := range patterns {
		at, err := compile(`.*\.`, p, `\.(?P<layer>\d+)\..*`, maxPattern, &left)
		if err != nil {
			return c, unsupported("pattern", "%s: layers_pattern: %q is not a pattern that is supported: %v", configFile,
				clip(p), err)
		}
		c.layersAt = append(c.layersAt, at)
	}
	return c, nil
}

// readModules reads a list of names, or a pattern. One that cannot be read is not known.
func readModules(keys map[string]json.RawMessage, key string, to *modules) (known bool, err error) {
	var text string
	if raw := keys[key]; !isSet(raw) || json.Unmarshal(raw, &text) != nil {
		to.names, err = readTexts(keys, key)
		return true, err
	}
	if strings.EqualFold(text, "all-linear") {
		for _, module := range slices.Sorted(maps.Keys(kinds)) {
			to.names = append(to.names, module[strings.IndexByte(module, '.')+1:])
		}
		return true, nil
	}
	left := maxWork
	to.pattern, err = compile("(?:", text, ")", maxTargets, &left)
	return err == nil, nil
}

// readTexts reads a list of texts, or one.
func readTexts(keys map[string]json.RawMessage, key string) (list []string, err error) {
	var one string
	switch text := keys[key]; {
	case !isSet(text):
	case json.Unmarshal(text, &one) == nil:
		list = []string{one}
	case json.Unmarshal(text, &list) != nil:
		return nil, malformed("%s: %s is %s, wanted a list of names", configFile, key, shorten(text))
	case len(list) > maxPatterns:
		return nil, malformed("%s: %s has more than %d entries", configFile, key, maxPatterns)
	}
	return list, nil
}

// names reports whether the configuration names a module.
func (c *choice) names(module string) bool {
	if c.except.matches(module) || !c.targets.matches(module) {
		return false
	}
	if len(c.layers) == 0 || c.targets.pattern != nil || slices.Contains(c.targets.names, module) {
		return true
	}
	for _, at := range c.layersAt {
		if found := at.FindStringSubmatch(module); found != nil {
			layer, err := strconv.Atoi(found[at.SubexpIndex("layer")])
			return err == nil && slices.Contains(c.layers, layer)
		}
	}
	return false
}

// warnings says on what the configuration and the file, which pairs are, disagree.
func (c *choice) warnings(pairs []*lora, b *base) (list []string) {
	if c.targets.empty() || c.unknown {
		return nil
	}
	there := map[string]bool{} // tensors of the base
	var others []string
	for _, l := range pairs {
		there[l.target] = true
		if !c.names(l.module) {
			others = append(others, clip(l.module))
		}
	}
	all, layers := candidates(pairs, b)
	var lacking []string
	for _, m := range all {
		if c.names(m.module) && !there[m.target] {
			lacking = append(lacking, clip(m.module))
		}
	}
	if len(lacking) > 0 {
		list = append(list, fmt.Sprintf("%s names modules of which %s has no weights, %d in all: %s; was it saved whole?",
			configFile, weightsFile, len(lacking), gguf.Some(lacking)))
	}
	if len(others) > 0 {
		list = append(list, fmt.Sprintf("%s has weights of modules that %s does not name, %d in all: %s; PEFT would leave "+
			"them out, here they are applied", weightsFile, configFile, len(others), gguf.Some(others)))
	}
	if idle := c.idle(pairs, all, layers); len(idle) > 0 {
		list = append(list, fmt.Sprintf("%s names what neither the base nor %s has: %s", configFile, weightsFile,
			gguf.Some(idle)))
	}
	return list
}

// idle are the names and layers of the configuration that mean nothing.
func (c *choice) idle(pairs []*lora, all []candidate, layers int) (idle []string) {
	for _, name := range c.targets.names {
		if !slices.ContainsFunc(all, func(m candidate) bool { return ends(m.module, name) }) &&
			!slices.ContainsFunc(pairs, func(l *lora) bool { return ends(l.module, name) }) {
			idle = append(idle, clip(name))
		}
	}
	for _, n := range c.layers {
		if c.targets.pattern == nil && (n < 0 || n >= layers) {
			idle = append(idle, fmt.Sprintf("layer %d", n))
		}
	}
	return idle
}

// candidate is a module that could have LoRA, and its tensor in the base.
type candidate struct{ module, target string }

// candidates are all modules of the base, under the names that the adapter's have, and how
// many layers there are.
func candidates(pairs []*lora, b *base) (list []candidate, layers int) {
	const stack = "layers."
	prefix := "model."
	for _, l := range pairs {
		if before, _, found := strings.Cut(l.module, stack); found {
			prefix = before
			break
		}
	}
	add := func(module, target string) {
		if _, _, found := b.Matrix(target); found {
			list = append(list, candidate{module, target})
		}
	}
	for {
		before := len(list)
		for _, module := range slices.Sorted(maps.Keys(kinds)) {
			add(fmt.Sprintf("%s%s%d.%s", prefix, stack, layers, module),
				fmt.Sprintf("blk.%d.%s.weight", layers, kinds[module]))
		}
		if len(list) == before {
			break
		}
		layers++
	}
	add(prefix+"embed_tokens", "token_embd.weight")
	add("lm_head", "output.weight")
	return list, layers
}
