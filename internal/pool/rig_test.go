package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

func TestMain(m *testing.M) {
	fakeworker.MaybeMain()
	goleak.VerifyTestMain(m)
}

// rig is a pool over fake workers. What a test wants to hold up goes through its
// gates.
type rig struct {
	*pool.Pool
	t    *testing.T
	dir  string // of adapters
	opts pool.Options

	mu          sync.Mutex
	starts      []pool.Start
	up          map[int]int            // processes, by member
	fewest      int                    // that were up at a time, since counting began
	quarantined map[pool.File]string   // what the pool told, and why
	fails       map[int]error          // members whose processes do not start
	gates       map[gate]chan struct{} // closed ones hold up who comes to them
}

// gate is a place where a member's supervisor can be held up.
type gate struct {
	stop   bool // before a process ends, else before one starts
	member int
}

// newRig returns a rig whose pool is not there yet.
func newRig(t *testing.T, workers int) *rig {
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, up: map[int]int{}, quarantined: map[pool.File]string{}, fails: map[int]error{},
		gates: map[gate]chan struct{}{}}
	command := fakeworker.Link(t)
	r.opts = pool.Options{
		Count: workers, Slots: 2, Queue: 100, MaxWait: time.Minute, Quantum: 10 * time.Millisecond,
		ScaleOutAfter:  time.Millisecond,
		ReloadInterval: time.Millisecond, CallTimeout: time.Minute, Log: slog.New(slog.DiscardHandler),
		Quarantined: func(file pool.File, reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if before, twice := r.quarantined[file]; twice {
				t.Errorf("%s was quarantined by %q, and again by %q", file, before, reason)
			}
			r.quarantined[file] = reason
		},
		Start: func(ctx context.Context, s pool.Start) (pool.Runner, error) {
			if err := r.starting(ctx, s); err != nil {
				return nil, err
			}
			w, err := worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(s.ID), Command: command, Model: "unused", Alias: "base", Adapters: paths(s.Files), Slots: 2,
				Context: 64, Dir: dir, StartTimeout: time.Minute, StopTimeout: time.Minute, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				return nil, err
			}
			r.count(s.ID, 1)
			return &process{Runner: w, r: r, member: s.ID}, nil
		},
	}
	return r
}

func paths(files []pool.File) []string {
	list := make([]string, len(files))
	for i, file := range files {
		list[i] = string(file)
	}
	return list
}

// process is a worker whose end the rig sees.
type process struct {
	pool.Runner
	r      *rig
	member int
}

func (p *process) Stop() {
	p.r.pass(context.Background(), gate{stop: true, member: p.member})
	p.r.count(p.member, -1)
	p.Runner.Stop()
}

// open starts the pool and returns when its workers are up. It is closed with the
// test.
func (r *rig) open(files ...pool.File) *rig {
	r.t.Helper()
	r.begin(files...)
	if err := r.Started(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.await("all workers are up", func(s pool.Stats) bool {
		for _, w := range s.Workers[:r.opts.Count] {
			if !w.Up() {
				return false
			}
		}
		return true
	})
	return r
}

func (r *rig) begin(files ...pool.File) {
	r.Pool = pool.New(r.opts, stockOf(files...))
	r.t.Cleanup(r.Close)
}

func stockOf(files ...pool.File) []pool.Stock {
	list := make([]pool.Stock, len(files))
	for i, file := range files {
		list[i] = pool.Stock{File: file, Bytes: 1}
	}
	return list
}

// starting notes a start, and says whether it is to fail.
func (r *rig) starting(ctx context.Context, s pool.Start) error {
	r.mu.Lock()
	r.starts = append(r.starts, s)
	err := r.fails[s.ID]
	r.mu.Unlock()
	r.pass(ctx, gate{member: s.ID})
	return err
}

func (r *rig) count(member, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up[member] += n
	r.fewest = min(r.fewest, r.running())
}

// running returns how many processes there are. The caller has the lock.
func (r *rig) running() int {
	n := 0
	for _, up := range r.up {
		n += up
	}
	return n
}

// watch begins to count anew.
func (r *rig) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fewest, r.starts = r.running(), nil
}

func (r *rig) fewestUp() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fewest
}

func (r *rig) startsOf(member int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.starts {
		if s.ID == member {
			n++
		}
	}
	return n
}

// expectReason blocks until the pool has told why a file is quarantined.
func (r *rig) expectReason(file pool.File, want string) {
	r.t.Helper()
	told := func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.quarantined[file]
	}
	r.await("a reason is told", func(pool.Stats) bool { return told() != "" })
	if got := told(); !strings.Contains(got, want) {
		r.t.Errorf("%s is quarantined because %q, want %q", file, got, want)
	}
}

func (r *rig) fail(member int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails[member] = err
}

// shut closes a gate, and returns a function that opens it again.
func (r *rig) shut(g gate) (open func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan struct{})
	r.gates[g] = c
	open = sync.OnceFunc(func() { close(c) })
	r.t.Cleanup(open) // before the pool is closed
	return open
}

// pass blocks while the gate is shut and ctx goes on.
func (r *rig) pass(ctx context.Context, g gate) {
	r.mu.Lock()
	c := r.gates[g]
	r.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case <-c:
	case <-ctx.Done():
	}
}

// file makes an adapter.
func (r *rig) file(name string) pool.File { return r.write(name, "an adapter") }

// poison makes an adapter that ends the processes which load it.
func (r *rig) poison(name string) pool.File { return r.write(name, fakeworker.Poison) }

