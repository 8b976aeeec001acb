package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ResolveCommand returns the absolute path of the llama-server program. A bare
// name is looked up in .llama/bin beside the configuration file, then on PATH; a
// command with a separator in it is a path. It is an error if there is no such
// program or if it is not executable.
func (c *Config) ResolveCommand() (string, error) {
	command, dir := c.Workers.Command, filepath.Dir(c.File)
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("workers.command: %q: %s: run `make llama-server`, or set workers.command to the program's "+
			"path",
			command, fmt.Sprintf(format, args...))
	}
	if strings.ContainsRune(command, filepath.Separator) {
		path := absolute(dir, command)
		if _, err := exec.LookPath(path); err != nil {
			return fail("cannot run %s: %v", path, cause(err))
		}
		return path, nil
	}
	local := filepath.Join(dir, ".llama", "bin", command)
	// One that is there but cannot be run is a mistake to report, not a reason to
	// run another program of that name.
	if _, err := os.Stat(local); !errors.Is(err, fs.ErrNotExist) {
		if _, err := exec.LookPath(local); err != nil {
			return fail("cannot run %s: %v", local, cause(err))
		}
		return local, nil
	}
	path, err := exec.LookPath(command)
	if err != nil {
		return fail("neither in %s nor on PATH", filepath.Dir(local))
	}
	return filepath.Abs(path)
}

// cause strips the operation and the path, which our messages name themselves,
// from an error of the file system.
func cause(err error) error {
	var pathErr *fs.PathError
	var execErr *exec.Error
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Err
	case errors.As(err, &execErr):
		return cause(execErr.Err)
	}
	return err
}

// absolute returns path, which may be relative to dir, as an absolute one.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
