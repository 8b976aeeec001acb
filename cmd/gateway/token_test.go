package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/state"
)

const oneTenant = "tenants: [{name: acme, keys: [%s]}]\n"

// TestTenantsAreNoOperators has tenants and no admin.token: nobody changes anything
// without the token that the gateway made, but the command line finds it.
func TestTenantsAreNoOperators(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	config := fakeConfig(t, 1, "") + fmt.Sprintf("state: {dir: %s}\ncatalog: {vllm_endpoints: true}\n"+oneTenant, dir,
		auth.Hash("acme-key"))
	g := serve(t, config)
	for _, key := range []string{"", "acme-key"} {
		for _, path := range []string{"/v1/load_lora_adapter", "/v1/unload_lora_adapter"} {
			if status := g.statusFor(key, "POST", path,
				`{"lora_name":"coding","lora_path":"/x"}`); status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", path, key, status)
			}
		}
		for _, path := range []string{"/admin/v1/keys", "/admin/v1/state", "/metrics"} {
			req, err := http.NewRequest("GET", g.adminURL()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", path, key, resp.StatusCode)
			}
		}
	}
	out, _, err := g.operate("keys", "create", "acme")
	if key := strings.TrimSpace(out); err != nil || g.statusFor(key, "GET", "/v1/models", "") != http.StatusOK {
		t.Errorf("%q, %v", out, err)
	}
	if out, _, err := g.operate("top", "--once"); err != nil || !strings.Contains(out, "WORKER") {
		t.Errorf("%s, %v", out, err)
	}
	token, err := state.ReadToken(filepath.Join(dir, state.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	if status := g.statusFor(token, "POST", "/v1/unload_lora_adapter",
		`{"lora_name":"nothing"}`); status != http.StatusNotFound {
		t.Errorf("with the token: %d", status)
	}
}

// TestReloadOpensNothing takes the tenants out of a running gateway's configuration,
// and puts them into one that had none.
func TestReloadOpensNothing(t *testing.T) {
	t.Parallel()
	plain := fakeConfig(t, 1, "") + "catalog: {vllm_endpoints: true}\n"
	closed := plain + fmt.Sprintf(oneTenant, auth.Hash("acme-key"))
	file := write(t, plain)
	g := run(t, "serve", "--config", file)
	g.url, _ = g.says("ready")["url"].(string)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	reload := func(config string, fits func(line map[string]any) bool) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		g.wait("the reload", fits)
	}
	if status := g.statusFor("", "POST", "/v1/unload_lora_adapter",
		`{"lora_name":"nothing"}`); status != http.StatusNotFound {
		t.Errorf("without tenants: %d", status)
	}
	reload(closed, func(line map[string]any) bool { return line["msg"] == "the configuration has changed" })
	for _, empty := range []string{"", "tenants: []\n"} {
		reload(plain+empty, func(line map[string]any) bool {
			text, _ := line["error"].(string)
			return strings.Contains(text, "a restart is needed")
		})
		if status := g.statusFor("", "GET", "/v1/models", ""); status != http.StatusUnauthorized {
			t.Errorf("after a reload without tenants: %d", status)
		}
	}
	if status := g.statusFor("", "POST", "/v1/unload_lora_adapter",
		`{"lora_name":"nothing"}`); status != http.StatusUnauthorized {
		t.Errorf("vLLM's endpoints after the first tenant came: %d", status)
	}
	if _, err := g.admins().Keys(t.Context()); err != nil {
		t.Errorf("the admin API, with the token that was made: %v", err)
	}
}
