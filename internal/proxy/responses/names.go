package responses

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// identity is what a client calls a tool: within a namespace, or outside of all, which is "".
type identity struct{ namespace, name string }

// names are those that the model knows tools by. It sees the tools of all namespaces as one list,
// and clients offer several of one name, as `search` of two MCP servers.
type names struct {
	of    map[identity]string
	taken map[string]bool
}

// nameAll gives each tool a name of its own: its own one where no other tool has that, or where it
// is in no namespace.
func nameAll(list []tool) names {
	n := names{of: make(map[identity]string, len(list)), taken: make(map[string]bool, len(list))}
	first, several := make(map[string]string, len(list)), map[string]bool{}
	for _, t := range list {
		if namespace, met := first[t.name]; met && namespace != t.namespace {
			several[t.name] = true
		}
		first[t.name], n.taken[t.name] = t.namespace, true
	}
	for _, t := range list {
		if _, named := n.of[t.identity]; named {
			continue
		}
		name := t.name
		if t.namespace != "" && several[name] {
			name = t.joined()
			for i := 2; n.taken[name]; i++ {
				name = t.joined() + "_" + strconv.Itoa(i)
			}
			n.taken[name] = true
		}
		n.of[t.identity] = name
	}
	return n
}

// named returns the model's name of a tool that was called earlier, which may no longer be there.
func (n names) named(i identity) string {
	if name, known := n.of[i]; known {
		return name
	}
	if i.namespace != "" && n.taken[i.name] {
		return i.joined()
	}
	return i.name
}

// maxJoined is of names that are made here, in bytes; OpenAI's bound of names is 64.
const maxJoined = 64

// joined is a name that says where the tool is.
func (i identity) joined() string {
	if name := i.namespace + "__" + i.name; len(name) <= maxJoined {
		return name
	}
	sum := sha256.Sum256([]byte(i.namespace + "\x00" + i.name))
	end := "_" + hex.EncodeToString(sum[:8])
	whole := []rune(i.name[:min(len(i.name), maxJoined)])
	for len(string(whole)) > maxJoined-len(end) {
		whole = whole[:len(whole)-1]
	}
	return string(whole) + end
}

// restrict leaves the tools that are named. A name without a namespace is of a tool outside of all,
// or, where there is none, of those that have it in one.
func (c *chat) restrict(named []node) error {
	type choice struct {
		kind string
		identity
	}
	outside, within := make(map[choice]bool, len(c.list)), make(map[choice]bool, len(c.list)) // whether they stay
	for _, t := range c.list {
		outside[choice{t.kind, t.identity}] = false
		if t.namespace != "" {
			within[choice{t.kind, identity{"", t.name}}] = false
			within[choice{namespace, identity{"", t.namespace}}] = false
		}
	}
	for _, n := range named {
		kind, err := n.required("type")
		if err != nil {
			return err
		}
		name, err := n.required("name")
		if err != nil {
			return err
		}
		key := choice{kind, identity{rawjson.Text(n.raw("namespace")), name}}
		if _, is := outside[key]; is {
			outside[key] = true
		} else if _, is := within[key]; is {
			within[key] = true
		} else {
			return wrong(n.path("name"), "names no tool: there is no %s %q among the tools", short(kind), short(name))
		}
	}
	c.list = slices.DeleteFunc(c.list, func(t tool) bool {
		return !outside[choice{t.kind, t.identity}] && !within[choice{t.kind, identity{"", t.name}}] &&
			!within[choice{namespace, identity{"", t.namespace}}]
	})
	return nil
}
