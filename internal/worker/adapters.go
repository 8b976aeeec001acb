package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// plainName is a file's name that --lora can be told as it is: there commas separate
// files, colons scales, and quotes stand around what has either.
var plainName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// link finds names for the adapters that --lora can be told, which users' paths cannot
// always be, in the worker's directory. A link stands for a whole folder, as thousands of
// them would cost a start more than all else that it does; only a file whose own name
// cannot be told has one to itself.
func (w *Worker) link() error {
	if err := os.Mkdir(w.slotDir(), 0o700); err != nil {
		return err
	}
	w.names = make([]string, len(w.opts.Adapters))
	links := make(map[string]string) // by what they lead to
	for id, path := range w.opts.Adapters {
		target, name := filepath.Split(path)
		if !plainName.MatchString(name) {
			target, name = path, ""
		}
		link, ok := links[target]
		if !ok {
			link = filepath.Join(w.dir, "l"+strconv.Itoa(len(links)))
			if err := os.Symlink(target, link); err != nil {
				return err
			}
			links[target] = link
		}
		w.names[id] = filepath.Join(link, name)
	}
	return nil
}

// maxArgument bounds an argument's length: Linux starts no program with one of 128 KiB.
const maxArgument = 100 << 10

// loraArguments returns the part of a command line that loads files, in their order.
// llama-server loads those of every --lora, whatever it says of repeated arguments;
// checkAdapters would notice one that does not.
func loraArguments(names []string) (args []string) {
	for len(names) > 0 {
		n, length := 1, len(names[0])
		for n < len(names) && length+1+len(names[n]) <= maxArgument {
			length += 1 + len(names[n])
			n++
		}
		args = append(args, "--lora", strings.Join(names[:n], ","))
		names = names[n:]
	}
	return args
}

// memoryRanOut are the words of ggml's backends, the C++ library and the system.
var memoryRanOut = regexp.MustCompile(`(?i)out of memory|OutOf(Device|Host)Memory|failed to allocate|insufficient memory|bad_alloc|cannot allocate memory`)

// TooMuch reports whether an error of Start is that the process was to load more than it
// can: it found no memory, as far as its last lines tell, or the system takes no command
// line that names so many files.
func TooMuch(err error) bool {
	var exit *ExitError
	return errors.Is(err, syscall.E2BIG) || errors.As(err, &exit) && memoryRanOut.MatchString(exit.Log)
}

// checkAdapters refuses a worker that does not hold exactly the adapters it was
// started with, in their order: it would answer as the base instead.
func (w *Worker) checkAdapters(ctx context.Context) error {
	var loaded []struct {
		ID   int    `json:"id"`
		Path string `json:"path"`
	}
	if err := w.call(ctx, http.MethodGet, "/lora-adapters", nil, &loaded); err != nil {
		return w.withLog(fmt.Errorf("list adapters: %w", err))
	}
	have := make(map[string]int, len(loaded))
	for _, a := range loaded {
		have[a.Path] = a.ID
	}
	for id, path := range w.opts.Adapters {
		if got, ok := have[w.names[id]]; !ok || got != id {
			return w.withLog(fmt.Errorf("llama-server did not load the adapter %s", path))
		}
	}
	if len(loaded) != len(w.opts.Adapters) {
		return w.withLog(fmt.Errorf("llama-server loaded %d adapters, %d were asked for", len(loaded), len(w.opts.Adapters)))
	}
	return nil
}
