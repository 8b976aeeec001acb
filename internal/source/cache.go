package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// meta is what the cache remembers of an entry, in its directory's meta.json.
// When it was last used is that file's modification time.
type meta struct {
	Key       string    // the source's, see cacheKey
	Source    string    // for people
	Validator string    // equal to the source's while that has not changed; "" is never equal
	Digest    string    // see the package's documentation; "" is not known
	Whole     bool      // Digest covers all of the entry, not only a PEFT adapter's weights
	Path      string    // the adapter, below the entry's directory
	PEFT      bool      // Path is a directory
	Bytes     int64     // all files of the entry
	Created   time.Time // of a source's entries the newest counts
}

// entry is an adapter in the cache. cache.mu guards uses, used and stale; the
// rest never changes.
type entry struct {
	meta
	dir   string
	uses  int       // artifacts and fetches that need it
	used  time.Time // last
	stale bool      // a newer one of the same source is there
}

// cache keeps fetched adapters below dir: entries/ has complete ones, partial/
// downloads that may be resumed, tmp/ what is being put together. An entry
// appears in entries/ by one rename, and is never changed there.
type cache struct {
	dir   string
	limit int64 // bytes
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	entries []*entry
}

const (
	metaFile   = "meta.json"
	filesDir   = "files"
	partialAge = 7 * 24 * time.Hour // after that nobody resumes it any more
)

// cacheKey is the name of a source in the cache: without the credentials that
// its address may hold.
func cacheKey(r Ref) string {
	sum := sha256.Sum256([]byte(r.identity()))
	return hex.EncodeToString(sum[:16])
}

func openCache(dir string, limit int64, log *slog.Logger, now func() time.Time) (*cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, diskError(dir, err)
	}
	c := &cache{dir: dir, limit: limit, log: log, now: now}
	err = Empty(filepath.Join(dir, "tmp"))
	for _, sub := range []string{"entries", "partial"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	if err != nil {
		return nil, diskError(dir, err)
	}
	c.scan()
	c.dropOldPartials()
	c.mu.Lock()
	c.trim(0)
	c.mu.Unlock()
	return c, nil
}

// Empty makes a folder that has nothing in it. One that is there stays: on a full disk
// there would be no room for another.
func Empty(dir string) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	for _, f := range found {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
	}
	return err
}

// scan finds the entries that an earlier process made, and removes what is none.
func (c *cache) scan() {
	newest := map[string]*entry{}
	found, _ := os.ReadDir(filepath.Join(c.dir, "entries"))
	for _, d := range found {
		dir := filepath.Join(c.dir, "entries", d.Name())
		e, err := loadEntry(dir)
		if err != nil {
			c.log.Warn("removing a broken cache entry", "dir", dir, "error", err)
			_ = os.RemoveAll(dir)
			continue
		}
		c.entries = append(c.entries, e)
		old := newest[e.Key]
		switch {
		case old == nil:
			newest[e.Key] = e
		case old.Created.Before(e.Created):
			old.stale, newest[e.Key] = true, e
		default:
			e.stale = true
		}
	}
}

func loadEntry(dir string) (*entry, error) {
	e := &entry{dir: dir}
	name := filepath.Join(dir, metaFile)
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &e.meta); err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	e.used = info.ModTime()
	bytes, err := sizeOf(filepath.Join(dir, filesDir))
	if err == nil && (bytes != e.Bytes || e.Key == "" || !filepath.IsLocal(e.Path)) {
		err = errors.New("the files are not those that were written")
	}
	return e, err
}

