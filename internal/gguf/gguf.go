// Package gguf checks a LoRA adapter's GGUF file against its base model before
// a llama-server sees it, since one bad file ends the whole process, and writes
// such files. The rules are llama.cpp's own (its GGUF reader, its adapter loader
// and what its compute graph asserts), and a few that it leaves out, such as that
// all numbers are finite.
package gguf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Codes of a Rejection.
const (
	NotGGUF           = "not_gguf"           // another format, version or byte order
	Truncated         = "truncated"          // the file ends too early
	Malformed         = "malformed"          // the structure breaks GGUF's rules
	NotLoRA           = "not_lora"           // a model, a control vector, ...
	ALoRA             = "alora"              // an activated LoRA: scales cannot switch it
	WrongArchitecture = "wrong_architecture" // made for another kind of base
	BadAlpha          = "bad_alpha"          // missing, not a float32 or not finite
	BadMetadata       = "bad_metadata"       // a key llama-server reads has a value it cannot take
	NoTensors         = "no_tensors"         // nothing to apply
	DuplicateTensor   = "duplicate_tensor"   // two tensors of one name
	UnknownTensor     = "unknown_tensor"     // not of this base
	IncompletePair    = "incomplete_pair"    // lora_a without lora_b, or the reverse
	WrongType         = "wrong_type"         // an element type that adapters do not have
	WrongShape        = "wrong_shape"        // does not fit the base's tensor
	BadRank           = "bad_rank"           // 0, or not the same in both halves of a pair
	NotFinite         = "not_finite"         // NaN or infinity in the data
)

// Rejection says that the file is at fault, and not the disk.
type Rejection struct {
	Code    string // one of the constants above
	Message string // names the file, the key or tensor, what it has and what it should have
}

func (r *Rejection) Error() string { return r.Message }

func reject(code, format string, args ...any) *Rejection {
	return &Rejection{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Info describes an adapter that passed.
type Info struct {
	Architecture string
	Rank         int      // the largest of all pairs
	Alpha        float64  // 0 makes llama.cpp take the scale as it is, not times alpha/rank
	Tensors      int      // lora_a and lora_b tensors
	Modules      []string // the kinds of tensors that it changes, such as attn_q; sorted
	Bytes        int64    // the file's size
	// Warnings say in what the adapter hardly does what it was trained for, though it can
	// be served. They are few and short.
	Warnings []string
}

// Check reads the whole file once and returns a *Rejection if llama-server
// could not serve it on this base, another error if it could not be read. It
// blocks on the disk until ctx ends. Memory is bounded whatever the file says.
func (b *Base) Check(ctx context.Context, path string) (Info, error) {
	// Opening a named pipe would wait for its writer.
	if stat, err := os.Stat(path); err != nil {
		return Info{}, err
	} else if !stat.Mode().IsRegular() {
		return Info{}, reject(NotGGUF, "%s: not a regular file but %s", filepath.Base(path), kindOf(stat.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return Info{}, err
	}
	info, err := b.check(ctx, file, stat.Size())
	if r, ok := errors.AsType[*Rejection](err); ok {
		return Info{}, reject(r.Code, "%s: %s", filepath.Base(path), r.Message)
	}
	if err != nil {
		return Info{}, fmt.Errorf("check %s: %w", filepath.Base(path), err)
	}
	return info, nil
}

func kindOf(mode fs.FileMode) string {
	if mode.IsDir() {
		return "a directory"
	}
	return "a device, pipe or socket"
}
