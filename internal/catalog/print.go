package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/lora"
)

var errNotRegular = errors.New("not a regular file")

// printOf tells one state of a file from another without reading it: by its size, when
// its bytes and when anything of it changed last, and its number on the disk.
func printOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", errNotRegular
	}
	return fmt.Sprint(st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino), nil
}

// printOfFolder is printOf for a folder with a PEFT adapter.
func printOfFolder(path string) (string, error) {
	config, err := printOf(filepath.Join(path, "adapter_config.json"))
	if err != nil {
		return "", err
	}
	weights, _ := printOf(filepath.Join(path, "adapter_model.safetensors")) // not there yet, perhaps
	return config + " " + weights, nil
}

// sourcePrint is the print of a source that is on this machine, "" for others and for
// what is not there.
func sourcePrint(source string) string {
	if !filepath.IsAbs(source) {
		return ""
	}
	if print, err := printOfFolder(source); err == nil {
		return print
	}
	print, _ := printOf(source)
	return print
}

// judgement counts the ways in which adapters have been judged: what an older one took
// for good is read again.
const judgement = 1

// print stands for what an intake read and made: the base, the source, and the stored
// bytes of the version that answers since, nil if there is none. While it stays the same,
// another would bring nothing new. It is "" if that cannot be told.
func (c *Catalog) print(source string, v *lora.Version) string {
	base, err := printOf(c.opts.BasePath)
	if err != nil || source == "" {
		return ""
	}
	stored := "none"
	if v != nil {
		if stored, err = printOf(v.Path); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%d|%s|%s|%s", judgement, base, source, stored)
}

// unchanged reports whether what was kept of a model before a restart is what an intake
// of its source, which has that print now, would bring.
func (c *Catalog) unchanged(past *entry, source, print string) bool {
	if past == nil || past.print == "" || past.unfinished || past.spec.Source != source {
		return false
	}
	v := past.latest()
	return (v == nil || c.fits(v.Bytes) == nil) && past.print == c.print(print, v)
}
