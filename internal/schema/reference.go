package schema

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// referring are the keywords that refer to another schema.
var referring = []string{"$ref", "$dynamicRef", "$recursiveRef"}

// reference returns to what a schema refers, and by which keyword.
func (n *node) reference() ([]byte, string) {
	for _, key := range referring {
		if raw := n.get(key); raw != nil {
			return raw, key
		}
	}
	return nil, ""
}

// refer is hold for what is no more than a reference.
func (h *holder) refer(n *node, key string) ([]byte, error) {
	met := map[string]bool{}
	for {
		target, name, err := h.target(n, key)
		if err != nil {
			return nil, err
		}
		if met[name] {
			return nil, n.refuse(key, "leads to itself")
		}
		met[name] = true
		to, next := target.reference()
		if to == nil || !target.only(next) {
			return h.shared([]*node{target}, func() ([]byte, error) { return h.hold([]*node{target}) })
		}
		n, key = target, next
	}
}

// target returns what is referred to, and a name for it.
func (h *holder) target(n *node, key string) (*node, string, error) {
	ref := rawjson.Text(n.get(key))
	if key != "$ref" || !strings.HasPrefix(ref, "#/") || strings.ContainsAny(ref, "~%") {
		h.changed = true
	}
	within, fragment, _ := strings.Cut(ref, "#")
	if within != "" && within != h.id {
		return nil, "", n.refuse(key, "refers to %.80q: only references within the schema can be followed, as "+
			"\"#/$defs/name\"", ref)
	}
	if fragment == "" {
		return h.node(h.root, nil), "#", nil
	}
	if anchored := h.anchors[fragment]; anchored != nil {
		return anchored, "#" + fragment, nil
	}
	path, ok := strings.CutPrefix(fragment, "/")
	target, at := h.root, (*place)(nil)
	for step := range strings.SplitSeq(path, "/") {
		if plain, err := url.PathUnescape(step); err == nil {
			step = plain
		}
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		at = at.in(step)
		if o, is := rawjson.Scan(target); is && ok {
			target, ok = o.Raw(step)
			continue
		}
		list := rawjson.Elements(target)
		i, err := strconv.Atoi(step)
		if ok = ok && err == nil && i >= 0 && i < len(list); ok {
			target = list[i]
		}
	}
	if !ok {
		return nil, "", n.refuse(key, "refers to %.80q, which is not there", ref)
	}
	return h.node(target, at), "#" + fragment, nil
}

// collect finds the names by which parts of the schema can be referred to.
func (h *holder) collect(root *node) {
	h.id = strings.TrimSuffix(rawjson.Text(root.keys["$id"]), "#")
	h.anchors = map[string]*node{}
	if !strings.Contains(string(h.root), "nchor\"") {
		return
	}
	for work := []*node{root}; len(work) > 0; {
		n := work[0]
		work = work[1:]
		for _, key := range []string{"$anchor", "$dynamicAnchor"} {
			if name := rawjson.Text(n.keys[key]); name != "" {
				h.anchors[name] = n
			}
		}
		for key, value := range n.keys {
			at := n.at.in(key)
			switch value[0] {
			case '{':
				work = append(work, h.node(value, at))
			case '[':
				for i, one := range rawjson.Elements(value) {
					if one[0] == '{' {
						work = append(work, h.node(one, at.in(strconv.Itoa(i))))
					}
				}
			}
		}
	}
}
