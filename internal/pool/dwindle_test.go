package pool_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/pool"
)

// dwindled begins to let workers go, and returns what tells of them.
func (r *rig) dwindle() <-chan string {
	ended := make(chan string, 10)
	r.Dwindle(func(device string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		ended <- fmt.Sprintf("%s, %d left", device, r.running())
	})
	return ended
}

// TestWorkersGoOneByOne lets a pool's workers go while streams run on two of three: each
// goes when nothing runs on it, and the last one stays for what may come.
func TestWorkersGoOneByOne(t *testing.T) {
	r := newRig(t, 3)
	r.opts.Devices = []string{"one", "two", "three"}
	a := r.file("a")
	r.open(a)
	var streams []*stream
	for _, files := range [][]pool.File{{}, {a}} {
		streams = append(streams, r.stream(files...))
	}
	taken := map[int]bool{streams[0].lease.Member: true, streams[1].lease.Member: true}
	ended := r.dwindle()
	for id, device := range r.opts.Devices {
		if got := device + ", 2 left"; !taken[id] {
			if said := <-ended; said != got {
				t.Errorf("ended: %s, want %s", said, got)
			}
		}
	}
	first := streams[0].lease.Member
	streams[0].end()
	if said, want := <-ended, r.opts.Devices[first]+", 1 left"; said != want {
		t.Errorf("ended: %s, want %s", said, want)
	}
	streams[1].end()
	for range 3 {
		if l := r.ask(a).done(); l.Member != streams[1].lease.Member {
			t.Errorf("served by worker %d", l.Member)
		}
	}
	if pids := r.PIDs(); len(pids) != 1 {
		t.Errorf("there are %d processes", len(pids))
	}
	r.Close()
	if len(ended) > 0 {
		t.Errorf("the last one is told of: %s", <-ended)
	}
}

// TestNoWorkerGoesWhileRequestsWait, which might need it.
func TestNoWorkerGoesWhileRequestsWait(t *testing.T) {
	r := newRig(t, 2)
	a, b, c := r.file("a"), r.file("b"), r.file("c")
	r.open(a, b, c)
	first, second := r.stream(a), r.stream(b)
	waiting := r.ask(c)
	r.awaitWaiting(1)
	ended := r.dwindle()
	first.end()
	l := waiting.served()
	if l.Member != first.lease.Member {
		t.Errorf("served by worker %d", l.Member)
	}
	if len(ended) > 0 {
		t.Errorf("ended: %s", <-ended)
	}
	l.Release(pool.Done, pool.Usage{})
	<-ended
	second.end()
}

// TestWorkerThatStartsGoesWhenItIsUp, and so does one that was to be started again.
func TestWorkerThatStartsGoesWhenItIsUp(t *testing.T) {
	r := newRig(t, 3)
	r.open()
	open := r.shut(gate{member: 1})
	r.Restart(1)
	r.awaitHealth(1, pool.Down)
	r.fail(2, errors.New("no memory"))
	if err := syscall.Kill(r.Stats().Workers[2].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.awaitHealth(2, pool.Down)
	ended := r.dwindle()
	open()
	for range 2 {
		<-ended
	}
	r.ask().done()
	if pids := r.PIDs(); len(pids) != 1 {
		t.Errorf("there are %d processes", len(pids))
	}
}

// TestSpareTakesNoPlaceInAPoolThatGoes: the last worker loads what is asked for itself.
func TestSpareTakesNoPlaceInAPoolThatGoes(t *testing.T) {
	r, a, b := withSpare(t)
	r.dwindle()
	for _, file := range []pool.File{a, b, a} {
		if l := r.ask(file).done(); l.Member != 0 {
			t.Errorf("served by worker %d", l.Member)
		}
	}
	if n := r.startsOf(1); n != 0 {
		t.Errorf("the spare was started %d times", n)
	}
}

// TestWorkersEnter has each worker wait until it may start, on a device that is known then.
func TestWorkersEnter(t *testing.T) {
	r := newRig(t, 2)
	may := []chan string{make(chan string, 1), make(chan string, 1)}
	r.opts.Enter = func(ctx context.Context, id int) (string, error) {
		select {
		case device := <-may[id]:
			return device, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	r.begin()
	early := r.ask()
	r.awaitWaiting(1)
	if len(r.PIDs()) > 0 {
		t.Error("a worker did not wait")
	}
	may[0] <- "here"
	if err := r.Serves(t.Context()); err != nil {
		t.Fatal(err)
	}
	early.done()
	if h := r.Stats().Workers[1].Health; h != pool.Down {
		t.Errorf("the second worker is %s", h)
	}
	may[1] <- "there"
	r.awaitHealth(1, pool.Up)
	devices, known := r.Devices()
	if fmt.Sprint(devices, known) != "[here there] true" {
		t.Errorf("%v, %v", devices, known)
	}
}
