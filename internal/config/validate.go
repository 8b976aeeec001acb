package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// checker checks a decoded Config, and makes its paths absolute.
type checker struct {
	*problems
	dir   string            // the folder of the configuration file, absolute
	names map[string]string // name of a model -> the key that took it
}

func validate(c *Config, p *problems) {
	k := checker{problems: p, dir: filepath.Dir(c.File), names: map[string]string{}}
	k.listen("listen", c.Listen)
	k.model(&c.Model)
	k.adapters(&c.Adapters)
	k.workers(&c.Workers)
	k.between("scheduler.queue", c.Scheduler.Queue, 1, math.MaxInt32)
	k.positive("scheduler.max_wait", c.Scheduler.MaxWait)
	if c.Scheduler.Quantum < leastQuantum {
		k.add("scheduler.quantum", "must be at least %s", leastQuantum)
	}
	k.notNegative("scheduler.spread", c.Scheduler.Spread)
	if c.Admin.Listen != "" {
		k.listen("admin.listen", c.Admin.Listen)
	}
	if c.Limits.Body < 1<<10 {
		k.add("limits.body", "must be at least 1KiB")
	}
	k.notNegative("limits.drain", c.Limits.Drain)
	k.positive("limits.read", c.Limits.Read)
	k.positive("limits.write", c.Limits.Write)
	k.notNegative("limits.generation", c.Limits.Generation)
	if c.Log.Format != "text" && c.Log.Format != "json" {
		k.add("log.format", "must be text or json")
	}
}

// leastQuantum is several times what a swap takes.
const leastQuantum = 10 * time.Millisecond

var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

func (k *checker) listen(key, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		k.add(key, "must be host:port, as in 127.0.0.1:8080")
		return
	}
	if host == "" {
		k.add(key, "has no host: use 0.0.0.0%s to listen on all addresses", value)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostname.MatchString(host) {
		k.add(key, "%s is neither an address nor a host's name", quote(host))
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		k.add(key, "the port must be a number from 0 to 65535")
	}
}

func (k *checker) model(m *Model) {
	k.name("model.name", m.Name, "the name that clients call the base model")
	k.gguf("model.path", &m.Path, "the base model's GGUF file")
}

func (k *checker) adapters(a *Adapters) {
	if a.Dir != "" {
		shown := k.shown(a.Dir)
		a.Dir = absolute(k.dir, a.Dir)
		if info, err := os.Stat(a.Dir); err != nil {
			k.add("adapters.dir", "cannot read %s: %v", shown, cause(err))
		} else if !info.IsDir() {
			k.add("adapters.dir", "%s is not a folder", shown)
		}
	}
	for i := range a.List {
		adapter, key := &a.List[i], index("adapters.list", i)
		k.name(key+".name", adapter.Name, "the name that clients call the adapter")
		k.gguf(key+".path", &adapter.Path, "the adapter's GGUF file")
		if s := adapter.Scale; s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
			k.add(key+".scale", "must be a finite number other than 0")
		}
		if w := adapter.Weight; !(w >= 0.1 && w <= 10) {
			k.add(key+".weight", "must be from 0.1 to 10")
		}
		k.between(key+".max_concurrency", adapter.MaxConcurrency, 0, math.MaxInt32)
		for j, alias := range adapter.Aliases {
			k.alias(index(key+".aliases", j), alias, adapter.Name)
		}
	}
}

func (k *checker) workers(w *Workers) {
	if w.Command == "" {
		k.add("workers.command", "must be set: the llama-server program")
	}
	k.between("workers.count", w.Count, 1, 64)
	k.between("workers.slots", w.Slots, 1, 256)
	if w.Context < 64 {
		k.add("workers.context", "must be at least 64")
	} else if w.Slots > 0 && w.Context > math.MaxInt32/w.Slots {
		k.add("workers.context", "times %d slots it must be at most %d", w.Slots, math.MaxInt32)
	}
	for i, device := range w.Devices {
		if device == "" {
			k.add(index("workers.devices", i), "must be a device's name, as llama-server --list-devices shows them")
		}
	}
	for i, arg := range w.Args {
		if flag, _, _ := strings.Cut(arg, "="); len(w.Devices) > 0 && (flag == "-dev" || flag == "--device") {
			k.add(index("workers.args", i), "%s is not yours to set beside workers.devices", flag)
		}
		if flag, why, ok := ownedFlag(arg); ok {
			k.add(index("workers.args", i), "%s is not yours to set: %s", flag, why)
		}
	}
	k.positive("workers.start_timeout", w.StartTimeout)
	k.notNegative("workers.stop_timeout", w.StopTimeout)
	k.notNegative("workers.hang_timeout", w.HangTimeout)
	if w.RuntimeDir != "" {
		k.runtimeDir("workers.runtime_dir", &w.RuntimeDir)
	}
}

