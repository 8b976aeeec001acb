// Package config turns a YAML file and the environment into one validated
// Config. It is strict: what it does not know is an error, and all mistakes are
// reported at once.
//
// Every key can be set from the environment as well, and wins there: GATEWAY_
// and the key in capitals with its dots as underscores, as in
// GATEWAY_WORKERS_COUNT=4. Lists are given in YAML's flow style, as in
// GATEWAY_WORKERS_ARGS='["-ngl", "99"]'.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Config is the whole configuration. Nobody changes it, nor the slices in it,
// after Load has returned it.
//
// In the file, sections and keys are named as the mapstructure tags say.
// Relative paths, wherever they come from, are relative to the folder of the
// configuration file; ~ is not expanded.
type Config struct {
	// File is the absolute path of the file that was read.
	File string `mapstructure:"-"`
	// Listen is the address to serve on, as host:port. The host is required,
	// 0.0.0.0 stands for every IPv4 address; port 0 picks a free one.
	// Default 127.0.0.1:8080.
	Listen string `mapstructure:"listen"`

	Model     Model     `mapstructure:"model"`
	Adapters  Adapters  `mapstructure:"adapters"`
	Workers   Workers   `mapstructure:"workers"`
	Scheduler Scheduler `mapstructure:"scheduler"`
	Limits    Limits    `mapstructure:"limits"`
	Admin     Admin     `mapstructure:"admin"`
	Log       Log       `mapstructure:"log"`

	// Warnings are things that are probably mistakes but no errors, one a
	// string, sorted: unknown GATEWAY_ variables, since container platforms
	// inject such names.
	Warnings []string `mapstructure:"-"`
}

// Model is the base model.
//
// The names of the base, of adapters and of aliases share one space and are
// unique in it, in exact spelling. A name has at most 128 characters, begins
// with an ASCII letter or digit, and consists of these and . _ : / -.
type Model struct {
	// Name is what clients call the base model. Required.
	Name string `mapstructure:"name"`
	// Path is the base model's GGUF file, absolute. Required; the file must
	// exist and begin with GGUF's magic bytes.
	Path string `mapstructure:"path"`
}

// Adapters says where the adapters are: in a folder, in a list, or in both.
type Adapters struct {
	// Dir is a folder of adapters, absolute, or "" for none. It must exist; what
	// is in it is not looked at here. Default "".
	Dir string `mapstructure:"dir"`
	// List names adapters one by one. Default empty.
	List []Adapter `mapstructure:"list"`
}

// Adapter is one entry of the list of adapters.
type Adapter struct {
	// Name is what clients call the adapter. Required.
	Name string `mapstructure:"name"`
	// Path is the adapter's GGUF file, absolute. Required; the file must exist
	// and begin with GGUF's magic bytes.
	Path string `mapstructure:"path"`
	// Scale is how strongly the adapter is applied: any finite number but 0.
	// Default 1.
	Scale float64 `mapstructure:"scale"`
	// Aliases are further names of the adapter. Default none.
	Aliases []string `mapstructure:"aliases"`
	// Weight is the adapter's share of the workers against others when there is
	// not enough for all, 0.1 to 10. Default 1, which the base has, too.
	Weight float64 `mapstructure:"weight"`
	// MaxConcurrency bounds how many of the adapter's requests run at once; 0 is
	// no bound. Default 0.
	MaxConcurrency int `mapstructure:"max_concurrency"`
}

// Workers is about the llama-server processes.
type Workers struct {
	// Command is the llama-server program as it was given; see
	// Config.ResolveCommand. Default llama-server.
	Command string `mapstructure:"command"`
	// Count is the number of processes, 1 to 64. Default 1.
	Count int `mapstructure:"count"`
	// Slots is the number of requests that one process serves at once, 1 to 256.
	// Default 8.
	Slots int `mapstructure:"slots"`
	// Context is the context of each slot in tokens, at least 64; times Slots it
	// must fit into 31 bits. Default 4096.
	Context int `mapstructure:"context"`
	// Devices are given to the workers in turn, as llama-server's --device names
	// them. None leaves the choice to llama-server, the same for all. Default none.
	Devices []string `mapstructure:"devices"`
	// Args are handed to llama-server as they are. Flags that the gateway owns
	// are refused. Default none.
	Args []string `mapstructure:"args"`
	// SelfTest is whether the first worker is tested before it serves. Default
	// true.
	SelfTest bool `mapstructure:"self_test"`
	// StartTimeout is how long one worker may take from its start until it is
	// ready, more than 0. Default 2m.
	StartTimeout time.Duration `mapstructure:"start_timeout"`
	// StopTimeout is the time from SIGTERM to SIGKILL. 0 kills at once. Default
	// 10s.
	StopTimeout time.Duration `mapstructure:"stop_timeout"`
	// HangTimeout is how long a worker may go without answering before it is
	// replaced. 0 turns that off. Default 60s.
	HangTimeout time.Duration `mapstructure:"hang_timeout"`
	// RuntimeDir is the folder, absolute, under which the workers' sockets are
	// made, or "" for a private one among the temporary files. It need not exist
	// yet. At most 67 bytes long, so that a socket's path stays within 107.
	// Default "".
	RuntimeDir string `mapstructure:"runtime_dir"`
}

