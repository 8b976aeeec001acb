package source

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// format is what a file is.
type format int

const (
	unknown format = iota
	gguf
	zipped
	tarred
	gzipped // a tar in gzip
)

func (f format) String() string {
	return [...]string{"a file of an unknown kind", "a GGUF file", "a zip archive", "a tar archive", "a gzip file"}[f]
}

const formats = ".gguf, .zip, .tar, .tar.gz or .tgz"

// byName tells a format from a file's name.
func byName(name string) format {
	name = strings.ToLower(name)
	for suffix, f := range map[string]format{
		".gguf": gguf, ".zip": zipped, ".tar": tarred, ".tar.gz": gzipped, ".tgz": gzipped,
	} {
		if strings.HasSuffix(name, suffix) {
			return f
		}
	}
	return unknown
}

// byContent tells a format from a file's first bytes.
func byContent(head []byte) format {
	switch {
	case bytes.HasPrefix(head, []byte("GGUF")):
		return gguf
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipped
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return tarred
	}
	return unknown
}

// settle decides what the file at path, known to users as what, is. If its name
// promises a format, its content must keep the promise.
func settle(what, name, path string) (format, error) {
	file, err := os.Open(path)
	if err != nil {
		return unknown, diskError(what, err)
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, 512)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return unknown, diskError(what, err)
	}
	head = head[:n]
	promised, is := byName(name), byContent(head)
	switch {
	case promised == unknown && is == unknown:
		return unknown, fail(BadContent, "%s: %s is neither a GGUF file nor a .zip or .tar archive", what, describe(head))
	case promised == unknown, promised == is:
		return is, nil
	case promised == tarred && is == unknown && n == len(head):
		return tarred, nil // tars from before POSIX have no mark
	}
	return unknown, fail(BadContent, "%s: it is called %s but is %s", what, filepath.Base(name), describe(head))
}

// describe says what a file looks like, given its first bytes. A web page
// in a file's place is the usual mistake: a login, or a page about the file.
func describe(head []byte) string {
	text := strings.ToLower(string(bytes.TrimSpace(head)))
	switch f := byContent(head); {
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

// parseDigest returns the hex of a SHA-256, in lower case; "" for none.
func parseDigest(digest string) (string, error) {
	bare := strings.ToLower(strings.TrimPrefix(digest, "sha256:"))
	if raw, err := hex.DecodeString(bare); digest != "" && (err != nil || len(raw) != 32) {
		return "", fail(BadSource, "the digest %q is not a SHA-256: give 64 hex digits, with or without sha256: in front", digest)
	}
	return bare, nil
}

func mismatch(what, got, want string) *Error {
	return fail(DigestMismatch, "%s: its SHA-256 is %s, but %s was asked for; the file was changed, or the digest is another file's", what, got, want)
}
