package schema

import (
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// row is what an array's elements must be: the first ones each by its own, the others all the
// same.
type row struct {
	first [][]*node // by position: what all schemas say of that element
	rest  []*node
	open  bool // nothing is said of the others
}

// row gathers what all schemas say of elements.
func (h *holder) row(all []*node) row {
	type own struct {
		first []*node
		rest  *node
	}
	var each []own
	most := 0
	r := row{open: true}
	for _, n := range all {
		var o own
		list, rest := "prefixItems", "items"
		if raw := n.get("items"); raw != nil && raw[0] == '[' {
			list, rest = "items", "additionalItems"
		}
		for i, one := range rawjson.Elements(n.get(list)) {
			o.first = append(o.first, h.node(one, n.at.in(list, strconv.Itoa(i))))
		}
		if n.get(rest) == nil && n.get("unevaluatedItems") != nil {
			rest = "unevaluatedItems"
			h.changed = true
		}
		if raw := n.get(rest); raw != nil {
			o.rest = h.node(raw, n.at.in(rest))
			r.rest, r.open = append(r.rest, o.rest), false
		}
		each, most = append(each, o), max(most, len(o.first))
	}
	for i := range most {
		var at []*node
		for _, o := range each {
			switch {
			case i < len(o.first):
				at = append(at, o.first[i])
			case o.rest != nil:
				at = append(at, o.rest)
			}
		}
		r.first = append(r.first, at)
	}
	return r
}

// array is a schema for arrays.
func (h *holder) array(all []*node) ([]byte, error) {
	least, most, err := h.length(all, "minItems", "maxItems")
	if err != nil {
		return nil, err
	}
	unique := false
	for _, n := range all {
		free := string(n.get("minContains")) == "0" && n.get("maxContains") == nil
		if n.get("contains") != nil && !free {
			return nil, n.refuse("contains", "cannot be held: say of which element with prefixItems, or of all with items")
		}
		unique = unique || string(n.get("uniqueItems")) == "true"
	}
	r := h.row(all)
	if len(r.first) > 0 {
		return h.tuple(all, r, least, most, unique)
	}
	if unique && most > 1 {
		return h.set(all, r, least, most)
	}
	m := members{{"type", []byte(`"array"`)}}
	switch items, err := h.hold(r.rest); {
	case impossible(err) && least == 0:
		h.changed = true
		m.add("items", anything)
		m.add("maxItems", []byte("0"))
	case err != nil:
		return nil, err
	case r.open && least == 0 && most == noBound:
	default:
		if r.open {
			h.changed = true
		}
		m.add("items", items)
		m.limits("minItems", "maxItems", least, most)
	}
	return h.text(m)
}

// tuple is a schema for arrays whose first elements are each of their own. A grammar has as
// many of them as are listed.
func (h *holder) tuple(all []*node, r row, least, most int, unique bool) ([]byte, error) {
	n := all[0]
	size := min(max(len(r.first), least), most)
	if len(all) > 1 || size != len(r.first) || !r.open || n.get("uniqueItems") != nil {
		h.changed = true
	}
	if size > maxListed {
		return nil, n.refuse("minItems", "must be at most %d beside prefixItems", maxListed)
	}
	var made [][]byte
	for i := range size {
		at := r.rest
		if i < len(r.first) {
			at = r.first[i]
		}
		text, err := h.hold(at)
		if impossible(err) && i >= least {
			h.changed = true
			break
		}
		if err != nil {
			return nil, err
		}
		made = append(made, text)
	}
	if unique {
		for i := range made {
			for j := range i {
				if !h.apart(made[i], h.node(h.resolved(made[j]).Apply(), nil), 0) {
					return nil, n.refuse("uniqueItems", "can be held only of elements that cannot be equal, as those of "+
						"different types or enums")
				}
			}
		}
	}
	m := members{{"type", []byte(`"array"`)}}
	if len(made) == 0 {
		m.add("items", anything)
		m.add("maxItems", []byte("0"))
	} else {
		m.add("prefixItems", rawjson.List(made))
	}
	return h.text(m)
}

// set is a schema for arrays without equal elements: if there are few values, arrays of them
// are listed.
func (h *holder) set(all []*node, r row, least, most int) ([]byte, error) {
	h.changed = true
	n := all[0]
	for _, one := range all {
		if one.get("uniqueItems") != nil {
			n = one
		}
	}
	items, err := h.hold(r.rest)
	if err != nil && !impossible(err) {
		return nil, err
	}
	values, finite := valuesOf(items)
	if impossible(err) {
		values, finite = nil, true
	}
	if !finite || len(values) > 8 {
		return nil, n.refuse("uniqueItems", "can be held only of arrays of up to 8 values, listed with enum, and of those "+
			"with a maxItems of 1")
	}
	lists, ok := arrangements(values, least, most, true)
	if !ok {
		lists, ok = arrangements(values, least, most, false)
	}
	switch {
	case !ok:
		return nil, n.refuse("uniqueItems", "leaves more than %d arrays, which is as many as can be listed", maxListed)
	case len(lists) == 0:
		return nil, n.never("there are not enough values for its elements")
	}
	return h.text(members{{"enum", rawjson.List(lists)}})
}

// arrangements lists the arrays of different values, in every order or in that of the values,
// if they are not too many.
func arrangements(values [][]byte, least, most int, ordered bool) (lists [][]byte, ok bool) {
	ok = true
	var grow func(used []int)
	grow = func(used []int) {
		if len(used) >= least && len(used) <= most {
			var list [][]byte
			for _, i := range used {
				list = append(list, values[i])
			}
			lists = append(lists, rawjson.List(list))
		}
		ok = ok && len(lists) <= maxListed
		from := 0
		if !ordered && len(used) > 0 {
			from = used[len(used)-1] + 1
		}
		for i := from; i < len(values) && ok && len(used) < most; i++ {
			if !slices.Contains(used, i) {
				grow(append(used[:len(used):len(used)], i))
			}
		}
	}
	grow(nil)
	return lists, ok
}
