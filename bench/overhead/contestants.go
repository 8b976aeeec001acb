package overhead

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// The contestants, as Options.Contestants and the tables name them.
const (
	Direct       = "direct"       // no proxy: the load generator asks the fake upstream
	Nginx        = "nginx"        // with one upstream, keep-alive and no buffering
	ReverseProxy = "ReverseProxy" // Go's httputil.ReverseProxy
	// ReverseProxyUnix is the same with its upstream on a Unix socket, as the
	// gateway has it: many small writes cost their reader more there.
	ReverseProxyUnix = "ReverseProxy-unix"
	LlamaSwap        = "llama-swap"   // with one model, which is loaded
	Gateway          = "gateway"      // with its defaults; its log goes to a file
	GatewayQuiet     = "gateway-warn" // the same with log.level warn: no line for each request
	GatewayKeys      = "gateway-keys" // with a tenant: a key, limits that are not reached, an account
)

// All lists the contestants in the order of the tables.
func All() []string {
	return []string{Direct, Nginx, ReverseProxy, ReverseProxyUnix, LlamaSwap, Gateway, GatewayQuiet, GatewayKeys}
}

// contestant is a proxy that runs, or none.
type contestant struct {
	name    string
	address string
	pids    []int // whose CPU time and memory are counted
}

// arena owns the benchmark's folder and all programs that it started.
type arena struct {
	opts        Options
	dir         string
	upstream    string // host:port
	contestants []*contestant
	processes   []*process
	missing     []string // what could not take part, and why
}

// errMissing says that a contestant's program is not there.
var errMissing = errors.New("left out")

// newArena starts everything. The caller closes it, also after an error.
func newArena(ctx context.Context, opts Options, progress io.Writer) (*arena, error) {
	a := &arena{opts: opts}
	var err error
	if a.dir, err = os.MkdirTemp("", "overhead-"); err != nil {
		return a, err
	}
	for _, name := range []string{upstreamName, reverseProxyName} {
		if err := os.Symlink(opts.Self, filepath.Join(a.dir, name)); err != nil {
			return a, err
		}
	}
	starters := map[string]func(context.Context) (*contestant, error){
		Nginx: a.startNginx, ReverseProxy: a.startReverseProxy, ReverseProxyUnix: a.startReverseProxyUnix,
		LlamaSwap:    a.startLlamaSwap,
		Gateway:      func(ctx context.Context) (*contestant, error) { return a.startGateway(ctx, Gateway, "info", "") },
		GatewayQuiet: func(ctx context.Context) (*contestant, error) { return a.startGateway(ctx, GatewayQuiet, "warn", "") },
		GatewayKeys: func(ctx context.Context) (*contestant, error) {
			return a.startGateway(ctx, GatewayKeys, "info", tenant)
		},
	}
	direct, err := a.startUpstream(ctx)
	if err != nil {
		return a, err
	}
	for _, name := range All() {
		c := direct
		if name != Direct {
			if !slices.Contains(opts.Contestants, name) {
				continue
			}
			c, err = starters[name](ctx)
			if errors.Is(err, errMissing) {
				fmt.Fprintf(progress, "%s: %v\n", name, err)
				a.missing = append(a.missing, name)
				continue
			}
			if err != nil {
				return a, err
			}
		}
		a.contestants = append(a.contestants, c)
	}
	return a, nil
}

// close stops all programs, the last started first, and removes the folder.
func (a *arena) close() {
	for _, p := range slices.Backward(a.processes) {
		p.stop()
	}
	if a.dir != "" {
		os.RemoveAll(a.dir)
	}
}

// launch starts a contestant's program and waits until it answers.
func (a *arena) launch(ctx context.Context, name, address, command string, args ...string) (*contestant, error) {
	p, err := start(a.dir, name, command, args...)
	if err != nil {
		return nil, err
	}
	a.processes = append(a.processes, p)
	if err := p.ready(ctx, address); err != nil {
		return nil, err
	}
	return &contestant{name: name, address: address, pids: []int{p.cmd.Process.Pid}}, nil
}

// startUpstream starts what the proxies forward to. Its own CPU time is not
// counted.
func (a *arena) startUpstream(ctx context.Context) (*contestant, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	a.upstream = net.JoinHostPort(host, port)
	c, err := a.launch(ctx, Direct, a.upstream, filepath.Join(a.dir, upstreamName), "--host", host, "--port", port)
	if err != nil {
		return nil, err
	}
	c.pids = nil
	return c, nil
}

// startReverseProxyUnix starts an upstream of its own, too: one listens in one
// place.
func (a *arena) startReverseProxyUnix(ctx context.Context) (*contestant, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(a.dir, "upstream.sock")
	p, err := start(a.dir, "upstream-unix", filepath.Join(a.dir, upstreamName), "--host", socket)
	if err != nil {
		return nil, err
	}
	a.processes = append(a.processes, p)
	address := net.JoinHostPort(host, port)
	return a.launch(ctx, ReverseProxyUnix, address, filepath.Join(a.dir, reverseProxyName), "--listen", address,
		"--upstream", socket)
}

