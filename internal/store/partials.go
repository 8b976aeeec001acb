package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// partialAge is how long a download is kept that nobody goes on with.
const partialAge = 7 * 24 * time.Hour

// Partials are downloads that are not complete, in one folder for each source. A source's
// are used by one goroutine at a time.
type Partials struct{ dir string }

// openPartials removes those that nobody goes on with any more.
func openPartials(dir string, now time.Time) *Partials {
	found, _ := os.ReadDir(dir)
	for _, d := range found {
		if info, err := d.Info(); err == nil && now.Sub(info.ModTime()) > partialAge {
			_ = os.RemoveAll(filepath.Join(dir, d.Name()))
		}
	}
	return &Partials{dir}
}

// Dir makes the folder of a source's downloads; key names the source and can be a file's
// name.
func (p *Partials) Dir(key string) (string, error) {
	dir := filepath.Join(p.dir, key)
	return dir, os.MkdirAll(dir, 0o700)
}

// Remove removes a source's downloads.
func (p *Partials) Remove(key string) { _ = os.RemoveAll(filepath.Join(p.dir, key)) }

// Partial is a file that is being written, with a sidecar that says of what, so that another
// process can go on with it. It knows the digest of what it holds.
type Partial struct {
	Sidecar
	Size    int64 // bytes that are there
	Resumed bool  // they were put together from more than one answer

	file *os.File
	sum  hash.Hash
}

// Sidecar is what a partial file's bytes belong to.
type Sidecar struct {
	Source string // for people
	ETag   string // the version that the bytes are of; "" is not known
	SHA256 string // what the whole file must have; "" is not known
	Total  int64  // the whole file's size; -1 is not known
}

// OpenPartial opens the partial file at path, empty unless it is of the version that want
// describes: its Source and SHA256 count. Close must be called.
func OpenPartial(path string, want Sidecar) (*Partial, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Partial{file: file, sum: sha256.New(), Sidecar: Sidecar{Source: want.Source, SHA256: want.SHA256, Total: -1}}
	var had Sidecar
	raw, err := os.ReadFile(path + sidecarSuffix)
	if err == nil && json.Unmarshal(raw, &had) == nil && had.SHA256 == want.SHA256 {
		p.Size, err = io.Copy(p.sum, file)
		p.ETag, p.Total, p.Resumed = had.ETag, had.Total, p.Size > 0
	}
	if err != nil || p.Size == 0 || !p.CanGoOn() {
		err = p.Reset()
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return p, nil
}

const sidecarSuffix = ".json"

// CanGoOn reports whether more bytes can be asked for and be known to belong to those that
// are there: by a strong ETag, or by the digest at the end.
func (p *Partial) CanGoOn() bool { return strings.HasPrefix(p.ETag, `"`) || p.SHA256 != "" }

// Reset throws all bytes away.
func (p *Partial) Reset() error {
	p.Size, p.Resumed, p.ETag, p.Total = 0, false, "", -1
	p.sum.Reset()
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if info, err := p.file.Stat(); err != nil || info.Size() == 0 {
		return err
	}
	return p.file.Truncate(0)
}

// Describe notes which version the bytes are of, for a process that goes on with them.
func (p *Partial) Describe(etag string, total int64) error {
	if etag != "" {
		p.ETag = etag
	}
	p.Total = total
	raw, err := json.Marshal(p.Sidecar)
	if err != nil {
		return err
	}
	return os.WriteFile(p.file.Name()+sidecarSuffix, raw, 0o600)
}

// Write adds bytes.
func (p *Partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.sum.Write(b[:n])
	p.Size += int64(n)
	return n, err
}

// Digest returns the SHA-256 of the bytes that are there, in hex.
func (p *Partial) Digest() string { return hex.EncodeToString(p.sum.Sum(nil)) }

// Close leaves the bytes for another time; the error is of a disk that does not have them.
func (p *Partial) Close() error { return errors.Join(p.file.Sync(), p.file.Close()) }

// Discard closes the file and removes it.
func (p *Partial) Discard() {
	_ = p.file.Close()
	_ = os.Remove(p.file.Name())
	_ = os.Remove(p.file.Name() + sidecarSuffix)
}
