package fetch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// local is what a path of this machine names.
type local int

const (
	aGGUF     local = iota
	aFolder         // with a PEFT adapter
	anArchive       // by its name
)

// lookAt tells what there is at a path, and checks that it has that digest if it is no
// archive; "" is none.
func lookAt(ctx context.Context, path, digest string) (is local, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, failure.NotFound.New("%s: there is no such file or directory", path).Because(err)
	}
	if err != nil {
		return 0, failure.BadSource.New("%s: cannot be read: %v", path, err).Because(err)
	}
	file := path
	switch {
	case info.IsDir():
		is, file = aFolder, filepath.Join(path, archive.PEFTWeights)
		if !isFile(filepath.Join(path, archive.PEFTConfig)) {
			return 0, failure.BadSource.New("%s: the directory has no %s, so it holds no PEFT adapter",
				path, archive.PEFTConfig)
		}
	case !info.Mode().IsRegular():
		return 0, failure.BadSource.New("%s: neither a file nor a directory", path)
	case archive.ByName(path) == archive.Unknown:
		return 0, failure.BadSource.New("%s: none of %s; for a PEFT adapter name its directory",
			path, archive.Formats)
	case archive.ByName(path) != archive.GGUF:
		return anArchive, nil
	}
	if digest == "" {
		return is, nil
	}
	got, err := hashFile(ctx, path, file)
	if err == nil && got != digest {
		err = failure.Mismatch(path, got, digest)
	}
	return is, err
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// stateOf tells one state of a file from another without reading it.
func stateOf(path string) (string, error) {
	state, err := store.StateOf(path)
	if err != nil {
		return "", failure.NotFound.New("%s: cannot be read: %v", path, err).Because(err)
	}
	return state.String(), nil
}

// hashFile returns the SHA-256 of the file called name, a part of what.
func hashFile(ctx context.Context, what, name string) (string, error) {
	digest, _, err := store.Sum(ctx, name, io.Discard)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", failure.GivenUp(ctx, what)
	case err != nil:
		return "", failure.BadSource.New("%s: cannot be read: %v", what, err).Because(err)
	}
	return digest, nil
}