// sizeOf sums the sizes of all files below dir.
func sizeOf(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

func (c *cache) dropOldPartials() {
	found, _ := os.ReadDir(filepath.Join(c.dir, "partial"))
	for _, d := range found {
		if info, err := d.Info(); err == nil && c.now().Sub(info.ModTime()) > partialAge {
			_ = os.RemoveAll(filepath.Join(c.dir, "partial", d.Name()))
		}
	}
}

// partial returns the directory for the downloads of a source.
func (c *cache) partial(key string) string { return filepath.Join(c.dir, "partial", key) }

// scratch makes an empty directory that does not outlive this process.
func (c *cache) scratch() (string, error) {
	return os.MkdirTemp(filepath.Join(c.dir, "tmp"), "")
}

// latest returns the newest entry of a source, in use; nil if there is none.
func (c *cache) latest(key string) *entry {
	return c.find(func(e *entry) bool { return e.Key == key })
}

// byDigest returns an entry that digest describes wholly, in use; nil if there
// is none. Which source it came from does not matter: the bytes are the same.
func (c *cache) byDigest(digest string) *entry {
	if digest == "" {
		return nil
	}
	return c.find(func(e *entry) bool { return e.Whole && e.Digest == digest })
}

func (c *cache) find(match func(*entry) bool) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if !e.stale && match(e) {
			e.uses++
			c.touch(e)
			return e
		}
	}
	return nil
}

// use adds n uses of an entry that is in use.
func (c *cache) use(e *entry, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.uses += n
}

// release takes one use back.
func (c *cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.uses--
	c.touch(e)
	c.trim(0)
}

// touch notes the use of e, on disk as well so that it survives a restart.
// c.mu is held.
func (c *cache) touch(e *entry) {
	e.used = c.now()
	_ = os.Chtimes(filepath.Join(e.dir, metaFile), e.used, e.used)
}

// add makes an entry of the directory dir, whose files are below files/. It
// takes dir over, and returns the entry in use. Older ones of the same source
// go as soon as nobody uses them.
func (c *cache) add(dir string, m meta) (*entry, error) {
	var err error
	if m.Bytes, err = sizeOf(filepath.Join(dir, filesDir)); err != nil {
		return nil, err
	}
	m.Created = c.now()
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(dir, metaFile), raw); err != nil {
		return nil, err
	}
	e := &entry{meta: m, dir: filepath.Join(c.dir, "entries", m.Key+"-"+filepath.Base(dir)), uses: 1}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.Rename(dir, e.dir); err != nil {
		return nil, err
	}
	for _, old := range c.entries {
		old.stale = old.stale || old.Key == m.Key
	}
	c.entries = append(c.entries, e)
	c.touch(e)
	c.trim(0)
	return e, nil
}

func writeSynced(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// makeRoom evicts what must go so that n more bytes fit.
func (c *cache) makeRoom(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim(n)
}

// trim evicts until need more bytes fit, or nothing more can go. c.mu is held.
func (c *cache) trim(need int64) {
	for _, e := range victims(c.entries, c.limit-need) {
		c.log.Info("evicting a cached adapter", "source", e.Source, "bytes", e.Bytes)
		c.entries = slices.DeleteFunc(c.entries, func(x *entry) bool { return x == e })
		// First out of entries/: a crash while removing leaves no broken entry.
		gone := filepath.Join(c.dir, "tmp", "evicted-"+filepath.Base(e.dir))
		if err := os.Rename(e.dir, gone); err != nil {
			gone = e.dir
		}
		if err := os.RemoveAll(gone); err != nil {
			c.log.Warn("cannot remove a cached adapter", "dir", gone, "error", err)
		}
	}
}

// victims decides which entries go so that at most limit bytes stay: all stale
// ones, then those not used for the longest. None that is in use goes.
func victims(entries []*entry, limit int64) []*entry {
	var idle, out []*entry
	var sum int64
	for _, e := range entries {
		sum += e.Bytes
		if e.uses == 0 {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int {
		if a.stale != b.stale {
			if a.stale {
				return -1
			}
			return 1
		}
		return a.used.Compare(b.used)
	})
	for _, e := range idle {
		if !e.stale && sum <= limit {
			break
		}
		sum -= e.Bytes
		out = append(out, e)
	}
	return out
}
