package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/gateway"
	"github.com/loragate/loragate/internal/llamatest"
)

// replaceable is a gateway that can be replaced.
type replaceable struct {
	*gatewayProcess
	config string
	state  string
}

func serveReplaceable(t *testing.T, edit func(config string) string) *replaceable {
	t.Helper()
	dir := t.TempDir()
	config := edit(fakeConfig(t, 1, "") + "state: {dir: " + dir + "}\n")
	return &replaceable{serve(t, config), config, dir}
}

func same(config string) string { return config }

// fails starts an heir that is to end with an error, and checks that this gateway serves on.
func (r *replaceable) fails(t *testing.T, config, reason string) {
	t.Helper()
	heir := run(t, "serve", "--replace", "--config", write(t, config))
	if code := heir.end(); code != 1 {
		t.Errorf("exit code %d of the heir, want 1", code)
	}
	<-heir.drained
	if said := strings.Join(heir.text, "\n"); !strings.Contains(said, reason) {
		t.Errorf("the heir does not say %q: %s", reason, said)
	}
	r.goesOn(t)
}

func (r *replaceable) goesOn(t *testing.T) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if status := r.statusFor("k0", http.MethodPost, chatPath, chat("coding", "hi", "")); status != http.StatusOK {
		t.Errorf("status %d of the gateway that was to be replaced", status)
	}
	select {
	case <-r.exited:
		t.Fatal("it has ended")
	default:
	}
}

func (g *gatewayProcess) port() string { return g.url[strings.LastIndex(g.url, ":")+1:] }

// TestHeirOfAnotherHost: a socket that others can reach goes to nobody who is to serve this
// machine alone, and asks for no keys.
func TestHeirOfAnotherHost(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, func(config string) string {
		return strings.Replace(config, "127.0.0.1:0", "0.0.0.0:0", 1) + acme("")
	})
	r.url = "http://127.0.0.1:" + r.port()
	heir, _, _ := strings.Cut(r.config, "tenants:")
	r.fails(t, strings.Replace(heir, "0.0.0.0:0", "127.0.0.1:"+r.port(), 1), "stop it first")
}

// TestHeirThatGoesAway: who connects and does not say that it can serve leaves the gateway
// as it was.
func TestHeirThatGoesAway(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	for _, said := range []string{"", "{\"pid\":1}\n", "{\"pid\":1}\nnonsense\n", "{\"pid\":1}\n{\"ready\":true}\n"} {
		conn, err := net.Dial("unix", filepath.Join(r.state, gateway.HandoverName))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, said)
		conn.Close()
	}
	heir := run(t, "serve", "--replace", "--config", write(t, r.config))
	heir.says("ready") // after those
	if n := len(r.logged(gateway.ServesOn)); n != 3 {
		t.Errorf("%d lines of heirs that went away, want 3", n)
	}
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestHeirWithoutAdmin: a port that is not wanted any more is closed.
func TestHeirWithoutAdmin(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	address := strings.TrimPrefix(r.adminURL(), "http://")
	heir := run(t, "serve", "--replace", "--config",
		write(t, strings.Replace(r.config, `listen: "127.0.0.1:0"`, `listen: ""`, 1)))
	heir.says("ready")
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the port of the admin API that was is open: %v", err)
	}
}

// TestHeirThatCannotServe: what an heir can know to fail does so before the gateway has left
// its ports.
func TestHeirThatCannotServe(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	base, err := os.ReadFile(llamatest.Base())
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.gguf")
	if err := os.WriteFile(short, base[:len(base)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ config, reason string }{
		"llama-server": {commandIn(r.config, "/nowhere/llama-server"), "workers.command"},
		"model":        {strings.Replace(r.config, llamatest.Base(), short, 1), "base model"},
		"folder":       {strings.Replace(r.config, "adapters: {dir: ", "adapters: {dir: /nowhere", 1), "adapters.dir"},
		"certificates": {r.config + "tls: {cert: " + short + ", key: " + short + "}\n", "tls: "},
		"admin port": {strings.Replace(r.config, `listen: "127.0.0.1:0"`, `listen: "`+used.Addr().String()+`"`, 1),
			"address already in use"},
	} {
		t.Run(name, func(t *testing.T) { r.fails(t, c.config, c.reason) })
	}
}

// TestHangupEndsNothing sends the signals of a running gateway to one that hands over, one
// that drains and one that takes over: none ends.
func TestHangupEndsNothing(t *testing.T) {
	t.Parallel()
	r := replaceWithStream(t, "", func(*gatewayProcess) {})
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2} {
		r.g.cmd.Process.Signal(s)
	}
	r.heir.cmd.Process.Signal(syscall.SIGHUP)
	r.finish(t)
	release := filepath.Join(t.TempDir(), "release")
	r.heir.url = r.g.url
	stream := r.heir.begin("k0", chat("coding", "until="+release, `,"stream":true`))
	r.heir.cmd.Process.Signal(syscall.SIGTERM)
	r.heir.says("stopping, running requests may end")
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2} {
		r.heir.cmd.Process.Signal(s)
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stream.whole(t)
	if code := r.heir.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// stub is an heir that does only what a test has it do.
type stub struct {
	t     *testing.T
	conn  *net.UnixConn
	lines *json.Decoder
}

// take has a stub take over, and returns when the state was given away.
func (r *replaceable) take(t *testing.T) *stub {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(r.state, gateway.HandoverName)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "{\"pid\":%d}\n", os.Getpid())
	handed, err := gateway.ReceivePorts(conn)
	if err != nil || len(handed) != 2 {
		t.Fatalf("%d ports, %v", len(handed), err)
	}
	for _, l := range handed {
		l.Close()
	}
	fmt.Fprintln(conn, `{"holds":true}`)
	s := &stub{t, conn, json.NewDecoder(conn)}
	s.await(func(m gateway.Notice) bool { return m.Crew != nil })
	return s
}

