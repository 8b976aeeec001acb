package config

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile is the most that a configuration file may hold, in bytes.
const maxFile = 1 << 20

// Flag is a key's value from the command line, written as in the environment, which wins over all
// others.
type Flag struct {
	Name string // as the user writes it, such as --model
	Key  string
	Text string
}

// Load reads the configuration from the YAML file at path, from the environment and from flags, and
// checks it, including that the files it names are there. Without a path there is no file.
//
// The error names all mistakes, one a line, each as "SOURCE: KEY: VALUE: what is
// wrong": SOURCE is path, or the variable that the value is from; VALUE is left
// out for keys that are unknown or missing; YAML that cannot be parsed is
// "SOURCE: line N: what is wrong". With an error the Config is nil.
func Load(path string, flags ...Flag) (*Config, error) {
	return load(path, os.Environ(), flags...)
}

// load is Load with the environment given, as in os.Environ.
func load(path string, environ []string, flags ...Flag) (*Config, error) {
	p := newProblems(path)
	v := viper.New()
	for _, l := range leaves() {
		v.SetDefault(l.key, l.value)
	}
	var c Config
	if path == "" {
		p.file = "command line"
	} else {
		file, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		c.File = file
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: cannot read: %w", path, cause(err))
		}
		if !mergeFile(v, p, data) {
			return nil, p.err() // more would only be what follows from this
		}
	}
	c.Warnings = mergeEnvironment(v, p, environ)
	mergeToken(v, p, environ)
	mergeFlags(v, p, flags)
	decode(v, p, &c)
	if name := cmp.Or(c.Model.Name, nameOf(c.Model.Path)); path == "" && c.State.Dir == "" && name != "" {
		c.State.Dir = userState(name, c.Model.Path)
	}
	validate(&c, p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// mergeFlags puts the flags' values over all others.
func mergeFlags(v *viper.Viper, p *problems, flags []Flag) {
	for _, f := range flags {
		for _, l := range leaves() {
			if l.key != f.Key {
				continue
			}
			l.variable = f.Name
			p.forget(l.key)
			if parsed := readVariable(p, l, f.Text); parsed != nil {
				v.Set(l.key, parsed)
			}
		}
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, err
}

// mergeFile puts the file's values over the defaults. It returns false when there
// are none because the file as a whole is not usable.
func mergeFile(v *viper.Viper, p *problems, data []byte) bool {
	r := reader{problems: p, source: p.file}
	root := r.parse(data)
	if root == nil {
		return false
	}
	if root.Kind != yaml.MappingNode {
		r.addSource(r.source, "must be a map of keys to values")
		return false
	}
	values, _ := r.readMap("", root, reflect.TypeFor[Config]()).(map[string]any)
	if err := v.MergeConfigMap(values); err != nil {
		r.addSource(r.source, "%v", err)
		return false
	}
	return true
}

// mergeEnvironment puts our variables' values over all others, and returns
// warnings of variables that look like ours and are not.
func mergeEnvironment(v *viper.Viper, p *problems, environ []string) []string {
	ours := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			ours[name] = value
		}
	}
	var known []string
	for _, l := range leaves() {
		known = append(known, l.variable)
		value, ok := ours[l.variable]
		if !ok {
			continue
		}
		delete(ours, l.variable)
		p.forget(l.key)
		if parsed := readVariable(p, l, value); parsed != nil {
			v.Set(l.key, parsed)
		}
	}
	delete(ours, "GATEWAY_ADMIN_URL") // is for the commands that call a gateway
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		warning := name + ": ignored: no key has this variable"
		if best := closest(name, known); best != "" {
			warning += "; did you mean " + best + "?"
		}
		warnings = append(warnings, warning)
	}
	return warnings
}

// mergeToken takes the token for Hugging Face from the variables that its own
// tools read, unless there is one already.
func mergeToken(v *viper.Viper, p *problems, environ []string) {
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if v.Get(huggingFaceToken) != "" {
			return
		}
		for _, entry := range environ {
			// Spaces around it, such as a file's last newline, are as good as none to
			// those tools, too.
			if value, ok := strings.CutPrefix(entry, name+"="); ok && strings.TrimSpace(value) != "" {
				p.origins[huggingFaceToken] = origin{source: name}
				v.Set(huggingFaceToken, strings.TrimSpace(value))
			}
		}
	}
}

// readVariable returns the value of a variable, or nil after it has reported why
// there is none. What is written as text in the file is taken literally, so that
// nobody needs quotes within quotes; numbers, booleans and lists are YAML.
func readVariable(p *problems, l leaf, value string) any {
	p.origins[l.key] = origin{source: l.variable, text: shownText(l.key, value)}
	switch {
	case l.typ == levelType, l.typ.Kind() == reflect.String, l.typ.Kind() == reflect.Int64:
		return value
	}
	// Its own collector: a value that is no YAML is the key's problem.
	r := reader{problems: newProblems(""), source: l.variable}
	root := r.parse([]byte(value))
	if root == nil {
		_, why, _ := strings.Cut(r.err().Error(), ": ")
		p.add(l.key, "%s", why)
		return nil
	}
	r.problems = p
	parsed := r.read(l.key, root, l.typ)
	if l.typ.Kind() != reflect.Slice {
		p.origins[l.key] = origin{source: l.variable, text: shownText(l.key, value)}
	}
	return parsed
}
