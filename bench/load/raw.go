package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Raw says how a bare llama-server keeps the KV caches of its slots.
type Raw struct {
	Slots int
	// Unified puts all slots into one buffer, so that any set of them is
	// computed in one pass. Otherwise only neighbouring slots are.
	Unified bool
	// PerSlot bounds what one slot takes of a unified buffer to Setup.Context
	// tokens; it needs a build for which HasFlag(PerSlotFlag) holds.
	PerSlot bool
}

// PerSlotFlag is llama-server's flag for Raw.PerSlot.
const PerSlotFlag = "--kv-unified-per-slot"

// String names the settings, as in "llama-server with 8 slots, unified".
func (r Raw) String() string {
	name := fmt.Sprintf("llama-server with %d slots", r.Slots)
	if r.Unified {
		name += ", unified"
	}
	return name
}

// args returns llama-server's arguments for the caches.
func (r Raw) args(context int) []string {
	args := []string{"--parallel", strconv.Itoa(r.Slots), "--ctx-size", strconv.Itoa(r.Slots * context), "--cache-ram",
		"0"}
	switch {
	case r.Unified && r.PerSlot:
		return append(args, "--kv-unified", PerSlotFlag, strconv.Itoa(context))
	case r.Unified:
		return append(args, "--kv-unified")
	}
	return args
}

// HasFlag tells whether a build of llama-server has a flag. It blocks for as
// long as the program takes to print its help.
func HasFlag(ctx context.Context, program, flag string) bool {
	help := exec.CommandContext(ctx, program, "--help")
	help.Env = environment()
	text, err := help.CombinedOutput()
	return err == nil && strings.Contains(string(text), flag)
}

// StartRaw starts a llama-server in the one way in which it answers rightly:
// without the host's prompt cache, the adapter named in every request. It
// blocks until the server is ready.
func StartRaw(ctx context.Context, setup Setup, r Raw) (*Server, error) {
	s, err := newServer(1, r.Slots, func(adapter int) map[string]any {
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
	args = append(args, "--host", socket, "--model", setup.Base, "--no-webui", "--slot-save-path", s.dir,
		"--lora", strings.Join(setup.Adapters, ","), "--lora-init-without-apply")
	s.process, err = launch(setup.LlamaServer, append(args, r.args(setup.Context)...), environment(setup.Env...))
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