func (r *rig) write(name, content string) pool.File {
	r.t.Helper()
	path := filepath.Join(r.dir, name+".gguf")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return pool.File(path)
}

// await blocks until the pool fits.
func (r *rig) await(what string, fits func(pool.Stats) bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		s := r.Stats()
		if fits(s) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			r.t.Fatalf("after a minute it is not so that %s: %+v", what, s)
		}
	}
}

func (r *rig) awaitHealth(worker int, h pool.Health) {
	r.t.Helper()
	r.await(fmt.Sprintf("worker %d is %s", worker, h), func(s pool.Stats) bool { return s.Workers[worker].Health == h })
}

func (r *rig) awaitWaiting(n int) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d wait", n), func(s pool.Stats) bool { return s.Waiting == n })
}

// awaitLoaded blocks until every worker has these files and no others.
func (r *rig) awaitLoaded(files ...pool.File) {
	r.t.Helper()
	want := fmt.Sprint(files)
	r.await("all workers have "+want, func(s pool.Stats) bool {
		for _, w := range s.Workers[:r.opts.Count] {
			if fmt.Sprint(w.Loaded) != want {
				return false
			}
		}
		return true
	})
}

func targetOf(files ...pool.File) pool.Target {
	t := pool.Target{Identity: pool.Identity(fmt.Sprint(files))}
	for _, file := range files {
		t.Parts = append(t.Parts, pool.Part{Path: string(file), Scale: 1})
	}
	return t
}

// asked is a request that waits for its lease.
type asked struct {
	r      *rig
	files  []pool.File
	result chan struct{} // closed when it is there
	lease  *pool.Lease
	err    error
}

// ask asks for a lease and does not wait for it.
func (r *rig) ask(files ...pool.File) *asked {
	a := &asked{r: r, files: files, result: make(chan struct{})}
	go func() {
		defer close(a.result)
		a.lease, a.err = r.Acquire(context.Background(), pool.Request{Target: targetOf(files...)})
	}()
	return a
}

// brief asks for a lease and gives it back as soon as it has it.
func (r *rig) brief(files ...pool.File) *asked {
	a := &asked{r: r, files: files, result: make(chan struct{})}
	go func() {
		defer close(a.result)
		if a.lease, a.err = r.Acquire(context.Background(), pool.Request{Target: targetOf(files...)}); a.err == nil {
			a.lease.Release(pool.Done, pool.Usage{Completion: 1})
		}
	}()
	return a
}

// served blocks until the request has its lease, and returns that.
func (a *asked) served() *pool.Lease {
	a.r.t.Helper()
	if <-a.result; a.err != nil {
		a.r.t.Fatalf("%v: %v", a.files, a.err)
	}
	return a.lease
}

// done ends the request as soon as it is served, and returns its lease.
func (a *asked) done() *pool.Lease {
	a.r.t.Helper()
	l := a.served()
	l.Release(pool.Done, pool.Usage{Completion: 1})
	return l
}

// refused blocks until the request is turned away, and returns why.
func (a *asked) refused() error {
	a.r.t.Helper()
	if <-a.result; a.err == nil {
		a.lease.Release(pool.Done, pool.Usage{})
		a.r.t.Fatalf("%v is served", a.files)
	}
	return a.err
}

// spoiledBy checks that the request is turned away because of a file.
func (a *asked) spoiledBy(file pool.File, reason string) {
	a.r.t.Helper()
	var quarantined *pool.QuarantinedFileError
	if err := a.refused(); !errors.As(err, &quarantined) || quarantined.File != file ||
		!strings.Contains(quarantined.Reason, reason) {
		a.r.t.Errorf("%v: %v, want %s to be the reason, because %q", a.files, err, file, reason)
	}
}

// stream is an answer that goes on until it is released.
type stream struct {
	r       *rig
	lease   *pool.Lease
	resp    *upstream.Response
	lines   *bufio.Reader
	release string
}

// stream runs a request and returns when the first event of its answer is there.
func (r *rig) stream(files ...pool.File) *stream {
	r.t.Helper()
	s := &stream{r: r, lease: r.ask(files...).served(), release: filepath.Join(r.t.TempDir(), "release")}
	body := fmt.Sprintf(`{"stream":true,"id_slot":%d,"messages":[{"content":"until=%s"}]}`, s.lease.Slot, s.release)
	var err error
	if s.resp, err = s.lease.Worker.Forward(context.Background(), "/v1/chat/completions", []byte(body)); err != nil {
		r.t.Fatal(err)
	}
	s.lines = bufio.NewReader(s.resp.Body)
	if line, err := s.lines.ReadString('\n'); err != nil {
		r.t.Fatalf("%q, %v", line, err)
	}
	return s
}

// end releases the stream and checks that it ends whole.
func (s *stream) end() {
	s.r.t.Helper()
	if err := os.WriteFile(s.release, nil, 0o600); err != nil {
		s.r.t.Fatal(err)
	}
	rest, err := io.ReadAll(s.lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		s.r.t.Errorf("a stream ended with %v: %q", err, rest[max(0, len(rest)-60):])
	}
	s.resp.Body.Close()
	s.lease.Release(pool.Done, pool.Usage{Completion: 1})
}

// lose reads a stream to its end, which may come too early.
func (s *stream) lose() {
	_, _ = io.Copy(io.Discard, s.lines)
	s.resp.Body.Close()
	s.lease.Release(pool.Failed, pool.Usage{})
}
