package grammar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// reference returns the rule of what is referred to, which is made once.
func (c *converter) reference(raw []byte) (string, error) {
	ref := rawjson.Text(raw)
	if name, ok := c.resolved[ref]; ok {
		return name, nil
	}
	target, err := c.target(ref)
	if err != nil {
		return "", err
	}
	name := "ref" + strconv.Itoa(len(c.resolved))
	c.resolved[ref] = name
	to, err := c.visit(target)
	if err != nil {
		return "", err
	}
	c.rules[name] = to
	return name, nil
}

// target finds what a reference within the schema refers to.
func (c *converter) target(ref string) ([]byte, error) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, fmt.Errorf("refers to %.80q: only references within it, which begin with #/, can be followed", ref)
	}
	if c.references[ref] = true; len(c.references) > maxReferences {
		return nil, fmt.Errorf("has more than %d different references", maxReferences)
	}
	if c.copied += len(c.root); c.copied > maxCopied {
		return nil, errTooMuch
	}
	target := c.root
	for _, step := range strings.Split(path, "/") {
		if o, ok := rawjson.Scan(target); ok {
			target, ok = o.Raw(step)
			if !ok {
				return nil, fmt.Errorf("refers to %.80q, which is not there", ref)
			}
			continue
		}
		n, err := strconv.Atoi(step)
		list := rawjson.Elements(target)
		if err != nil || n < 0 || n >= len(list) {
			return nil, fmt.Errorf("refers to %.80q, which is not there", ref)
		}
		target = list[n]
	}
	return target, nil
}

// follow goes through references to a schema that is none.
func (c *converter) follow(schema []byte) (rawjson.Object, error) {
	for range maxReferences {
		o, _ := rawjson.Scan(schema)
		raw, given := o.Raw("$ref")
		if !given {
			return o, nil
		}
		var err error
		if schema, err = c.target(rawjson.Text(raw)); err != nil {
			return o, err
		}
	}
	return rawjson.Object{}, errors.New("has a reference that leads to itself")
}
