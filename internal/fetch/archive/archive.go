// Package archive tells what the file of an adapter is, and unpacks archives: into one folder
// and nowhere else, and to no more bytes than they may have.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// The files of a PEFT adapter.
const (
	PEFTConfig  = "adapter_config.json"
	PEFTWeights = "adapter_model.safetensors"
)

const (
	maxEntries   = 1000
	maxDirectory = 8 << 20  // bytes of a zip's directory, which is held in memory
	tarOverhead  = 16 << 20 // bytes of a tar's headers and padding
)

// unpacker writes an archive's files below one directory and nowhere else.
type unpacker struct {
	ctx     context.Context
	what    string // the source, for people
	left    int64  // bytes that may still be written
	entries int
	root    *os.Root
}

// bad refuses the archive.
func (u *unpacker) bad(format string, args ...any) *failure.Error {
	return failure.BadArchive.New("%s: "+format, append([]any{u.what}, args...)...)
}

// Unpack writes the files of the archive at path below dir, at most so many bytes. what is
// the archive's name for people. It ends with ctx; then, and after any error, some files may
// be there. The error is a *failure.Error.
func Unpack(ctx context.Context, what, path string, is Format, dir string, limit int64) error {
	u := unpacker{ctx: ctx, what: what, left: limit}
	return u.unpack(path, is, dir)
}

func (u *unpacker) unpack(name string, is Format, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return failure.OnDisk(u.what, err)
	}
	defer func() { _ = root.Close() }()
	u.root = root
	file, err := os.Open(name)
	if err != nil {
		return failure.OnDisk(u.what, err)
	}
	defer func() { _ = file.Close() }()
	if is == Zip {
		err = u.unzip(file)
	} else {
		err = u.untar(file, is == Gzip)
	}
	var own *failure.Error
	if err == nil {
		return nil
	}
	if errors.As(err, &own) {
		return own
	}
	if u.ctx.Err() != nil {
		return failure.GivenUp(u.ctx, u.what)
	}
	if errors.Is(err, zip.ErrAlgorithm) {
		return u.bad("the zip is compressed by a method other than deflate; pack it again with that").Because(err)
	}
	return u.bad("the archive is broken (%v); pack it again", err).Because(err)
}

// budget is a file of which only so many bytes may be read while on is true.
type budget struct {
	io.ReaderAt
	left int64
	on   bool
}

var errBudget = errors.New("its directory is too large")

func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.on {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errBudget
		}
	}
	return b.ReaderAt.ReadAt(p, at)
}

func (u *unpacker) unzip(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return failure.OnDisk(u.what, err)
	}
	b := &budget{file, maxDirectory, true}
	z, err := zip.NewReader(b, info.Size())
	if err != nil {
		return err
	}
	b.on = false
	if u.entries += len(z.File); u.entries > maxEntries {
		return u.tooMany()
	}
	for _, f := range z.File {
		if err := u.unzipOne(f); err != nil {
			return err
		}
	}
	return nil
}