func (a *arena) startReverseProxy(ctx context.Context) (*contestant, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, port)
	return a.launch(ctx, ReverseProxy, address, filepath.Join(a.dir, reverseProxyName), "--listen", address,
		"--upstream", a.upstream)
}

// nginxConfig takes the directives for root, the number of workers, the
// upstream's and its own address. Buffering off is what a proxy for streams needs.
const nginxConfig = `%s
worker_processes %d;
pid nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream fake { server %s; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen %s;
    location / {
      proxy_pass http://fake;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`

func (a *arena) startNginx(ctx context.Context) (*contestant, error) {
	program := findNginx()
	if program == "" {
		return nil, fmt.Errorf("%w: no nginx on PATH nor where NGINX says; on Debian: apt-get install nginx-light",
			errMissing)
	}
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, port)
	var user string
	if os.Geteuid() == 0 {
		user = "user root root;" // else its workers could not enter the private folder
	}
	dir := filepath.Join(a.dir, "nginx")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, user, nginxWorkers(), a.upstream, address),
		0o600); err != nil {
		return nil, err
	}
	c, err := a.launch(ctx, Nginx, address, program, "-p", dir, "-c", config, "-g", "daemon off;")
	if err != nil {
		return nil, err
	}
	workers, err := allWorkers(ctx, c.pids[0])
	c.pids = append(c.pids, workers...)
	return c, err
}

// allWorkers waits for nginx's workers, of which one answers before all are
// there, and returns their ids.
func allWorkers(ctx context.Context, master int) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		workers, err := children(master)
		if err != nil || len(workers) == nginxWorkers() {
			return workers, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nginx has %d workers, not %d: %w", len(workers), nginxWorkers(), context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// findNginx looks where NGINX says, on PATH and where Debian has it, which is
// not on every user's PATH; "" if it is nowhere.
func findNginx() string {
	if given := os.Getenv("NGINX"); given != "" {
		if info, err := os.Stat(given); err == nil && info.IsDir() {
			given = filepath.Join(given, "nginx")
		}
		return lookPath(given)
	}
	if program := lookPath("nginx"); program != "" {
		return program
	}
	return lookPath("/usr/sbin/nginx")
}

func lookPath(name string) string {
	program, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return program
}

// llamaSwapConfig takes the first port for its upstreams and the fake's path. By
// default it refuses the 11th request at once.
const llamaSwapConfig = `startPort: %s
models:
  coding:
    cmd: %s --host 127.0.0.1 --port ${PORT}
    proxy: http://127.0.0.1:${PORT}
    concurrencyLimit: 256
`

func (a *arena) startLlamaSwap(ctx context.Context) (*contestant, error) {
	name := "llama-swap"
	if given := os.Getenv("LLAMA_SWAP"); given != "" {
		name = given
	}
	program := lookPath(name)
	if program == "" {
		return nil, fmt.Errorf("%w: no llama-swap on PATH nor where LLAMA_SWAP says; see github.com/mostlygeek/llama-swap",
			errMissing)
	}
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, first, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(a.dir, "llama-swap.yaml")
	text := fmt.Appendf(nil, llamaSwapConfig, first, filepath.Join(a.dir, upstreamName))
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, port)
	return a.launch(ctx, LlamaSwap, address, program, "-config", config, "-listen", address)
}

// gatewayConfig takes the address, the base's and the adapters' paths, the
// fake's path, the folder for sockets and the log level.
const gatewayConfig = `listen: %s
model:
  name: demo
  path: %q
adapters:
  dir: %q
workers:
  command: %q
  count: 1
  slots: %d
  context: 256
  self_test: false  # the fake is no model
  runtime_dir: %q
admin: {listen: "127.0.0.1:0"}  # on, as users have it
log:
  level: %s
`

// tenant asks for apiKey and counts against limits, all of them too high to matter.
var tenant = fmt.Sprintf("\ntenants: [{name: bench, keys: [%x], models: [coding*], requests_per_minute: 100000000, "+
	"tokens_per_minute: 1000000000, monthly_tokens: 1000000000000}]\n",
	sha256.Sum256([]byte(apiKey)))

func (a *arena) startGateway(ctx context.Context, name, level, more string) (*contestant, error) {
	host, port, err := freeAddress()
	if err != nil {
		return nil, err
	}
	demo, err := findDemo()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, port)
	config := filepath.Join(a.dir, name+".yaml")
	text := fmt.Appendf(nil, gatewayConfig, address, filepath.Join(demo, "base.gguf"), filepath.Join(demo, "adapters"),
		filepath.Join(a.dir, upstreamName), slices.Max(concurrencies), filepath.Join(a.dir, "run"), level)
	if err := os.WriteFile(config, append(text, more...), 0o600); err != nil {
		return nil, err
	}
	return a.launch(ctx, name, address, a.opts.GatewayBinary, "serve", "--config", config)
}

// findDemo returns deploy/demo's absolute path, from anywhere inside of the
// module.
func findDemo() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		demo := filepath.Join(at, "deploy", "demo")
		if _, err := os.Stat(filepath.Join(demo, "base.gguf")); err == nil {
			return demo, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no deploy/demo/base.gguf in %s or above it", dir)
		}
	}
}

// nginxWorkers is what nginx calls auto.
func nginxWorkers() int { return runtime.NumCPU() }