// Scheduler is about requests that wait.
type Scheduler struct {
	// Queue is the number of requests that may wait, at least 1. Default 1024.
	Queue int `mapstructure:"queue"`
	// MaxWait is how long one request may wait, more than 0. Default 60s.
	MaxWait time.Duration `mapstructure:"max_wait"`
	// Quantum is how long an adapter of weight 1 keeps a worker that others wait
	// for; its running requests end after that. At least 10ms. Default 1s.
	Quantum time.Duration `mapstructure:"quantum"`
	// Spread is how long requests wait for a slot before their adapter gets a
	// second worker of the same device, if one is idle. Default 200ms.
	Spread time.Duration `mapstructure:"spread"`
}

// Admin is about the second listener, for those who run the gateway.
type Admin struct {
	// Listen is its address as host:port, or "" for none; port 0 picks a free one.
	// Default 127.0.0.1:8081.
	Listen string `mapstructure:"listen"`
}

// Limits bounds what one client may take.
type Limits struct {
	// Body is the largest body of a request in bytes, at least 1024. In the file
	// it is a number of bytes or a size such as 512KiB, 16MiB or 1GB. Default
	// 16 MiB.
	Body int64 `mapstructure:"body"`
	// Drain is how long running requests may take to end when the gateway stops.
	// 0 does not wait. Default 30s.
	Drain time.Duration `mapstructure:"drain"`
	// Read is how long reading one request's body may take, more than 0.
	// Default 30s.
	Read time.Duration `mapstructure:"read"`
	// Write is how long a single write to a slow client may block, more than 0.
	// Default 30s.
	Write time.Duration `mapstructure:"write"`
	// Generation is how long one answer may take once it runs: others wait for it
	// when its worker drains. 0 is no bound. Default 10m.
	Generation time.Duration `mapstructure:"generation"`
}

// Log is about the gateway's own log.
type Log struct {
	// Level is the least level that is written: debug, info, warn or error.
	// Default info.
	Level slog.Level `mapstructure:"level"`
	// Format is text or json. Default text.
	Format string `mapstructure:"format"`
}

// defaults returns what holds where neither the file nor the environment says
// otherwise.
func defaults() Config {
	return Config{
		Listen:   "127.0.0.1:8080",
		Adapters: Adapters{List: []Adapter{}},
		Workers: Workers{
			Command:      "llama-server",
			Count:        1,
			Slots:        8,
			Context:      4096,
			Devices:      []string{},
			Args:         []string{},
			SelfTest:     true,
			StartTimeout: 2 * time.Minute,
			StopTimeout:  10 * time.Second,
			HangTimeout:  60 * time.Second,
		},
		Scheduler: Scheduler{
			Queue: 1024, MaxWait: 60 * time.Second,
			Quantum: time.Second, Spread: 200 * time.Millisecond,
		},
		Limits: Limits{
			Body:  16 << 20,
			Drain: 30 * time.Second,
			Read:  30 * time.Second,
			Write: 30 * time.Second, Generation: 10 * time.Minute,
		},
		Admin: Admin{Listen: "127.0.0.1:8081"},
		Log:   Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// What an entry of the list of adapters has where it says nothing.
const (
	defaultScale  = 1.0
	defaultWeight = 1.0
)

// ResolveCommand returns the absolute path of the llama-server program. A bare
// name is looked up in .llama/bin beside the configuration file, then on PATH; a
// command with a separator in it is a path. It is an error if there is no such
// program or if it is not executable.
func (c *Config) ResolveCommand() (string, error) {
	command, dir := c.Workers.Command, filepath.Dir(c.File)
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("workers.command: %q: %s: run `make llama-server`, or set workers.command to the program's path",
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
