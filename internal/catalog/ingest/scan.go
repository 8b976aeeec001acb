package ingest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/loragate/loragate/internal/catalog/records"
)

// suffixes are those of files that can be adapters, longest first.
var suffixes = []string{".tar.gz", ".gguf", ".zip", ".tar", ".tgz"}

// scan returns what looks like an adapter in a directory, by file name.
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

// fileAt returns what is at a path, if it looks like an adapter.
func fileAt(path string) (records.File, bool) {
	base := filepath.Base(path)
	if strings.HasPrefix(base, ".") {
		return records.File{}, false
	}
	f := records.File{Name: base, Path: path}
	print, err := printOfFolder(path)
	if err == nil {
		f.Print = print
		return f, true
	}
	f.Unsure = !absent(err)
	for _, suffix := range suffixes {
		if name, ok := strings.CutSuffix(base, suffix); ok {
			f.Name = name
			f.Print, err = printOf(path)
			f.Unsure = err != nil && !absent(err)
			return f, err == nil || f.Unsure
		}
	}
	return f, f.Unsure
}

// absent reports whether an error says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errNotRegular)
}

// sameFile reports whether the file of a pending version is as it was when that became due.
func sameFile(p *records.Pending) bool {
	now, ok := fileAt(p.Source)
	return ok && now.Print == p.Print
}
