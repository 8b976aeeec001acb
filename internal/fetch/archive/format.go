package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/loragate/loragate/internal/fetch/failure"
)

// Format is what a file is.
type Format int

const (
	Unknown Format = iota
	GGUF
	Zip
	Tar
	Gzip // a tar in gzip
)

func (f Format) String() string {
	return [...]string{"a file of an unknown kind", "a GGUF file", "a zip archive", "a tar archive", "a gzip file"}[f]
}

// Formats lists for people what a file may be called.
const Formats = ".gguf, .zip, .tar, .tar.gz or .tgz"

// ByName tells a format from a file's name.
func ByName(name string) Format {
	name = strings.ToLower(name)
	for suffix, f := range map[string]Format{
		".gguf": GGUF, ".zip": Zip, ".tar": Tar, ".tar.gz": Gzip, ".tgz": Gzip,
	} {
		if strings.HasSuffix(name, suffix) {
			return f
		}
	}
	return Unknown
}

// ByContent tells a format from a file's first bytes.
func ByContent(head []byte) Format {
	switch {
	case bytes.HasPrefix(head, []byte("GGUF")):
		return GGUF
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return Tar
	}
	return Unknown
}

// Settle decides what the file at path, known to users as what, is. If its name
// promises a format, its content must keep the promise.
func Settle(what, name, path string) (Format, error) {
	file, err := os.Open(path)
	if err != nil {
		return Unknown, failure.OnDisk(what, err)
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, 512)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Unknown, failure.OnDisk(what, err)
	}
	head = head[:n]
	promised, is := ByName(name), ByContent(head)
	switch {
	case promised == Unknown && is == Unknown:
		return Unknown, failure.BadContent.New("%s: %s is neither a GGUF file nor a .zip or .tar archive",
			what, describe(head))
	case promised == Unknown, promised == is:
		return is, nil
	case promised == Tar && is == Unknown && n == len(head):
		return Tar, nil // tars from before POSIX have no mark
	}
	return Unknown, failure.BadContent.New("%s: it is called %s but is %s", what, filepath.Base(name), describe(head))
}

// describe says what a file looks like, given its first bytes. A web page
// in a file's place is the usual mistake: a login, or a page about the file.
func describe(head []byte) string {
	text := strings.ToLower(string(bytes.TrimSpace(head)))
	switch f := ByContent(head); {
	case len(head) == 0:
		return "an empty file"
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return "a web page"
	case strings.HasPrefix(text, "version https://git-lfs"):
		return "a Git LFS pointer instead of the file itself"
	default:
		return f.String()
	}
}
