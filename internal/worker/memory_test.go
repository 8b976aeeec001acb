package worker

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/hostmem"
	"github.com/loragate/loragate/internal/llamatest"
)

// realOptions returns options for a real llama-server with the demo model.
func realOptions(t *testing.T) Options {
	opts := fakeOptions(t)
	opts.Command, opts.Args, opts.Model, opts.Adapters = llamatest.Binary(t), nil, llamatest.Base(), nil
	opts.Threads, opts.StopTimeout = 1, 10*time.Second
	return opts
}

func TestWorkerThatOutgrowsItsMemoryIsEnded(t *testing.T) {
	w, err := Start(t.Context(), realOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	had, err := hostmem.Private(w.PID())
	w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	opts := realOptions(t)
	opts.MemoryLimit = had + 200<<20
	if w, err = Start(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if answer, err := ask(t, w, `{"prompt":"hi","n_predict":2}`); err != nil {
		t.Fatalf("an ordinary request: %v, %s", err, answer)
	}
	// llama-server keeps a number for each of them.
	_, err = ask(t, w, `{"prompt":"hi","n_predict":200,"ignore_eos":true,"repeat_last_n":400000000,"repeat_penalty":1.1}`)
	if err == nil {
		t.Fatal("the worker answers with all the memory that it likes")
	}
	<-w.Exited()
	var exit *ExitError
	if !errors.As(w.Err(), &exit) || !exit.Outgrew || exit.Outside {
		t.Errorf("it ended with %v", w.Err())
	}
}

func ask(t *testing.T, w *Worker, body string) ([]byte, error) {
	resp, err := w.Forward(t.Context(), "/completion", []byte(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

func TestMemoryLimitLeavesRoom(t *testing.T) {
	w, err := Start(t.Context(), realOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	used, err := hostmem.Private(w.PID())
	if err != nil {
		t.Fatal(err)
	}
	if limit := w.memoryLimit(); limit < used+leastGrowth {
		t.Errorf("%d MiB are allowed of which %d are used", limit>>20, used>>20)
	}
}

func TestWhoEndedAWorker(t *testing.T) {
	for name, test := range map[string]struct {
		end     func(*Worker)
		outside bool
	}{
		"an operator":      {func(w *Worker) { _ = syscall.Kill(w.PID(), syscall.SIGKILL) }, true},
		"a polite one":     {func(w *Worker) { _ = syscall.Kill(w.PID(), syscall.SIGTERM) }, true},
		"its own fault":    {func(w *Worker) { _ = syscall.Kill(w.PID(), syscall.SIGSEGV) }, false},
		"its own judgment": {func(w *Worker) { _ = syscall.Kill(w.PID(), syscall.SIGABRT) }, false},
		"the gateway":      {func(w *Worker) { w.Kill("for a reason") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := Start(t.Context(), fakeOptions(t))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			test.end(w)
			<-w.Exited()
			var exit *ExitError
			if !errors.As(w.Err(), &exit) || exit.Outside != test.outside {
				t.Errorf("it ended with %#v", w.Err())
			}
		})
	}
}
