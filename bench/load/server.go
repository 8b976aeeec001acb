package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
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

// StartRaw starts a llama-server in the one way in which it answers rightly:
// without the host's prompt cache, the adapter named in every request. It
// blocks until the server is ready.
func StartRaw(ctx context.Context, setup Setup, slots int) (*Server, error) {
	s, err := newServer(1, slots, func(adapter int) map[string]any {
		scale := 1
		if adapter == Base {
			adapter, scale = 0, 0
		}
		return map[string]any{"lora": []map[string]any{{"id": adapter, "scale": scale}}}
	})
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(s.dir, "s.sock")
	s.url = "http://llama-server"
	s.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	args := append([]string(nil), setup.Args...)
	args = append(args, "--host", socket, "--model", setup.Base, "--no-webui",
		"--parallel", strconv.Itoa(slots), "--ctx-size", strconv.Itoa(slots*setup.Context),
		"--cache-ram", "0", "--slot-save-path", s.dir,
		"--lora", strings.Join(setup.Adapters, ","), "--lora-init-without-apply")
	s.process, err = launch(setup.LlamaServer, args, environment())
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	return s.whenReady(ctx, setup.StartTimeout, func(ctx context.Context) bool {
		if s.Call(ctx, http.MethodGet, "/health", nil, nil) != nil {
			return false
		}
		return s.Call(ctx, http.MethodPost, "/lora-adapters", []any{}, nil) == nil
	})
}

// StartGateway starts the gateway with so many workers and blocks until it is
// ready and all workers are.
func StartGateway(ctx context.Context, setup Setup, workers, slots int) (*Server, error) {
	s, err := newServer(workers, slots, func(adapter int) map[string]any {
		if adapter == Base {
			return map[string]any{"model": baseName}
		}
		return map[string]any{"model": modelName(setup.Adapters[adapter])}
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "config.yaml")
	if err := os.WriteFile(file, gatewayConfig(setup, s.dir, workers, slots), 0o600); err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	s.process, err = launch(setup.Gateway, []string{"serve", "--config", file}, environment(variables(setup.Set)...))
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	return s.whenReady(ctx, setup.StartTimeout, func(context.Context) bool {
		url, up := readiness(s.process.log.String())
		s.url = url
		return url != "" && up >= workers
	})
}

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

// gatewayConfig returns a configuration file; JSON is YAML, too.
func gatewayConfig(setup Setup, dir string, workers, slots int) []byte {
	list := make([]map[string]any, len(setup.Adapters))
	for i, path := range setup.Adapters {
		list[i] = map[string]any{"name": modelName(path), "path": path}
	}
	args := setup.Args
	if args == nil {
		args = []string{}
	}
	text, err := json.MarshalIndent(map[string]any{
		"listen":   "127.0.0.1:0",
		"admin":    map[string]any{"listen": ""},
		"model":    map[string]any{"name": baseName, "path": setup.Base},
		"adapters": map[string]any{"list": list},
		"workers": map[string]any{
			"command": setup.LlamaServer, "count": workers, "slots": slots, "context": setup.Context,
			"args": args, "self_test": false, "start_timeout": setup.StartTimeout.String(), "runtime_dir": dir,
		},
		// Requests wait for as long as they do in llama-server.
		"scheduler": map[string]any{"max_wait": "1h"},
		"log":       map[string]any{"format": "json"},
	}, "", "  ")
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot hold
	}
	return append(text, '\n')
}

// variables turns "scheduler.queue=64" into GATEWAY_SCHEDULER_QUEUE=64.
func variables(set []string) []string {
	var env []string
	for _, kv := range set {
		key, value, _ := strings.Cut(kv, "=")
		env = append(env, "GATEWAY_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
	}
	return env
}

// readiness finds in the gateway's log where it listens, "" while it is not
// ready, and how many of its workers are.
func readiness(log string) (url string, workers int) {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, URL string }
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		switch entry.Msg {
		case "ready":
			url = entry.URL
		case "worker ready":
			workers++
		}
	}
	return url, workers
}

// pollInterval is how often a starting server is looked at.
const pollInterval = 20 * time.Millisecond

// whenReady blocks until ready says so, and returns the server, or stops it
// and returns why it did not become ready.
func (s *Server) whenReady(ctx context.Context, timeout time.Duration, ready func(context.Context) bool) (*Server, error) {
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