// unzipOne unpacks an entry. Some of Windows' tools write \ between the parts of a name,
// where the format has /.
func (u *unpacker) unzipOne(f *zip.File) error {
	name := strings.ReplaceAll(f.Name, "\\", "/")
	isDir := f.Mode().IsDir() || strings.HasSuffix(name, "/")
	if err := u.check(name, f.Mode().IsRegular() || isDir); err != nil {
		return err
	}
	if isDir {
		return u.mkdir(name)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return u.write(name, r)
}

// bounded fails once more than left bytes were read.
type bounded struct {
	r    io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}

func (u *unpacker) untar(file *os.File, packed bool) error {
	r := store.UntilDone(u.ctx, file)
	if !packed {
		return u.entriesOf(r)
	}
	z, err := gunzip(r)
	if err != nil {
		return err
	}
	// Headers do not count as written, and a bomb may be made of them.
	r = &bounded{z, u.left + tarOverhead, u.tooLarge()}
	if err := u.entriesOf(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // the checksum is behind the tar's end, where nobody has looked yet
	return err
}

// members reads the members of a gzip one after the other. What follows them and is none means
// nothing, as to the gzip command.
type members struct {
	from  *bufio.Reader
	z     *gzip.Reader
	ended bool
}

func gunzip(r io.Reader) (*members, error) {
	m := &members{from: bufio.NewReader(r)}
	var err error
	if m.z, err = gzip.NewReader(m.from); err != nil {
		return nil, err
	}
	m.z.Multistream(false)
	return m, nil
}

func (m *members) Read(p []byte) (int, error) {
	if m.ended {
		return 0, io.EOF
	}
	n, err := m.z.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if m.z.Reset(m.from) != nil {
		m.ended = true
		return n, io.EOF
	}
	m.z.Multistream(false)
	return n, nil
}

// entriesOf unpacks the entries of a tar.
func (u *unpacker) entriesOf(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if u.entries++; u.entries > maxEntries {
			return u.tooMany()
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		isDir := h.Typeflag == tar.TypeDir
		if err := u.check(h.Name, isDir || h.Typeflag == tar.TypeReg); err != nil {
			return err
		}
		if isDir {
			err = u.mkdir(h.Name)
		} else {
			err = u.write(h.Name, t)
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) tooMany() *failure.Error {
	return u.bad("the archive has more than %d entries; pack only the adapter", maxEntries)
}

// drive begins an absolute path of Windows.
var drive = regexp.MustCompile(`^[A-Za-z]:`)

// check refuses what an adapter's archive has no need of: os.Root would keep
// most of it inside, but whoever packed it meant something else.
func (u *unpacker) check(name string, plain bool) error {
	if !plain {
		return u.bad("%.100q in the archive is neither a file nor a folder; pack without links", name)
	}
	if strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(name) || strings.Contains("/"+name+"/", "/../") ||
		drive.MatchString(name) {
		return u.bad("the name %.100q in the archive leads out of it", name)
	}
	return nil
}

func (u *unpacker) mkdir(name string) error {
	name = path.Clean(name)
	if name == "." {
		return nil
	}
	return u.explain(name, u.root.MkdirAll(name, 0o700))
}

// write unpacks one file.
func (u *unpacker) write(name string, r io.Reader) error {
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	file, err := u.root.OpenFile(path.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return u.explain(name, err)
	}
	err = u.copy(file, r)
	if err == nil {
		err = u.explain(name, file.Sync())
	}
	return errors.Join(err, u.explain(name, file.Close()))
}

func (u *unpacker) copy(file io.Writer, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if u.left -= int64(n); u.left < 0 {
			return u.tooLarge()
		}
		if _, err := file.Write(buf[:n]); err != nil {
			return failure.OnDisk(u.what, err)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacker) tooLarge() *failure.Error {
	return failure.TooLarge.New("%s: unpacked, it is larger than an adapter may be", u.what)
}

// explain tells a full disk from names that do not go together, such as a file
// that is listed twice, or a file where a folder is.
func (u *unpacker) explain(name string, err error) error {
	if err == nil {
		return nil
	}
	if e := failure.OnDisk(u.what, err); e.Code == failure.DiskFull {
		return e
	}
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err // without this machine's paths
	}
	return u.bad("%.100q in the archive cannot be unpacked: %v", name, err).Because(err)
}

// Pick finds the one adapter below dir: at the top, or in the only folder. It
// returns its path below dir.
func Pick(what, dir string) (found string, peft bool, err error) {
	below := ""
	for {
		entries, err := os.ReadDir(filepath.Join(dir, below))
		if err != nil {
			return "", false, failure.OnDisk(what, err)
		}
		var ggufs, folders []string
		peft := false
		for _, e := range entries {
			switch name := e.Name(); {
			case strings.HasPrefix(name, "."), name == "__MACOSX":
			case e.IsDir():
				folders = append(folders, name)
			case name == PEFTConfig:
				peft = true
			case ByName(name) == GGUF:
				ggufs = append(ggufs, name)
			}
		}
		switch {
		case peft && len(ggufs) == 0:
			return below, true, nil
		case !peft && len(ggufs) == 1:
			return filepath.Join(below, ggufs[0]), false, nil
		case peft || len(ggufs) > 1:
			return "", false, failure.BadArchive.New("%s: the archive holds more than one adapter; pack one", what)
		case below == "" && len(folders) == 1:
			below = folders[0]
		default:
			return "", false, failure.BadArchive.New(
				"%s: the archive holds no adapter: neither a .gguf file nor %s, at the top or in its only folder",
				what, PEFTConfig)
		}
	}
}
