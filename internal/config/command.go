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
// name is looked up in .llama/bin in the folder of the configuration, beside this program and in
// .llama/bin beside that, in the user's data (see UserLlama), then on PATH; a command with a separator
// in it is a path. It is an error if there is no such program or if it is not executable.
func (c *Config) ResolveCommand() (string, error) {
	command := c.Workers.Command
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("workers.command: %q: %s: run `gateway install-llama`, or set workers.command to the "+
			"program's path", command, fmt.Sprintf(format, args...))
	}
	if strings.ContainsRune(command, filepath.Separator) {
		path := absolute(c.dir(), command)
		if _, err := exec.LookPath(path); err != nil {
			return fail("cannot run %s: %v", path, cause(err))
		}
		return path, nil
	}
	folders := c.commandFolders()
	for _, folder := range folders {
		// One that is there but cannot be run is a mistake to report, not a reason to
		// run another program of that name.
		local := filepath.Join(folder, command)
		if _, err := os.Stat(local); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := exec.LookPath(local); err != nil {
			return fail("cannot run %s: %v", local, cause(err))
		}
		return local, nil
	}
	path, err := exec.LookPath(command)
	if err != nil {
		return fail("neither in %s nor on PATH", strings.Join(folders, ", "))
	}
	return filepath.Abs(path)
}

// dir is what relative paths are relative to.
func (c *Config) dir() string {
	if c.File != "" {
		return filepath.Dir(c.File)
	}
	dir, err := os.Getwd()
	if err != nil {
		return string(filepath.Separator)
	}
	return dir
}

// commandFolders are those in which a llama-server is looked for before PATH.
func (c *Config) commandFolders() []string {
	const local = ".llama"
	folders := []string{filepath.Join(c.dir(), local, "bin")}
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Dir(self)
		folders = append(folders, beside, filepath.Join(beside, local, "bin"),
			filepath.Join(filepath.Dir(beside), local, "bin"))
	}
	if dir := UserLlama(); dir != "" {
		folders = append(folders, filepath.Join(dir, "bin"))
	}
	return folders
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
