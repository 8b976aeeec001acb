package pool_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/worker"
)

// careless uses a worker as a naive gateway would: it applies adapters and
// neither erases slots nor names the adapter in requests.
type careless struct{ *worker.Worker }

func (careless) Erase(context.Context, int) error { return nil }

func (c careless) Complete(ctx context.Context, probe worker.Probe) ([]worker.Token, error) {
	probe.InForce = !probe.Cold
	return c.Worker.Complete(ctx, probe)
}

// TestSelfTest runs the self-test on the real llama-server: used our way it
// passes, and used carelessly it must not.
func TestSelfTest(t *testing.T) {
	files := llamatest.Adapters()
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w, err := worker.Start(t.Context(), worker.Options{
		Name: "0", Command: llamatest.Binary(t), Model: llamatest.Base(), Alias: "demo",
		Adapters: []string{files["coding"], files["legal-r4"]}, Slots: 2, Context: 512, Threads: 1, Dir: dir,
		StartTimeout: time.Minute, StopTimeout: 10 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)

	loaded := []pool.File{pool.File(files["coding"]), pool.File(files["legal-r4"])}
	if err := pool.SelfTest(2, time.Minute)(t.Context(), w, loaded); err != nil {
		t.Errorf("used our way: %v", err)
	}
	err = pool.SelfTest(1, time.Minute)(t.Context(), careless{w}, loaded)
	if err == nil || !strings.Contains(err.Error(), "answers wrongly after adapters were swapped") {
		t.Errorf("used carelessly: %v, want it refused", err)
	}
}
