package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/fulldisk"
	"github.com/loragate/loragate/internal/llamatest"
)

// crowded is a gateway with real workers whose state is on a disk that gets full.
type crowded struct {
	t      *testing.T
	disk   *fulldisk.Disk
	config string
	state  string
	g      *gatewayProcess
	admin  *adminclient.Client
}

func (c *crowded) start() {
	c.t.Helper()
	c.g = serve(c.t, c.config)
	c.admin = c.g.admins()
}

func (c *crowded) stop() {
	c.t.Helper()
	_ = c.g.cmd.Process.Signal(syscall.SIGTERM)
	if code := c.g.end(); code != 0 {
		c.t.Fatalf("exit code %d", code)
	}
	<-c.g.drained
}

// asks sends n requests for a model, which must be answered.
func (c *crowded) asks(model string, n int) {
	c.t.Helper()
	for range n {
		if status := c.g.statusFor("k0", http.MethodPost, chatPath,
			chat(model, "Hi", `,"max_tokens":4`)); status != http.StatusOK {
			c.t.Errorf("%s: status %d", model, status)
		}
	}
}

// account fails unless the account gets to so many requests: the last ones are in it a
// moment after their answers.
func (c *crowded) account(want int64) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		u, err := c.admin.Usage(c.t.Context(), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		var sum int64
		for _, s := range u.Sums {
			sum += s.Requests
		}
		if sum == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			c.t.Fatalf("%d requests are in the account, want %d", sum, want)
		}
	}
}

// refused fails unless a change is refused because the disk is full.
func (c *crowded) refused(what string, err error) {
	c.t.Helper()
	var refusal *adminclient.Error
	if !errors.As(err, &refusal) || refusal.Status != http.StatusInsufficientStorage || refusal.Code != "disk_full" ||
		!strings.Contains(refusal.Message, "the disk is full") {
		c.t.Errorf("%s: %v (%+v)", what, err, refusal)
	}
	if err != nil && strings.Contains(err.Error(), c.disk.Dir) {
		c.t.Errorf("%s: the message has a path: %v", what, err)
	}
}

// degraded fails unless /ready, always with 200, and the metrics tell of a full disk, or
// of none.
func (c *crowded) degraded(full bool) {
	c.t.Helper()
	resp, text, err := c.g.as("k0", http.MethodGet, "/ready", "")
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || strings.Contains(text, `"degraded"`) != full ||
		strings.Contains(text, "full") != full {
		c.t.Errorf("/ready: %s %s", resp.Status, text)
	}
	url := c.g.adminURL()
	if got := c.g.metric(url, `loragate_state_degraded{cause="full"}`); got == 1 != full {
		c.t.Errorf("full is %d", got)
	}
	if got := c.g.metric(url, `loragate_state_degraded{cause="damaged"}`); got != 0 {
		c.t.Errorf("damaged is %d", got)
	}
}

// said is how often the log has a message.
func (c *crowded) said(message string) (n int) {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	for _, line := range c.g.lines {
		if text, _ := line["msg"].(string); strings.HasPrefix(text, message) {
			n++
		}
	}
	return n
}

// vanishes blocks until bytes are no longer stored, and their room is free.
func (c *crowded) vanishes(digest string, room int64) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(3 * time.Minute)
	for {
		_, err := os.Stat(filepath.Join(c.state, "blobs", digest+".gguf"))
		if errors.Is(err, os.ErrNotExist) && c.disk.Room() >= room { // which comes a moment after
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			c.t.Fatalf("the bytes of what was removed are still there: %d are free", c.disk.Room())
		}
	}
}

const fullLine = "the disk of the state is full"

