package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Origin is what is known of a source whose bytes were stored.
type Origin struct {
	Source    string // for people
	Validator string // equal to the source's while that has not changed; "" is never equal
	Digest    string // SHA-256 of the source's bytes, or of the most important file of several
	Whole     bool   // Digest covers all that the blob was made of
	Maker     string // who made the blob of the source's bytes; "": it has them as they are
	Blob      string // the digest of the blob
}

// Origins remember where blobs came from, one file for each source, so that what has not
// changed is not fetched again. It is safe for concurrent use.
type Origins struct {
	dir string

	mu    sync.Mutex
	byKey map[string]Origin
}

// openOrigins reads what an earlier process remembered, and forgets origins of blobs that
// are not there any more. What cannot be read is forgotten, too: its source is fetched again.
func openOrigins(dir string, exists func(digest string) bool) *Origins {
	o := &Origins{dir: dir, byKey: map[string]Origin{}}
	found, _ := os.ReadDir(dir)
	for _, f := range found {
		path := filepath.Join(dir, f.Name())
		key, ok := strings.CutSuffix(f.Name(), ".json")
		raw, err := os.ReadFile(path)
		var origin Origin
		if !ok || err != nil || json.Unmarshal(raw, &origin) != nil || !exists(origin.Blob) {
			_ = os.Remove(path)
			continue
		}
		o.byKey[key] = origin
	}
	return o
}

// Recall returns what is known of a source. Its blob may have been deleted since.
func (o *Origins) Recall(key string) (Origin, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	origin, ok := o.byKey[key]
	return origin, ok
}

// ByDigest returns the origins of all sources that consist of bytes with that digest.
func (o *Origins) ByDigest(digest string) (list []Origin) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, origin := range o.byKey {
		if origin.Whole && origin.Digest == digest {
			list = append(list, origin)
		}
	}
	return list
}

// Remember notes what is known of a source, in place of what was; key can be a file's name
// and holds no credentials. It waits for the disk. After an error it holds until the process
// ends.
func (o *Origins) Remember(key string, origin Origin) error {
	raw, err := json.Marshal(origin)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byKey[key] = origin
	path := filepath.Join(o.dir, key+".json")
	err = errors.Join(os.MkdirAll(o.dir, 0o700), os.WriteFile(path+".new", raw, 0o600))
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
