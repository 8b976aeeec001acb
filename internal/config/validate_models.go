package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
)

func (k *checker) model(m *Model) {
	if m.Name == "" {
		m.Name = nameOf(m.Path)
	}
	switch {
	case m.Path == "": // that is what is missing
	case m.Name == "":
		k.add("model.name", "must be set, as with --name: none can be made of the file's, %s", filepath.Base(m.Path))
	default:
		k.name("model.name", m.Name, "the name that clients call the base model")
	}
	k.gguf("model.path", &m.Path, "the base model's GGUF file")
}

func (k *checker) state(s *State, a *Adapters) {
	k.between("state.versions", s.Versions, 1, 100)
	if s.Dir == "" {
		return
	}
	shown := k.shown(s.Dir)
	s.Dir = absolute(k.dir, s.Dir)
	if a.Dir != "" && s.Dir == absolute(k.dir, a.Dir) {
		k.add("state.dir", "is adapters.dir: what is stored would be taken for adapters")
		return
	}
	k.folderToBe("state.dir", s.Dir, shown)
}

// leastScan is how often a folder is looked at, at most: more often takes a
// processor and finds nothing new.
const leastScan = 10 * time.Millisecond

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
	if a.Settle < leastScan {
		k.add("adapters.settle", "must be at least %s", leastScan)
	}
	if a.Rescan != 0 && a.Rescan < leastScan {
		k.add("adapters.rescan", "must be 0 or at least %s", leastScan)
	}
	for i := range a.List {
		adapter, key := &a.List[i], index("adapters.list", i)
		k.name(key+".name", adapter.Name, "the name that clients call the adapter")
		k.origin(key, adapter)
		if adapter.Digest != "" {
			k.digest(key+".digest", &adapter.Digest)
		}
		if s := adapter.Scale; s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
			k.add(key+".scale", "must be a finite number other than 0")
		}
		k.settings(key, adapter.Settings)
		k.aliases(key+".aliases", adapter.Aliases, adapter.Name, "adapter")
	}
}

// origin checks where an adapter is from. What is there is not looked at: one
// lost file must not keep all other adapters from being served.
func (k *checker) origin(key string, a *Adapter) {
	switch {
	case a.Path == "" && a.Source == "":
		k.add(key+".path", "must be set, or source: the adapter's file, or where to get it from")
	case a.Path != "" && a.Source != "":
		k.add(key+".source", "cannot be set beside path: the adapter is from one of them")
	case a.Path != "":
		a.Path = absolute(k.dir, a.Path)
	default:
		k.adapterSource(key+".source", &a.Source)
	}
}

// adapterSource checks how a source begins; the rest is up to whoever fetches it.
func (k *checker) adapterSource(key string, source *string) {
	scheme, rest, isURL := strings.Cut(*source, "://")
	if !isURL {
		*source = absolute(k.dir, *source)
		return
	}
	u, err := url.Parse(*source)
	switch {
	case rest == "":
		k.add(key, "nothing follows %s://", scheme)
	case scheme == "hf" || scheme == "s3":
	case scheme != "https" && scheme != "http":
		k.add(key, "must be a path, or begin with https://, hf:// or s3://")
	case err != nil || u.Hostname() == "":
		k.add(key, "is not a valid URL")
	case scheme == "http" && !httpkit.Loopback(u.Hostname()):
		k.add(key, "must begin with https://: http:// is only for this machine itself")
	}
}

// digest checks a SHA-256 and brings it into the form that it is compared in.
func (k *checker) digest(key string, digest *string) {
	*digest = strings.TrimPrefix(strings.ToLower(*digest), "sha256:")
	if sum, err := hex.DecodeString(*digest); err != nil || len(sum) != sha256.Size {
		k.add(key, "must be a SHA-256: %d hex digits", hex.EncodedLen(sha256.Size))
	}
}

// settings checks what adapters and compositions have in common. That a weight was left
// out is known here, so that 0 is a mistake.
func (k *checker) settings(key string, s lora.Settings) {
	k.weight(key, s.Weight)
	if field, must := s.Check(); field != "" && field != "weight" {
		k.add(key+"."+field, "%s", must)
	}
}

func (k *checker) weight(key string, weight float64) {
	if must := lora.WeightMust(weight); must != "" {
		k.add(key+".weight", "%s", must)
	}
}

