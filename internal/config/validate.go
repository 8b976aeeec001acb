package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
)

// checker checks a decoded Config, and makes its paths absolute.
type checker struct {
	*problems
	dir   string            // what relative paths are relative to
	names map[string]string // name of a model -> the key that took it
}

func validate(c *Config, p *problems) {
	k := checker{problems: p, dir: c.dir(), names: map[string]string{}}
	k.listen("listen", c.Listen)
	k.tls(&c.TLS)
	k.cors(&c.CORS)
	k.model(&c.Model)
	k.state(&c.State, &c.Adapters)
	k.adapters(&c.Adapters)
	k.compositions(c)
	k.sources(&c.Sources)
	k.workers(&c.Workers)
	k.room(c)
	k.vllm(c)
	k.tenants(c)
	k.rules(c.Rules)
	k.between("catalog.max_tokens", c.Catalog.MaxTokens, 0, math.MaxInt32)
	k.embedders(c.Embedders)
	k.between("scheduler.queue", c.Scheduler.Queue, 1, math.MaxInt32)
	k.positive("scheduler.max_wait", c.Scheduler.MaxWait)
	if q := c.Scheduler.Quantum; q != Auto && time.Duration(q) < leastQuantum {
		k.add("scheduler.quantum", "must be auto or at least %s", leastQuantum)
	}
	if s := c.Scheduler.ScaleOutAfter; s != Auto && s < 0 {
		k.add("scheduler.scale_out_after", "must not be negative")
	}
	k.notNegative("scheduler.aging", c.Scheduler.Aging)
	k.admin(&c.Admin)
	if c.Limits.Body < 1<<10 {
		k.add("limits.body", "must be at least 1KiB")
	}
	if c.Limits.Text < 1<<10 {
		k.add("limits.text", "must be at least 1KiB")
	}
	if c.Limits.Grammar < 1<<10 {
		k.add("limits.grammar", "must be at least 1KiB")
	}
	if c.Limits.Fields < 1<<10 {
		k.add("limits.fields", "must be at least 1KiB")
	}
	if m := c.Limits.Memory; m != 0 && m/MemoryFactor < c.Limits.Body {
		k.add("limits.memory", "must be 0 or at least %d times limits.body, %d bytes", MemoryFactor,
			MemoryFactor*c.Limits.Body)
	}
	k.notNegative("limits.drain", c.Limits.Drain)
	if l := c.Limits.Linger; l != Auto && l < 0 {
		k.add("limits.linger", "must not be negative")
	}
	k.positive("limits.read", c.Limits.Read)
	k.positive("limits.write", c.Limits.Write)
	k.notNegative("limits.generation", c.Limits.Generation)
	k.notNegative("limits.keepalive", c.Limits.KeepAlive)
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

// flags refuses those of llama-server that are ours.
func (k *checker) flags(key string, args []string) {
	for i, arg := range args {
		if flag, why, ok := ownedFlag(arg); ok {
			k.add(index(key, i), "%s is not yours to set: %s", flag, why)
		}
	}
}

func (k *checker) workers(w *Workers) {
	if w.Command == "" {
		k.add("workers.command", "must be set: the llama-server program")
	}
	k.autoBetween("workers.count", w.Count, 1, 64)
	k.autoBetween("workers.slots", w.Slots, 1, 256)
	k.oneOf("workers.kv", w.KV, autoText, "unified", "split")
	k.oneOf("workers.mps", w.MPS, autoText, "off")
	if w.MemoryReserve < 0 {
		k.add("workers.memory_reserve", "must not be negative")
	}
	if slots := w.Slots.Or(usualSlots); w.Context < 64 {
		k.add("workers.context", "must be at least 64")
	} else if slots > 0 && w.Context > math.MaxInt32/slots {
		k.add("workers.context", "times %d slots it must be at most %d", slots, math.MaxInt32)
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
	}
	k.flags("workers.args", w.Args)
	k.positive("workers.start_timeout", w.StartTimeout)
	k.notNegative("workers.stop_timeout", w.StopTimeout)
	k.notNegative("workers.hang_timeout", w.HangTimeout)
	k.notNegative("workers.stall_timeout", w.StallTimeout)
	if w.MemoryLimit < 0 {
		k.add("workers.memory_limit", "must not be negative")
	}
	if w.RuntimeDir != "" {
		k.runtimeDir("workers.runtime_dir", &w.RuntimeDir)
	}
	k.between("workers.max_loaded", w.MaxLoaded, 0, math.MaxInt32)
	if w.AdapterMemory < 0 {
		k.add("workers.adapter_memory", "must not be negative")
	}
	k.between("workers.spare", w.Spare, 0, 1)
	k.notNegative("workers.reload_interval", w.ReloadInterval)
}

// usualSlots is what Auto is where memory is not short.
const usualSlots = 8

func (k *checker) autoBetween(key string, n AutoInt, least, most int) {
	if n != Auto && (int(n) < least || int(n) > most) {
		k.add(key, "must be auto or from %d to %d", least, most)
	}
}

func (k *checker) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		k.add(key, "must be %s or %s", strings.Join(allowed[:last], ", "), allowed[last])
	}
}

// admin refuses to serve others without a token: they could put adapters in.
func (k *checker) admin(a *Admin) {
	if a.Token != "" {
		if len(a.Token) < leastToken {
			k.add("admin.token", "must have at least %d characters", leastToken)
		}
		k.token("admin.token", a.Token)
	}
	if a.Listen == "" {
		return
	}
	k.listen("admin.listen", a.Listen)
	if host, _, err := net.SplitHostPort(a.Listen); err == nil && a.Token == "" && !httpkit.Loopback(host) {
		k.add("admin.listen", "can be reached from other machines: set admin.token, for example to what openssl rand -hex "+
			"32 prints, or listen on 127.0.0.1")
	}
}

// vllm refuses to let everybody who can reach the main listener change adapters.
func (k *checker) vllm(c *Config) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err == nil && c.Catalog.VLLMEndpoints && c.Admin.Token == "" && !httpkit.Loopback(host) {
		k.add("catalog.vllm_endpoints", "lets everybody who can reach %s change adapters: set admin.token, which these "+
			"endpoints then ask for", c.Listen)
	}
}

// leastToken is the fewest characters of a token that nobody guesses.
const leastToken = 16

// token checks that a token can stand in a header. It never repeats it.
func (k *checker) token(key, token string) {
	for _, c := range token {
		if c <= ' ' || c > '~' {
			k.add(key, "must be printable ASCII characters without spaces")
			return
		}
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
	k.folderToBe(key, *path, shown)
}

// folderToBe checks a folder that whoever uses it makes; messages name it as
// shown.
func (k *checker) folderToBe(key, path, shown string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
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
	if home, ok := atHome(path); ok {
		path = home
	} else if !filepath.IsAbs(path) {
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
