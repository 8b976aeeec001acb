// Package catalog knows every model that a client can name and what it takes to
// serve it.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says what a model is.
type Kind string

const (
	KindBase    Kind = "base"
	KindAdapter Kind = "adapter"
	KindAlias   Kind = "alias"
)

// Entry is a LoRA adapter as it is configured.
type Entry struct {
	Name    string
	Path    string // its GGUF, absolute
	Scale   float64
	Aliases []string
	Weight  float64 // its share against other adapters
	// MaxConcurrency bounds how many of its requests run at once; 0 is no bound.
	MaxConcurrency int
}

// Options says what a catalog is made of.
type Options struct {
	BaseName string
	BasePath string
	Dir      string  // every *.gguf in it is an adapter named after its file; "" is none
	Entries  []Entry // adapters one by one
}

// Model is one name that a client can ask for.
type Model struct {
	Name    string
	Kind    Kind
	Target  string    // the adapter's or base's own name: Name, but for an alias
	Created time.Time // when its file was last changed
	Adapter *Adapter  // nil for the base
}

// Adapter is a LoRA GGUF for the base.
type Adapter struct {
	Name   string
	Path   string // the first file that was found with these bytes
	Digest string // SHA-256 of the file's bytes, in hex
	Scale  float64
	// How its requests are scheduled, as in Entry.
	Weight         float64
	MaxConcurrency int
}

// Identity tells apart what gives different answers: the file's bytes and the
// scale. Two names for the same bytes at the same scale share it.
func (a *Adapter) Identity() string {
	return a.Digest + "@" + strconv.FormatFloat(a.Scale, 'g', -1, 64)
}

// Catalog is an immutable set of models; it is safe for concurrent use.
type Catalog struct {
	byName   map[string]*Model
	models   []*Model // the base, then the others by name
	adapters []*Adapter
}

// Open reads the adapters' files and returns the catalog of them. It reports
// every problem it finds, joined; each names the file or the two places that
// clash.
func Open(opts Options) (*Catalog, error) {
	found, err := scan(opts.Dir)
	if err != nil {
		return nil, err
	}
	entries := append(slices.Clone(opts.Entries), found...)

	c := &Catalog{byName: make(map[string]*Model)}
	created, err := modified(opts.BasePath)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	problems := []error{c.add(&Model{Name: opts.BaseName, Kind: KindBase, Target: opts.BaseName, Created: created})}
	for _, e := range entries {
		problems = append(problems, c.addAdapter(e))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.models[1:], func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}

// Resolve returns the model of that name.
func (c *Catalog) Resolve(name string) (*Model, bool) {
	m, ok := c.byName[name]
	return m, ok
}

// Models returns all models, the base first. The slice must not be changed.
func (c *Catalog) Models() []*Model { return c.models }

// Adapters returns all adapters in a fixed order. The slice must not be changed.
func (c *Catalog) Adapters() []*Adapter { return c.adapters }

// Base returns the base model.
func (c *Catalog) Base() *Model { return c.models[0] }

func (c *Catalog) addAdapter(e Entry) error {
	digest, err := inspect(e.Path)
	if err != nil {
		return fmt.Errorf("adapter %q: %w", e.Name, err)
	}
	created, err := modified(e.Path)
	if err != nil {
		return fmt.Errorf("adapter %q: %w", e.Name, err)
	}
	a := &Adapter{Name: e.Name, Path: c.fileOf(digest, e.Path), Digest: digest, Scale: e.Scale,
		Weight: e.Weight, MaxConcurrency: e.MaxConcurrency}
	c.adapters = append(c.adapters, a)
	problems := []error{c.add(&Model{Name: e.Name, Kind: KindAdapter, Target: e.Name, Created: created, Adapter: a})}
	for _, alias := range e.Aliases {
		problems = append(problems, c.add(&Model{Name: alias, Kind: KindAlias, Target: e.Name, Created: created, Adapter: a}))
	}
	return errors.Join(problems...)
}

// fileOf returns the file that holds those bytes: one of an adapter before, or
// path. llama-server takes two files for two adapters, and does not decode them
// together, even if their bytes are equal.
func (c *Catalog) fileOf(digest, path string) string {
	for _, a := range c.adapters {
		if a.Digest == digest {
			return a.Path
		}
	}
	return path
}

// Files returns the files of all adapters, each once, in a fixed order.
func (c *Catalog) Files() []string {
	var files []string
	for _, a := range c.adapters {
		if !slices.Contains(files, a.Path) {
			files = append(files, a.Path)
		}
	}
	return files
}

func (c *Catalog) add(m *Model) error {
	if other, taken := c.byName[m.Name]; taken {
		return fmt.Errorf("the name %q is taken twice: by %s and by %s", m.Name, other.describe(), m.describe())
	}
	c.byName[m.Name] = m
	c.models = append(c.models, m)
	return nil
}

func (m *Model) describe() string {
	switch m.Kind {
	case KindBase:
		return "the base model"
	case KindAlias:
		return fmt.Sprintf("an alias of %q", m.Target)
	default:
		return "the adapter " + m.Adapter.Path
	}
}

// namePattern is what a file's name may be to name a model; '@' and '+' are
// kept for scales and sums.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// scan returns an entry for every *.gguf in dir, by name.
func scan(dir string) ([]Entry, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("adapters.dir: %w", err)
	}
	var entries []Entry
	var problems []error
	for _, f := range files {
		name, isGGUF := strings.CutSuffix(f.Name(), ".gguf")
		if !isGGUF || f.IsDir() || strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(dir, f.Name())
		if !namePattern.MatchString(name) {
			problems = append(problems, fmt.Errorf("%s: %q cannot name a model: letters, digits and ._:- only, beginning with a letter or digit, at most 128", path, name))
			continue
		}
		entries = append(entries, Entry{Name: name, Path: path, Scale: 1, Weight: 1})
	}
	return entries, errors.Join(problems...)
}

// inspect returns the digest of a file that begins like a GGUF.
func inspect(path string) (digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil || string(magic[:]) != "GGUF" {
		return "", fmt.Errorf("%s is not a GGUF file", path)
	}
	h := sha256.New()
	h.Write(magic[:])
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func modified(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return time.Time{}, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return info.ModTime(), nil
}
