package adminclient

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/loragate/loragate/internal/adminapi"
)

// Upload is an adapter that is sent rather than fetched by the gateway.
type Upload struct {
	Filename string              // its ending says what the body is
	Body     io.Reader           // of a GGUF file or an archive; it is closed if it can be
	Size     int64               // of Body in bytes; negative is not known
	Put      adminapi.PutRequest // without Source and Parts
	// Progress is told the bytes of Body that were sent, from another goroutine. It
	// may be nil.
	Progress func(sent int64)
}

// Upload sends an adapter. It returns when the gateway has taken or refused it.
func (c *Client) Upload(ctx context.Context, name string, up Upload) (adminapi.Adapter, error) {
	body := &sending{from: up.Body, told: up.Progress}
	defer body.Close()
	var a adminapi.Adapter
	path, err := adapterPath(name)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base.String()+path+"/file?"+uploadQuery(up).Encode(),
		body)
	if err != nil {
		return a, err
	}
	req.ContentLength = up.Size // -1 is not known
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // a refusal comes before the bytes are sent
	err = c.do(req, &a)
	var refusal *Error
	if cause := body.failure(); err != nil && cause != nil && !errors.As(err, &refusal) {
		return a, cause
	}
	return a, err
}

func uploadQuery(up Upload) url.Values {
	q := url.Values{"filename": {up.Filename}}
	set := func(key, value string, isSet bool) {
		if isSet {
			q.Set(key, value)
		}
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	p := up.Put
	set("digest", p.Digest, p.Digest != "")
	set("scale", number(p.Scale), p.Scale != 0)
	set("pin", "true", p.Pin)
	set("preload", "true", p.Preload)
	for name, value := range p.Fields() {
		switch value := value.(type) {
		case *string:
			set(name, *value, *value != "")
		case *[]string:
			q[name] = *value
		case *float64:
			set(name, number(*value), *value != 0)
		case *int:
			set(name, strconv.Itoa(*value), *value != 0)
		}
	}
	return q
}

// sending is the body of an upload. It may be closed, several times, while it is
// read.
type sending struct {
	from io.Reader
	told func(sum int64) // may be nil; not called any more once Close has returned

	mu     sync.Mutex
	sum    int64
	err    error // why from could not be read, if that is not because of Close
	closed bool
}

func (s *sending) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return n, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	if s.sum += int64(n); n > 0 && s.told != nil {
		s.told(s.sum)
	}
	return n, err
}

func (s *sending) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if file, ok := s.from.(io.Closer); ok && !closed {
		return file.Close()
	}
	return nil
}

func (s *sending) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Open opens what is at path, a file or a folder with a PEFT adapter, for an
// Upload. A folder is packed into a .tar.gz while it is read; only the adapter's
// own files in it are sent. progress is told how many bytes of the file or files
// were read, from another goroutine. The caller closes Body if it does not upload
// it.
func Open(path string, progress func(done, total int64)) (Upload, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Upload{}, err
	}
	if info.IsDir() {
		return pack(path, progress)
	}
	if !info.Mode().IsRegular() {
		return Upload{}, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Upload{}, err
	}
	total := info.Size()
	return Upload{
		Filename: filepath.Base(path), Body: f, Size: total,
		Progress: func(sent int64) { progress(sent, total) },
	}, nil
}

// peftFiles are an adapter's own files. Training leaves others beside them that
// can be many times larger.
var peftFiles = []string{"adapter_config.json", "adapter_model.safetensors"}

// pack packs a folder.
func pack(dir string, progress func(done, total int64)) (Upload, error) {
	abs, err := filepath.Abs(dir) // for its name
	if err != nil {
		return Upload{}, err
	}
	var total int64
	for _, name := range peftFiles {
		info, err := os.Stat(filepath.Join(dir, name)) // may be a link: caches consist of them
		if errors.Is(err, os.ErrNotExist) {
			return Upload{}, fmt.Errorf("%s has no %s: it is not a PEFT adapter", dir, name)
		}
		if err != nil {
			return Upload{}, err
		}
		total += info.Size()
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(writeTar(w, dir, func(done int64) { progress(done, total) }))
	}()
	return Upload{Filename: filepath.Base(abs) + ".tar.gz", Body: r, Size: -1}, nil
}

// writeTar ends early when w's reader is closed.
func writeTar(w io.Writer, dir string, told func(done int64)) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // weights hardly shrink
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	done := int64(0)
	for _, name := range peftFiles {
		n, err := addFile(archive, filepath.Join(dir, name), name, func(sum int64) { told(done + sum) })
		if err != nil {
			return err
		}
		done += n
	}
	return errors.Join(archive.Close(), zipped.Close())
}

// counter tells how much was read.
type counter struct {
	io.Reader
	sum  int64
	told func(sum int64)
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if n > 0 {
		c.sum += int64(n)
		c.told(c.sum)
	}
	return n, err
}

// addFile adds a file without what differs from machine to machine: times and
// owners.
func addFile(archive *tar.Writer, path, name string, told func(sum int64)) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644}
	if err := archive.WriteHeader(header); err != nil {
		return 0, err
	}
	n, err := io.Copy(archive, &counter{Reader: f, told: told})
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s changed while it was read", path)
	}
	return n, err
}
