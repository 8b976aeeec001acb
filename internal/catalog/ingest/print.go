package ingest

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// printOf tells one state of a file from another without reading it.
func printOf(path string) (string, error) {
	state, err := store.StateOf(path)
	if err != nil {
		return "", err
	}
	if state.Unsure(time.Now()) {
		return state.String() + unsure, nil
	}
	return state.String(), nil
}

// unsure marks a print with which the file may have other bytes soon. Later it has another
// print, and is read once more.
const unsure = " unsure"

// touched comes before how often a file was written while the gateway watched. A print with
// it changes even where the file system keeps no times and numbers that would tell.
const touched = " written "

// printOfFolder is printOf for a folder with a PEFT adapter.
func printOfFolder(path string) (string, error) {
	config, err := printOf(filepath.Join(path, configName))
	if err != nil {
		return "", err
	}
	weights, _ := printOf(filepath.Join(path, weightsName)) // not there yet, perhaps
	return strings.Join([]string{config, weights, store.LinkTarget(path)}, " "), nil
}

// The files of a PEFT adapter.
const (
	configName  = "adapter_config.json"
	weightsName = "adapter_model.safetensors"
)

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
const judgement = 2

// prints tell whether getting a source once more would bring anything new.
type prints struct {
	base string // the base model's path
}

// outcome stands for what was read and made: the base, the source, and the stored bytes of
// the version that answers since, nil if there is none. While it stays the same, the source
// would bring nothing new. It is "" if that cannot be told.
func (p prints) outcome(source string, v *lora.Version) string {
	base, err := printOf(p.base)
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

// unchanged reports whether what was kept of a model before a restart is what its source,
// which has that print now, would bring. fits tells whether a worker can load a file of a
// size.
func (p prints) unchanged(kept *records.Entry, source, print string, fits func(size int64) error) bool {
	if kept == nil || kept.Print == "" || kept.Unfinished || kept.Source != source {
		return false
	}
	v := kept.Latest()
	return (v == nil || fits(v.Bytes) == nil) && kept.Print == p.outcome(print, v)
}
