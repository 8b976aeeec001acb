package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/llamatest"
)

// killing is a body that calls kill when so many of its bytes were read.
type killing struct {
	io.Reader
	left int
	kill func()
}

func (k *killing) Read(b []byte) (int, error) {
	if k.left <= 0 {
		k.kill()
		k.left = 1 << 30
	}
	n, err := k.Reader.Read(b[:min(len(b), k.left)])
	k.left -= n
	return n, err
}

// TestGatewayKilledWhileItChanges kills the gateway at moments of adding,
// replacing, removing and rolling back: the next one has each model as it was
// before the change or as it was to be, and as it was to be if the change was
// acknowledged.
func TestGatewayKilledWhileItChanges(t *testing.T) {
	long(t)
	t.Parallel()
	stateDir := filepath.Join(t.TempDir(), "state")
	config := fakeConfig(t, 1, "") + fmt.Sprintf("state: {dir: %s}\n", stateDir)
	k := &killed{t: t, config: config, rng: rand.New(rand.NewPCG(5, 6))}
	k.start()
	const changes, size = 16, 373760 // the uploads' size, nearly: some kills come after their end
	for i := range changes {
		content := llamatest.VariantBytes(t, i)
		switch i % 4 {
		case 0, 1:
			k.change(digestOfBytes(content), func(kill func()) error {
				body := &killing{Reader: bytes.NewReader(content), left: k.rng.IntN(2 * size), kill: kill}
				up := adminclient.Upload{Filename: "victim.gguf", Body: body, Size: int64(len(content))}
				_, err := k.admin.Upload(t.Context(), "victim", up)
				return err
			})
		case 2:
			k.change(k.before, func(kill func()) error {
				defer time.AfterFunc(time.Duration(k.rng.IntN(10))*time.Millisecond, kill).Stop()
				_, err := k.admin.Rollback(t.Context(), "victim")
				return err
			})
		case 3:
			k.change(unknown, func(kill func()) error {
				defer time.AfterFunc(time.Duration(k.rng.IntN(10))*time.Millisecond, kill).Stop()
				return k.admin.Remove(t.Context(), "victim")
			})
		}
	}
	t.Logf("%d changes: %d took place, %d were acknowledged", changes, k.done, k.acknowledged)
	if k.done == 0 || k.acknowledged == changes {
		t.Error("kills that always come too early or too late test nothing")
	}
	for _, path := range glob(t, filepath.Join(stateDir, "blobs", "*")) {
		if digest := strings.TrimSuffix(filepath.Base(path), ".gguf"); digest != digestOf(t, path) {
			t.Errorf("%s does not have the bytes that it is named after", path)
		}
	}
}

// killed is a gateway that is killed and started again.
type killed struct {
	t      *testing.T
	config string
	rng    *rand.Rand
	g      *gatewayProcess
	admin  *adminclient.Client

	active, before string // digests of the victim's versions; unknown if there is none
	done           int    // changes that took place, acknowledged or not
	acknowledged   int
}

func (k *killed) start() {
	k.t.Helper()
	k.g = serve(k.t, k.config)
	k.admin = k.g.admins()
}

// change lets f change the victim and kill the gateway, starts it again and looks
// what became of the change to the digest.
func (k *killed) change(digest string, f func(kill func()) error) {
	k.t.Helper()
	err := f(func() { _ = k.g.cmd.Process.Kill() })
	var refusal *adminclient.Error
	if errors.As(err, &refusal) && refusal.Status != http.StatusConflict && refusal.Status != http.StatusNotFound {
		k.t.Errorf("refused: %v", err)
	}
	if err == nil {
		k.acknowledged++
	}
	_ = k.g.cmd.Process.Kill()
	<-k.g.exited
	k.start()
	a, lookErr := k.admin.Adapter(k.t.Context(), "victim")
	if lookErr != nil && !(errors.As(lookErr, &refusal) && refusal.Status == http.StatusNotFound) {
		k.t.Fatal(lookErr)
	}
	if a.Digest != k.active && a.Digest != digest || err == nil && a.Digest != digest {
		k.t.Errorf("after a change from %.12q to %.12q that ended with %v it is %.12q", k.active, digest, err, a.Digest)
	}
	if a.State == "rejected" || a.State == "quarantined" {
		k.t.Errorf("it is %s: %s", a.State, a.Reason)
	}
	if a.Digest != k.active {
		k.done++
	}
	k.active, k.before = a.Digest, beforeActive(a)
	if status, text := k.g.post(chatPath, chat("victim", "Hi", "")); (status == http.StatusOK) != (k.active != unknown) {
		k.t.Errorf("it is %.12q, and is answered with %d %s", k.active, status, text)
	}
}

// beforeActive returns the digest of the version before the active one.
func beforeActive(a adminapi.Adapter) string {
	digest := a.Digest // a rollback without a version to go to changes nothing
	for _, v := range a.Versions {
		if v.Active {
			break
		}
		digest = v.Digest
	}
	return digest
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %d files", pattern, err, len(files))
	}
	return files
}
