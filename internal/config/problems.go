package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// origin is where a value was given and how it was written there.
type origin struct {
	source string // the file as the user named it, or a variable of the environment
	text   string // the value as it was written, quoted if it is text
}

// problems collects what is wrong, each as "SOURCE: KEY: VALUE: what is wrong".
// VALUE is left out where there is none.
type problems struct {
	file    string // as the user named it
	origins map[string]origin
	bad     map[string]bool
	errs    []error
}

func newProblems(file string) *problems {
	return &problems{file: file, origins: map[string]origin{}, bad: map[string]bool{}}
}

// add reports a problem with the value at key, unless one with it, or with what
// it is part of, has been reported already: what follows from a mistake is not
// another one.
func (p *problems) add(key, format string, args ...any) {
	for k := key; k != ""; k = parent(k) {
		if p.bad[k] {
			return
		}
	}
	p.bad[key] = true
	parts := []string{p.source(key), key}
	if text := p.origins[key].text; text != "" {
		parts = append(parts, text)
	}
	parts = append(parts, fmt.Sprintf(format, args...))
	p.errs = append(p.errs, errors.New(strings.Join(parts, ": ")))
}

// addSource reports a problem with a source as a whole.
func (p *problems) addSource(source, format string, args ...any) {
	p.errs = append(p.errs, errors.New(source+": "+fmt.Sprintf(format, args...)))
}

// source returns where the value at key was given, or else where it should be.
func (p *problems) source(key string) string {
	for k := key; k != ""; k = parent(k) {
		if o, ok := p.origins[k]; ok {
			return o.source
		}
	}
	return p.file
}

// forget drops the origins of key and of all below it.
func (p *problems) forget(key string) {
	for k := range p.origins {
		if k == key || strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[") {
			delete(p.origins, k)
		}
	}
}

func (p *problems) err() error { return errors.Join(p.errs...) }

// parent returns what key is part of: that of a.b[1].c is a.b[1], then a.b.
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func index(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// quote returns text as a message shows it: quoted, and cut where it is long.
func quote(text string) string {
	const most = 160
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "..."
}