const (
	maxParts     = 8
	maxPartScale = 100
)

func (k *checker) compositions(c *Config) {
	for i, composition := range c.Compositions {
		key := index("compositions", i)
		k.name(key+".name", composition.Name, "the name that clients call the composition")
		k.settings(key, composition.Settings)
		k.aliases(key+".aliases", composition.Aliases, composition.Name, "composition")
	}
	// Only now every name of a composition is known.
	for i, composition := range c.Compositions {
		k.parts(index("compositions", i)+".parts", composition.Parts)
	}
}

func (k *checker) parts(key string, parts []lora.Share) {
	if n := len(parts); n < 1 || n > maxParts {
		k.add(key, "must be 1 to %d adapters", maxParts)
		return
	}
	seen := map[string]string{}
	for i, part := range parts {
		at := index(key, i)
		k.part(at+".adapter", part.Adapter, seen)
		if s := part.Scale; s == 0 || !(math.Abs(s) <= maxPartScale) {
			k.add(at+".scale", "must be from -%d to %d and not 0", maxPartScale, maxPartScale)
		}
	}
}

// part checks the name of an adapter in a composition, and notes it in seen, from
// names to the keys that have them. Whether there is such an adapter only the
// catalog knows: the folder and the admin API add some.
func (k *checker) part(key, name string, seen map[string]string) {
	if name == "" {
		k.add(key, "must be set: an adapter's name")
		return
	}
	err, owner := checkName(name), k.names[name]
	switch {
	case err != nil:
		k.add(key, "%v", err)
	case seen[name] != "":
		k.add(key, "already in %s", seen[name])
	case owner == "model.name":
		k.add(key, "is the base model: only adapters can be parts")
	case strings.HasPrefix(owner, "compositions["):
		k.add(key, "is a composition, by %s: only adapters can be parts", owner)
	}
	seen[name] = key
}

// room checks that what must be loaded at the same time can be.
func (k *checker) room(c *Config) {
	most := c.Workers.MaxLoaded
	if most <= 0 {
		return
	}
	pinned := 0
	for _, a := range c.Adapters.List {
		if a.Pin {
			pinned++
		}
	}
	if pinned > most {
		k.add("workers.max_loaded", "must be at least %d, the number of pinned adapters in adapters.list", pinned)
	}
	for i, composition := range c.Compositions {
		if n := len(composition.Parts); n > most {
			k.add(index("compositions", i)+".parts", "has %d adapters, but workers.max_loaded lets a worker have %d", n, most)
		}
	}
}

func (k *checker) sources(s *Sources) {
	if s.MaxSize <= 0 {
		k.add("sources.max_size", "must be more than 0")
	}
	u, err := url.Parse(s.HuggingFace.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" ||
		u.Fragment != "" {
		k.add("sources.huggingface.endpoint", "must be a URL such as https://huggingface.co")
	}
	k.token("sources.huggingface.token", s.HuggingFace.Token)
	if e := s.S3.Endpoint; e != "" && !isHost(e) {
		k.add("sources.s3.endpoint", "must be host or host:port, as in minio:9000; sources.s3.insecure says whether it is "+
			"http")
	}
	if r := s.S3.Region; r != "" && !hostname.MatchString(r) {
		k.add("sources.s3.region", "must be a region's name, such as us-east-1")
	}
}

// isHost reports whether s is a host, or a host and a port.
func isHost(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return hostname.MatchString(s)
	}
	_, err = strconv.ParseUint(port, 10, 16)
	_, notAddr := netip.ParseAddr(host)
	return err == nil && (notAddr == nil || hostname.MatchString(host))
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

// aliases checks the further names of a model, an adapter or a composition.
func (k *checker) aliases(key string, aliases []string, own, kind string) {
	for i, alias := range aliases {
		if at := index(key, i); alias != "" && alias == own {
			k.add(at, "is the %s's own name", kind)
		} else {
			k.name(at, alias, "a further name of the "+kind)
		}
	}
}

const maxName = 128

// checkName says what keeps name from being the name of a model.
func checkName(name string) error {
	for i, c := range name {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		switch {
		case letter:
		case c == '@' || c == '+':
			return fmt.Errorf("%q is not allowed in names: requests compose adapters with it", c)
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
