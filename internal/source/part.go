package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
)

// part is a file that is being downloaded, with a sidecar that says of what, so
// that another process can go on with it. It knows the hash of what it holds.
type part struct {
	sidecar
	file    *os.File
	name    string
	size    int64 // bytes written
	sum     hash.Hash
	resumed bool // it was put together from more than one answer
}

// sidecar is what a part's bytes belong to.
type sidecar struct {
	Source string // for people
	ETag   string // the version that the bytes are of; "" is not known
	SHA256 string // what the whole file must have; "" is not known
	Total  int64  // the whole file's size; -1 is not known
}

// openPart opens the part called name, empty unless it is of the version that
// want describes.
func openPart(name string, want sidecar, open func(string, int, os.FileMode) (*os.File, error)) (*part, error) {
	file, err := open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &part{file: file, name: name, sum: sha256.New(), sidecar: sidecar{Source: want.Source, SHA256: want.SHA256, Total: -1}}
	var had sidecar
	raw, err := os.ReadFile(name + ".json")
	if err == nil && json.Unmarshal(raw, &had) == nil && had.SHA256 == want.SHA256 {
		p.size, err = io.Copy(p.sum, file)
		p.ETag, p.Total, p.resumed = had.ETag, had.Total, p.size > 0
	}
	if err != nil || p.size == 0 || !p.canGoOn() {
		err = p.reset()
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return p, nil
}

// canGoOn tells whether more bytes can be asked for and be known to belong to
// those that are there: by a strong ETag, or by the hash at the end.
func (p *part) canGoOn() bool { return isStrong(p.ETag) || p.SHA256 != "" }

// reset throws all bytes away.
func (p *part) reset() error {
	p.size, p.resumed, p.ETag, p.Total = 0, false, "", -1
	p.sum.Reset()
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if info, err := p.file.Stat(); err != nil || info.Size() == 0 {
		return err
	}
	return p.file.Truncate(0)
}

// describe notes which version the bytes are of.
func (p *part) describe(etag string, total int64) error {
	if etag != "" {
		p.ETag = etag
	}
	p.Total = total
	raw, err := json.Marshal(p.sidecar)
	if err != nil {
		return err
	}
	return os.WriteFile(p.name+".json", raw, 0o600)
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	return n, err
}

func (p *part) digest() string { return hex.EncodeToString(p.sum.Sum(nil)) }

// finish makes the bytes durable.
func (p *part) finish() error { return errors.Join(p.file.Sync(), p.file.Close()) }
