package load

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a server may take to end after SIGTERM.
const stopGrace = 30 * time.Second

// process is a running server program.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	log    *logTail
}

// launch starts a program. Its goroutine stays locked to its thread: Linux
// sends Pdeathsig when the thread that started the child ends.
func launch(command string, args, env []string) (*process, error) {
	p := &process{cmd: exec.Command(command, args...), exited: make(chan struct{}), log: &logTail{}}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = sysProcAttr()
	p.cmd.WaitDelay = time.Second // something that inherited the pipe must not hold Wait up
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is of no interest once it was told to
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	return p, nil
}

// stop asks the process to end, kills it after a while, and blocks until it is
// gone: the next server must not share the device with it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// environment is this process's less what would change a server's settings
// behind the benchmark's back, with further variables.
func environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "LLAMA_ARG_") && !strings.HasPrefix(kv, "LLAMA_API_KEY=") &&
			!strings.HasPrefix(kv, "GATEWAY_") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// logTail keeps the last output of a server, for the error when it fails.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

const logKept = 8 << 10 // bytes

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - logKept; over > 0 {
		l.text = append([]byte(nil), l.text[over:]...)
	}
	return len(p), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
