package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// odd says why what is at a path is not served, and what to do about that; "" for what is
// not meant to be an adapter, or is not there any more. It reads no file.
func odd(at string) string {
	info, err := os.Lstat(at)
	name := strings.ToLower(filepath.Base(at))
	if err != nil || matches(name, besides) {
		return ""
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if info, err = os.Stat(at); err != nil {
			target, _ := os.Readlink(at)
			return fmt.Sprintf("it is a link to %s, where nothing is that can be read: turn it, or remove it", target)
		}
	}
	switch {
	case info.IsDir():
		return oddFolder(at)
	case !info.Mode().IsRegular():
		return "it is neither a file nor a folder: remove it"
	}
	return oddFile(name)
}

// besides are patterns of names, in lower case, of what lies beside adapters.
var besides = []string{"lost+found", "readme*", "license*", "licence*", "notice*", "changelog*", "*.md", "*.txt",
	"*.sha256", "*.sha256sum", "*.md5", "sha256sums*", "thumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin",
	"system volume information"}

// kinds are patterns of files' names, in lower case, and what to do with such.
var kinds = []struct {
	names []string
	do    string
}{
	{[]string{configName, "adapter_model.*"}, "a PEFT adapter is a folder: make one here, whose name is the model's, " +
		"for " + configName + " and " + weightsName},
	{[]string{"*.safetensors"}, "weights alone do not say what they mean: make a folder here with them, as " +
		weightsName + ", and the " + configName + " that the training left beside them"},
	{[]string{"*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"}, "it may be a pickle, which is not read: save the adapter as " +
		"safetensors, and make a folder here with " + weightsName + " and " + configName},
	{[]string{"*.part", "*.partial", "*.filepart", "*.tmp", "*.temp", "*.crdownload", "*.opdownload", "*.download",
		"*.incomplete", "*.aria2", "*~"}, "it is still being written, or was left so: give it its name when it is whole"},
	{[]string{"*.tar.*", "*.tbz2", "*.txz", "*.7z", "*.rar", "*.gz", "*.bz2", "*.xz", "*.zst"}, "archives of this kind " +
		"are not unpacked: pack the adapter as .zip, .tar or .tar.gz"},
	{[]string{"*.gguf.*", "*.gguf-*"}, "it may be a part of a GGUF: put the parts together, as NAME.gguf"},
}

func oddFile(name string) string {
	for _, k := range kinds {
		if matches(name, k.names) {
			return k.do
		}
	}
	return "it is none of .gguf, .zip, .tar, .tar.gz and .tgz: if it is an adapter, give it such a name, else remove it"
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
}

// Bounds on how much of a folder is looked at that is no adapter.
const (
	mostEntries = 1000
	mostFolders = 100
)

// oddFolder is odd for a folder without adapter_config.json.
func oddFolder(at string) string {
	f, err := os.Open(at)
	if err != nil {
		return "the folder cannot be read: " + cause(err)
	}
	defer f.Close()
	entries, _ := f.ReadDir(mostEntries)
	if len(entries) == 0 {
		return "the folder is empty: put " + configName + " and " + weightsName + " into it"
	}
	var names, runs []string
	looked := 0
	for _, entry := range entries {
		if names = append(names, entry.Name()); !entry.IsDir() || looked == mostFolders {
			continue
		}
		looked++
		if info, err := os.Stat(filepath.Join(at, entry.Name(), configName)); err == nil && info.Mode().IsRegular() {
			runs = append(runs, entry.Name())
		}
	}
	if len(runs) > 0 {
		return inFolders(filepath.Base(at), runs)
	}
	return withoutConfig(names)
}

// inFolders is for a folder with adapters in folders of its own, as a trainer's with its
// checkpoints.
func inFolders(name string, runs []string) string {
	number := func(run string) int {
		n, _ := strconv.Atoi(run[strings.LastIndexByte(run, '-')+1:])
		return n
	}
	slices.SortFunc(runs, func(a, b string) int { return cmp.Or(number(a)-number(b), strings.Compare(a, b)) })
	last, more := runs[len(runs)-1], ""
	if len(runs) > 1 {
		more = fmt.Sprintf(" and in %d more", len(runs)-1)
	}
	return fmt.Sprintf("the folder is none of an adapter, there is one in its %s%s: move that into adapters.dir, or link "+
		"it there, as by ln -s %s NAME", last, more, path.Join(name, last))
}

// withoutConfig is for a folder with files of those names.
func withoutConfig(names []string) string {
	slices.Sort(names)
	first := func(patterns ...string) string {
		i := slices.IndexFunc(names, func(name string) bool { return matches(strings.ToLower(name), patterns) })
		if i < 0 {
			return ""
		}
		return names[i]
	}
	switch name := first("adapters.safetensors"); {
	case name != "":
		return "the folder is of MLX, whose adapters are not PEFT's: merge it into the base with mlx_lm.fuse, or convert " +
			"it to PEFT's form"
	case first("config.json") != "" && first("model*.safetensors", "pytorch_model*.bin") != "":
		return "the folder is a whole model, not a LoRA adapter: the base is named by model.path, as a GGUF"
	}
	if name := first("*.gguf", "*.zip", "*.tar", "*.tar.gz", "*.tgz"); name != "" {
		return "folders in adapters.dir are not searched: move its " + name + " to adapters.dir itself"
	}
	if name := first("*.safetensors", "*.bin", "*.pt", "*.pth"); name != "" {
		return "the folder has " + name + " but no " + configName + ", which says what the weights mean: copy it there " +
			"from where the training left them"
	}
	return "the folder is none of an adapter, which has " + configName + " and " + weightsName +
		": add these, or remove it"
}

// cause is an error of the file system without the path, which is said elsewhere.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