// await blocks until such a notice comes, and returns it.
func (s *stub) await(such func(gateway.Notice) bool) gateway.Notice {
	s.t.Helper()
	for {
		var m gateway.Notice
		if err := s.lines.Decode(&m); err != nil {
			s.t.Fatal(err)
		}
		if such(m) {
			return m
		}
	}
}

// TestUsageIsTakenOnce has an heir say of one request's usage that it has taken it, and end
// with the other's: the gateway before writes that, and no other.
func TestUsageIsTakenOnce(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	var streams []*started
	var releases []string
	for range 2 {
		releases = append(releases, filepath.Join(t.TempDir(), "release"))
		streams = append(streams, r.begin("k0", chat("coding", "until="+releases[len(releases)-1], `,"stream":true`)))
	}
	heir := r.take(t)
	for i, release := range releases {
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		streams[i].whole(t)
		m := heir.await(func(m gateway.Notice) bool { return m.Number > 0 })
		if len(m.Usage) != 1 || m.Usage[0].Requests != 1 {
			t.Errorf("told was %+v, want one request", m.Usage)
		}
		if i == 0 {
			fmt.Fprintf(heir.conn, "{\"took\":%d}\n", m.Number)
			continue
		}
		select {
		case <-r.exited:
			t.Error("the gateway did not wait for its usage to be taken")
		case <-time.After(100 * time.Millisecond):
		}
	}
	heir.conn.Close()
	if code := r.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	next := serve(t, r.config)
	if u := next.usage(); u["ok"] != 1 {
		t.Errorf("the account is %v, want the one request that was not taken", u)
	}
}

// TestHeirOfAGatewayThatStops waits until that has ended, and starts as any other.
func TestHeirOfAGatewayThatStops(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	release := filepath.Join(t.TempDir(), "release")
	stream := r.begin("k0", chat("coding", "until="+release, `,"stream":true`))
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.says("stopping, running requests may end")
	heir := run(t, "serve", "--replace", "--config", write(t, r.config))
	heir.says("waiting for the gateway that starts, takes over or ends")
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stream.whole(t)
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	heir.says("ready")
}

// TestHeirsAtOnce has several gateways come together: each has its turn.
func TestHeirsAtOnce(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	file := write(t, strings.Replace(r.config, "127.0.0.1:0", "127.0.0.1:"+r.port(), 1))
	var heirs []*gatewayProcess
	for range 3 {
		heirs = append(heirs, run(t, "serve", "--replace", "--config", file))
	}
	for _, heir := range heirs { // the next may come before it is ready
		heir.wait("ready, or that another takes over", func(l map[string]any) bool {
			return l["msg"] == "ready" || l["msg"] == "another gateway takes over, running requests may end"
		})
	}
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	http.DefaultClient.CloseIdleConnections()
	if status, text := r.post(chatPath, chat("coding", "hi", "")); status != http.StatusOK {
		t.Errorf("status %d of the last: %s", status, text)
	}
}

// TestHeirIsStopped stops an heir in order as soon as it has the ports, at whatever it is
// then: the account has each request once.
func TestHeirIsStopped(t *testing.T) {
	t.Parallel()
	r := serveReplaceable(t, same)
	release := filepath.Join(t.TempDir(), "release")
	stream := r.begin("k0", chat("coding", "until="+release, `,"stream":true`))
	heir := run(t, "serve", "--replace", "--config", write(t, r.config))
	r.says("another gateway takes over, running requests may end")
	heir.cmd.Process.Signal(syscall.SIGTERM)
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stream.whole(t)
	if code := heir.end(); code != 0 {
		t.Errorf("exit code %d of the heir, want 0", code)
	}
	r.end() // with 0 or 1, by which of the two was first
	next := serve(t, r.config)
	if u := next.usage(); u["ok"] != 1 {
		t.Errorf("the account is %v, want one request", u)
	}
}
