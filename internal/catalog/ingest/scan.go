package ingest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/store"
)

// suffixes are those of files that can be adapters, in any case, longest first.
var suffixes = []string{".tar.gz", ".gguf", ".zip", ".tar", ".tgz"}

// scan returns what is in a directory and is an adapter or may be meant to be one, by file
// name.
func scan(dir string) ([]records.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []records.File
	for _, entry := range entries {
		if f, ok := fileAt(filepath.Join(dir, entry.Name())); ok {
			list = append(list, f)
		}
	}
	return list, nil
}

// fileAt returns what is at a path, unless that plainly is not meant to be an adapter.
func fileAt(path string) (records.File, bool) {
	base := filepath.Base(path)
	if strings.HasPrefix(base, ".") {
		return records.File{}, false
	}
	f := records.File{Name: base, Path: path}
	print, err := printOfFolder(path)
	if err != nil {
		for _, suffix := range suffixes {
			if at := len(base) - len(suffix); at >= 0 && strings.EqualFold(base[at:], suffix) {
				f.Name = base[:at]
				print, err = printOf(path)
				break
			}
		}
	}
	switch {
	case err == nil:
		f.Print = print
		return f, true
	case !absent(err):
		f.Unsure, f.Refused = true, "it cannot be looked at: "+cause(err)
	default:
		f.Name, f.Refused = base, odd(path)
	}
	f.Print = f.Refused
	return f, f.Refused != ""
}

// absent reports whether an error says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, store.ErrNotRegular)
}

// sameFile reports whether the file of a pending version is as it was when that became due.
func sameFile(p *records.Pending) bool {
	now, ok := fileAt(p.Source)
	before, _, _ := strings.Cut(p.Print, touched)
	return ok && now.Print == before
}
