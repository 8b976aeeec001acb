package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/config"
)

// source is where the configuration is from.
type source struct {
	file   *string
	values []valueFlag
}

// valueFlag is a flag that stands for a key of the configuration.
type valueFlag struct {
	name, key string
	isPath    bool
	text      *string
}

// sourceFlags adds --config to a command, and the flags with which it needs none.
func sourceFlags(cmd *cobra.Command) *source {
	s := &source{file: configFlag(cmd)}
	add := func(name, key, usage string, isPath bool) {
		s.values = append(s.values, valueFlag{name, key, isPath, cmd.Flags().String(name, "", usage)})
	}
	add("model", "model.path", "the base model's GGUF `file`", true)
	add("name", "model.name", "what clients call the base `model`; the file's name if left out", false)
	add("adapters", "adapters.dir", "the `folder` with its adapters, which is watched", true)
	add("listen", "listen", "the address to serve on, as `host:port`", false)
	return s
}

// errNothing says what to type.
var errNothing = errors.New(`there is no config.yaml here, and no model is named. Serve one with
  gateway serve --model /path/to/base.gguf --adapters /path/to/adapters
or a configuration with
  gateway serve --config /path/to/config.yaml`)

// fromHere returns a path as it is meant where the command runs: the configuration's own are relative
// to its folder. None stays none, and the home is left to the configuration: shells leave a ~ that
// stands behind a = as it is.
func fromHere(path string) (string, error) {
	if path == "" || path == "~" || strings.HasPrefix(path, "~/") {
		return path, nil
	}
	return filepath.Abs(path)
}

// loader returns what loads the configuration, and what that is called in messages. The file is
// left out if a model is named on the command line, and no file.
func (s *source) loader(cmd *cobra.Command) (load func() (*config.Config, error), named string, err error) {
	var flags []config.Flag
	model := false
	for _, v := range s.values {
		if !cmd.Flags().Changed(v.name) {
			continue
		}
		text := *v.text
		if v.isPath {
			if text, err = fromHere(text); err != nil {
				return nil, "", err
			}
		}
		model = model || v.name == "model"
		flags = append(flags, config.Flag{Name: "--" + v.name, Key: v.key, Text: text})
	}
	file := *s.file
	if !cmd.Flags().Changed("config") {
		_, missing := os.Stat(file)
		switch {
		case model:
			file = ""
		case errors.Is(missing, fs.ErrNotExist):
			return nil, "", errNothing
		}
	}
	named = file
	if file == "" {
		named = "the command line"
	}
	return func() (*config.Config, error) { return config.Load(file, flags...) }, named, nil
}
