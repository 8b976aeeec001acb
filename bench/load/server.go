package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Server is a running contestant: a bare llama-server, or the gateway with its
// workers. It is safe for concurrent use; whoever started it must Stop it.
type Server struct {
	// Workers is how many llama-server processes answer.
	Workers int
	// Slots is how many requests each of them runs at once.
	Slots int

	url     string
	http    *http.Client
	dir     string // its files; removed by Stop
	process *process
	address func(adapter int) map[string]any // the fields that choose the adapter
}

// Setup is what contestants have in common.
type Setup struct {
	LlamaServer string   // the program
	Gateway     string   // the program
	Base        string   // the base model's GGUF
	Adapters    []string // GGUF files
	Args        []string // further arguments for every llama-server
	Context     int      // tokens a slot
	// Set holds keys of the gateway's configuration with other values than the
	// benchmark's, as in "scheduler.queue=64".
	Set []string
	// Env holds further variables for a bare llama-server, as in "A=b". The
	// gateway's workers are not given them.
	Env []string

	StartTimeout time.Duration
}

// Validate names the first file that is missing, and returns the setup with
// absolute paths.
func (s Setup) Validate() (Setup, error) {
	paths := []*string{&s.LlamaServer, &s.Base}
	if s.Gateway != "" {
		paths = append(paths, &s.Gateway)
	}
	s.Adapters = append([]string(nil), s.Adapters...)
	for i := range s.Adapters {
		paths = append(paths, &s.Adapters[i])
	}
	for _, p := range paths {
		absolute, err := filepath.Abs(*p)
		if err != nil {
			return s, err
		}
		if _, err := os.Stat(absolute); err != nil {
			return s, err
		}
		*p = absolute
	}
	if len(s.Adapters) == 0 {
		return s, errors.New("no adapters")
	}
	seen := map[string]bool{}
	for _, path := range s.Adapters {
		name := modelName(path)
		if seen[name] {
			return s, fmt.Errorf("two adapters are called %s", name)
		}
		seen[name] = true
	}
	return s, nil
}

// baseName is what the gateway calls the base model here.
const baseName = "the-base"

// modelName is what the gateway calls an adapter.
func modelName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".gguf") }

// newServer returns a server that is not started, for so many requests at once.
func newServer(workers, slots int, address func(int) map[string]any) (*Server, error) {
	dir, err := os.MkdirTemp("", "lb-") // short: a socket's path is at most 107 bytes
	if err != nil {
		return nil, err
	}
	conns := workers*slots + 8
	return &Server{
		Workers: workers, Slots: slots, dir: dir, address: address,
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConns: conns, MaxIdleConnsPerHost: conns,
			IdleConnTimeout: time.Second, DisableCompression: true,
		}},
	}, nil
}

// pollInterval is how often a starting server is looked at.
const pollInterval = 20 * time.Millisecond

// whenReady blocks until ready says so, and returns the server, or stops it
// and returns why it did not become ready.
func (s *Server) whenReady(ctx context.Context, timeout time.Duration, ready func(context.Context) bool) (*Server,
	error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready after %s", timeout))
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !ready(ctx) {
		var err error
		select {
		case <-ticker.C:
			continue
		case <-s.process.exited:
			err = errors.New("ended while starting")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.Stop()
		log := bytes.TrimSpace([]byte(s.process.log.String()))
		return nil, fmt.Errorf("%s: %w; its last lines:\n%s", filepath.Base(s.process.cmd.Path), err, log)
	}
	return s, nil
}

// Stop ends the server and blocks until it is gone.
func (s *Server) Stop() {
	s.process.stop()
	s.http.CloseIdleConnections()
	os.RemoveAll(s.dir)
}
