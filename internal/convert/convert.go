// Package convert turns a LoRA adapter as PEFT's training leaves it into the
// GGUF file that llama-server loads. It writes what llama.cpp's own converter
// writes, and refuses what that file could not say: an adapter that would
// answer differently than it was trained to is worse than none.
package convert

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/loragate/loragate/internal/gguf"
)

// The files of a PEFT adapter.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
	pickleFile  = "adapter_model.bin"
	indexFile   = "adapter_model.safetensors.index.json"
	mlxFile     = "adapters.safetensors"
)

// Unsupported says that the adapter is sound but needs something that
// llama-server, or this package, does not have.
type Unsupported struct {
	Feature string // short and stable: "dora", "modules_to_save", "architecture", ...
	Message string // names the file, the key or tensor and its value
}

func (e *Unsupported) Error() string { return e.Message }

// Malformed says that the adapter's files are broken, contradict each other or
// do not fit the base.
type Malformed struct {
	Message string // names the file, the key or tensor and what is wrong with it
}

func (e *Malformed) Error() string { return e.Message }

func unsupported(feature, format string, args ...any) error {
	return &Unsupported{Feature: feature, Message: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return &Malformed{Message: fmt.Sprintf(format, args...)}
}

// Options says what to convert.
type Options struct {
	Dir  string // holds adapter_config.json and adapter_model.safetensors
	Base string // the base model's GGUF file, the first one if it is split
	Out  string // the file to write; what is there is replaced, in one step
}

// Convert writes the adapter in Dir as a GGUF file. The error is *Unsupported or
// *Malformed when the adapter is at fault, ctx's if that ended, and another one
// when the base or the disk is. Out is complete or untouched. Equal adapters
// give equal bytes for bases of one architecture and shape. Convert blocks on the
// disk and needs a few megabytes, whatever the files say. That the weights are
// finite is not looked at.
func Convert(ctx context.Context, o Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := readConfig(filepath.Join(o.Dir, configFile))
	if err != nil {
		return err
	}
	b, err := readBase(o.Base)
	if err != nil {
		return err
	}
	file, err := openWeights(o.Dir)
	if err != nil {
		return err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	stored, err := readHeader(file, stat.Size())
	if err != nil {
		return err
	}
	pairs, err := pair(stored)
	if err != nil {
		return err
	}
	if err := place(ctx, pairs, c, b); err != nil {
		return err
	}
	alpha, err := foldScales(pairs)
	if err != nil {
		return err
	}
	return replace(o.Out, func(w *bufio.Writer) error {
		return gguf.Write(w, metadata(b, alpha, c.choice.warnings(pairs, b)), tensors(ctx, file, pairs))
	})
}

// openWeights opens the weights, which the caller closes.
func openWeights(dir string) (*os.File, error) {
	path := filepath.Join(dir, weightsFile)
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withoutWeights(dir)
	}
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() { // opening a named pipe would wait for its writer
		return nil, malformed("%s is not a regular file", weightsFile)
	}
	return os.Open(path)
}

// withoutWeights says what is to be done about a folder that has none, by what it has.
func withoutWeights(dir string) error {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has(pickleFile):
		return unsupported("pickle", "%s is a pickle: save it as safetensors (PEFT's save_pretrained with "+
			"safe_serialization=True)", pickleFile)
	case has(indexFile):
		return unsupported("sharded", "the weights are in several files, as %s says: save them as one %s", indexFile,
			weightsFile)
	case has(mlxFile):
		return unsupported("mlx", "%s is of MLX, whose adapters are not PEFT's: merge it into the base with mlx_lm.fuse and "+
			"serve that, or convert it to PEFT's form", mlxFile)
	}
	if others, _ := fs.Glob(os.DirFS(dir), "*.safetensors"); len(others) > 0 {
		return malformed("%s is missing: if that is %s, give it this name", weightsFile, clip(others[0]))
	}
	return malformed("%s is missing", weightsFile)
}

// metadata is what llama.cpp's converter writes and llama-server reads, and what is odd about
// the adapter, if anything is. Nothing in it depends on where the files lie.
func metadata(b *base, alpha float32, warnings []string) []gguf.Entry {
	entries := []gguf.Entry{
		{Key: "general.architecture", Value: b.Architecture()},
		{Key: "general.type", Value: "adapter"},
		{Key: "adapter.type", Value: "lora"},
		{Key: "adapter.lora.alpha", Value: alpha},
		{Key: "general.quantization_version", Value: uint32(2)},
	}
	if len(warnings) > 0 {
		entries = append(entries, gguf.Entry{Key: gguf.KeyWarnings, Value: strings.Join(warnings, "\n")})
	}
	return entries
}

// replace writes a file beside path and moves it there once it is on the disk.
func replace(path string, write func(w *bufio.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close() // a second time after a failed rename, which does no harm
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, chunkBytes)
	if err := write(w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