// TestGatewayOnAFullDisk starts a gateway whose state's disk has not a free byte. It
// serves, says once what is wrong, refuses what would add something and removes what
// frees some; with room again everything works, and the account is exact.
func TestGatewayOnAFullDisk(t *testing.T) {
	long(t)
	t.Parallel()
	disk := fulldisk.New(t, "8m")
	if disk == nil {
		return
	}
	c := &crowded{t: t, disk: disk, state: filepath.Join(disk.Dir, "state")}
	c.config = realConfig(t, 1, 2) + fmt.Sprintf("state: {dir: %s}\ntenants: [{name: acme, keys: [%s]}]\n", c.state,
		auth.Hash("k0"))
	one, two := llamatest.Variant(t, "one", 1), llamatest.Variant(t, "two", 2)
	c.start()
	a, err := c.admin.Put(t.Context(), "first", adminapi.PutRequest{Source: one}, true)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.admin.CreateKey(t.Context(), adminapi.CreateKeyRequest{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	c.asks("first", 3)
	c.degraded(false)
	c.stop()

	disk.Fill()
	c.config += "compositions: [{name: both, parts: [{adapter: coding}, {adapter: " +
		"chat}]}]\n" // what is configured needs no room
	c.start()
	c.g.wait(fullLine, func(l map[string]any) bool { return strings.HasPrefix(fmt.Sprint(l["msg"]), fullLine) })
	c.asks("first", 5)
	c.asks("coding", 2)
	c.asks("both", 1)
	c.degraded(true)
	c.account(3) // what cannot be written is not in it
	_, err = c.admin.Put(t.Context(), "second", adminapi.PutRequest{Source: two}, true)
	c.refused("an adapter", err)
	up, err := adminclient.Open(two, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.admin.Upload(t.Context(), "second", up)
	c.refused("an upload", err)
	_, err = c.admin.Pin(t.Context(), "first", true)
	c.refused("a pin", err)
	_, err = c.admin.CreateKey(t.Context(), adminapi.CreateKeyRequest{Tenant: "acme"})
	c.refused("a key", err)
	if status := c.g.statusFor("k0", http.MethodPost, chatPath, chat("second", "Hi", "")); status != http.StatusNotFound {
		t.Errorf("what was refused is answered with %d", status)
	}
	if err := c.admin.RevokeKey(t.Context(), key.Key.ID); err != nil {
		t.Errorf("a revocation: %v", err)
	}
	disk.Fill() // nobody has become room
	if err := c.admin.Remove(t.Context(), "first"); err != nil {
		t.Errorf("a removal: %v", err)
	}
	c.vanishes(a.Digest, a.Bytes/2)
	if n := c.said(fullLine); n != 1 {
		t.Errorf("the log tells %d times that the disk is full", n)
	}
	for _, word := range []string{"usage could not be written", "storing", "admin call failed"} {
		if n := c.said(word); n > 0 {
			t.Errorf("the log has %q %d times", word, n)
		}
	}
	disk.Empty()
	if _, err := c.admin.Put(t.Context(), "second", adminapi.PutRequest{Source: two}, true); err != nil {
		t.Errorf("with room again: %v", err)
	}
	c.asks("second", 1)
	c.degraded(false)
	c.account(13) // with the one that was not found
	c.stop()
	c.start()
	if _, err := c.admin.Adapter(t.Context(), "first"); err == nil {
		t.Error("what was removed is back")
	}
	c.account(13)
	c.asks("second", 1)
}

// TestGatewayStopsOnAFullDisk ends while usage waits for room: it is in the account of
// the next start, once.
func TestGatewayStopsOnAFullDisk(t *testing.T) {
	long(t)
	t.Parallel()
	disk := fulldisk.New(t, "8m")
	if disk == nil {
		return
	}
	c := &crowded{t: t, disk: disk, state: filepath.Join(disk.Dir, "state")}
	c.config = fakeConfig(t, 1, "") + fmt.Sprintf("state: {dir: %s}\ntenants: [{name: acme, keys: [%s]}]\n", c.state,
		auth.Hash("k0"))
	c.start()
	c.asks("coding", 3)
	c.stop()
	for round := range int64(3) {
		disk.Fill()
		c.start()
		c.account(3 * (round + 1))
		c.asks("coding", 3)
		c.stop()
	}
	disk.Empty()
	c.start()
	c.account(12)
}