const (
	maxSocketPath = 107 // what Linux allows, less the final zero byte
	socketName    = 40  // what a worker appends to the folder, generously
)

func (k *checker) runtimeDir(key string, path *string) {
	shown := k.shown(*path)
	*path = absolute(k.dir, *path)
	if most := maxSocketPath - socketName; len(*path) > most {
		k.add(key, "as an absolute path it has %d bytes: at most %d leave room for the sockets' names", len(*path), most)
		return
	}
	info, err := os.Stat(*path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // whoever uses it makes it
	case err != nil:
		k.add(key, "cannot read %s: %v", shown, cause(err))
	case !info.IsDir():
		k.add(key, "%s is not a folder", shown)
	}
}

// gguf makes path absolute and checks the file there.
func (k *checker) gguf(key string, path *string, what string) {
	if *path == "" {
		k.add(key, "must be set: %s", what)
		return
	}
	shown := k.shown(*path)
	*path = absolute(k.dir, *path)
	// Not opened before it is known to be a file: opening a pipe would block.
	info, err := os.Stat(*path)
	if err == nil && !info.Mode().IsRegular() {
		k.add(key, "%s is not a file", shown)
		return
	}
	var magic []byte
	if err == nil {
		magic, err = head(*path, 4)
	}
	switch {
	case err != nil:
		k.add(key, "cannot read %s: %v", shown, cause(err))
	case !bytes.Equal(magic, []byte("GGUF")):
		k.add(key, "%s is not a GGUF file", shown)
	}
}

// head returns the first n bytes of a file, or all if it is shorter.
func head(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

// shown returns path as messages show it: seen from the current folder, as the
// name of the configuration file is.
func (k *checker) shown(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(k.file), path)
	}
	return printable(path)
}

func (k *checker) between(key string, value, least, most int) {
	if value < least || value > most {
		k.add(key, "must be from %d to %d", least, most)
	}
}

func (k *checker) positive(key string, value time.Duration) {
	if value <= 0 {
		k.add(key, "must be more than 0")
	}
}

func (k *checker) notNegative(key string, value time.Duration) {
	if value < 0 {
		k.add(key, "must not be negative")
	}
}

// name checks the name of a model and takes it.
func (k *checker) name(key, name, what string) {
	if name == "" {
		k.add(key, "must be set: %s", what)
		return
	}
	if err := checkName(name); err != nil {
		k.add(key, "%v", err)
		return
	}
	if other, ok := k.names[name]; ok {
		k.add(key, "already used by %s", other)
		return
	}
	k.names[name] = key
}

func (k *checker) alias(key, alias, own string) {
	if alias != "" && alias == own {
		k.add(key, "is the adapter's own name")
		return
	}
	k.name(key, alias, "a further name of the adapter")
}

const maxName = 128

// checkName says what keeps name from being the name of a model.
func checkName(name string) error {
	for i, c := range name {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		switch {
		case letter:
		case c == '@' || c == '+':
			return fmt.Errorf("%q is reserved for later use", c)
		case c != '.' && c != '_' && c != ':' && c != '/' && c != '-':
			return fmt.Errorf("%q is not allowed in names: use ASCII letters, digits and . _ : / -", c)
		case i == 0:
			return errors.New("must begin with an ASCII letter or digit")
		}
	}
	if len(name) > maxName {
		return fmt.Errorf("has %d characters: names have at most %d", len(name), maxName)
	}
	return nil
}
