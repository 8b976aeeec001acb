package load

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Gateway says what of the gateway's settings is not left at its default.
type Gateway struct {
	Workers int    // workers.count; 0 leaves it out
	Slots   int    // workers.slots; 0 leaves it out
	KV      string // workers.kv; "" leaves it out
	MPS     string // workers.mps; "" leaves it out
}

// String names the settings, as in "gateway workers=4 kv=split".
func (g Gateway) String() string {
	name := "gateway"
	if g.Workers > 0 {
		name += " workers=" + strconv.Itoa(g.Workers)
	}
	if g.KV != "" {
		name += " kv=" + g.KV
	}
	if g.MPS != "" {
		name += " mps=" + g.MPS
	}
	return name
}

// StartGateway starts the gateway and blocks until it is ready and all its
// workers are. Workers and Slots of the server are what it says it has.
func StartGateway(ctx context.Context, setup Setup, g Gateway) (*Server, error) {
	const conns = 256 // more than any benchmark has clients
	s, err := newServer(1, conns, func(adapter int) map[string]any {
		if adapter == Base {
			return map[string]any{"model": baseName}
		}
		return map[string]any{"model": modelName(setup.Adapters[adapter])}
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "config.yaml")
	if err := os.WriteFile(file, g.config(setup, s.dir), 0o600); err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	s.process, err = launch(setup.Gateway, []string{"serve", "--config", file}, environment(variables(setup.Set)...))
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	var at addresses
	s, err = s.whenReady(ctx, setup.StartTimeout, func(context.Context) bool {
		at.read(s.process.log.String())
		return at.clients != "" && at.admin != ""
	})
	if err != nil {
		return nil, err
	}
	s.url = at.clients
	if err := s.countWorkers(ctx, at.admin); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// config returns a configuration file; JSON is YAML, too.
func (g Gateway) config(setup Setup, dir string) []byte {
	list := make([]map[string]any, len(setup.Adapters))
	for i, path := range setup.Adapters {
		list[i] = map[string]any{"name": modelName(path), "path": path}
	}
	args := setup.Args
	if args == nil {
		args = []string{}
	}
	workers := map[string]any{
		"command": setup.LlamaServer, "context": setup.Context, "args": args,
		"start_timeout": setup.StartTimeout.String(), "runtime_dir": dir,
	}
	for key, n := range map[string]int{"count": g.Workers, "slots": g.Slots} {
		if n > 0 {
			workers[key] = n
		}
	}
	for key, text := range map[string]string{"kv": g.KV, "mps": g.MPS} {
		if text != "" {
			workers[key] = text
		}
	}
	text, err := json.MarshalIndent(map[string]any{
		"listen":   "127.0.0.1:0",
		"admin":    map[string]any{"listen": "127.0.0.1:0"},
		"model":    map[string]any{"name": baseName, "path": setup.Base},
		"adapters": map[string]any{"list": list},
		"workers":  workers,
		"log":      map[string]any{"format": "json"},
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

// addresses are where the gateway says it listens; "" is not said yet. That for
// clients it says when all workers are ready.
type addresses struct{ clients, admin string }

// read takes in what the end of the gateway's log says.
func (a *addresses) read(log string) {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, URL string }
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		switch entry.Msg {
		case "ready":
			a.clients = entry.URL
		case "admin":
			a.admin = entry.URL
		}
	}
}

// countWorkers asks the gateway how many workers serve, and with how many slots
// each.
func (s *Server) countWorkers(ctx context.Context, admin string) error {
	var state struct {
		Workers []struct {
			State string
			Slots int
		}
	}
	asked := &Server{url: admin, http: s.http}
	if err := asked.Call(ctx, http.MethodGet, "/admin/v1/state", nil, &state); err != nil {
		return err
	}
	s.Workers = 0
	for _, w := range state.Workers {
		if w.State != "spare" {
			s.Workers++
			s.Slots = w.Slots
		}
	}
	return nil
}
