package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClientsTakeNoFilesFromWorkers has many more connections than files may be open.
// The gateway accepts what it can serve, and no worker is ended for it.
func TestClientsTakeNoFilesFromWorkers(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, fakeConfig(t, 1, ""))
	g := runProgram(t, shell, "-c", `ulimit -n 400; exec "$0" serve --config "$1"`, gatewayLink(t), config)
	g.url, _ = g.says("ready")["url"].(string)
	g.wait("the warning", func(line map[string]any) bool {
		text, _ := line["msg"].(string)
		return strings.Contains(text, "few files may be open")
	})
	pid := g.says("worker ready")["pid"]
	address := strings.TrimPrefix(g.url, "http://")
	for range 600 { // more than there are files
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	for i := range 20 {
		resp, err := client.Post(g.url+chatPath, "application/json",
			strings.NewReader(chat("coding", fmt.Sprint("Hi ", i), "")))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: %d", i, resp.StatusCode)
		}
	}
	s, err := adminState(g.adminURL())
	if err != nil || fmt.Sprint(s.Workers[0].PID) != fmt.Sprint(pid) || s.Workers[0].Restarts != 0 {
		t.Errorf("the worker was process %v and is %+v, %v", pid, s.Workers, err)
	}
}

// TestSilentClientsKeepNobodyOut has hundreds of connections that send nothing, more than
// files may be open, and then clients with requests.
func TestSilentClientsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, fakeConfig(t, 1, ""))
	g := runProgram(t, shell, "-c", `ulimit -n 200; exec "$0" serve --config "$1"`, gatewayLink(t), config)
	g.url, _ = g.says("ready")["url"].(string)
	for range 500 {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			resp, err := client.Post(g.url+chatPath, "application/json",
				strings.NewReader(chat("coding", fmt.Sprint("Hi ", i), "")))
			if err != nil {
				t.Error(err)
				return
			}
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				t.Errorf("request %d: %d", i, resp.StatusCode)
			}
		})
	}
	wg.Wait()
}

// gatewayLink is a link to the test binary under which it is the gateway.
func gatewayLink(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), gatewayName)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}
