package mps

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// message is a line from the keeper to a gateway. Gateways send nothing: that they
// hold the connection is all that they have to say. A keeper may be of another
// version than the gateway, so unknown fields are passed over.
type message struct {
	Pipe string `json:"pipe,omitempty"` // with Logs, once, when the daemon answers
	Logs string `json:"logs,omitempty"`
	Gone string `json:"gone,omitempty"` // why the daemon is not there; the connection ends
}

// errEnding is a keeper's that closed the connection before its daemon answered.
var errEnding = errors.New("the keeper ended")

// join returns a lease from the keeper that there is, or from a new one. The caller
// holds the directory's lock.
func (o Options) join(ctx context.Context) (*Lease, error) {
	if conn, err := net.Dial("unix", filepath.Join(o.Dir, socketName)); err == nil {
		lease, err := greet(ctx, conn)
		if err == nil {
			o.Log.Info("using the control daemon of CUDA's multi-process service that another gateway started", "dir",
				lease.pipe)
			return lease, nil
		}
		if !errors.Is(err, errEnding) {
			return nil, failed(ctx, NotStarted, "CUDA's multi-process service did not start", err)
		}
		// It had decided to end when we came. A new one waits for its end.
	}
	conn, status, err := o.startKeeper()
	if err != nil {
		return nil, failed(ctx, NotStarted, "the keeper of CUDA's multi-process service could not be started", err)
	}
	lease, err := greet(ctx, conn)
	if err != nil {
		if errors.Is(err, errEnding) {
			select {
			case how := <-status:
				err = fmt.Errorf("its keeper ended: %s", how)
			case <-ctx.Done():
			}
		}
		return nil, failed(ctx, NotStarted, "CUDA's multi-process service did not start", err)
	}
	o.Log.Info("started a control daemon of CUDA's multi-process service", "dir", lease.pipe)
	return lease, nil
}

// startKeeper starts a keeper that outlives this process and returns the connection
// to it that it was born with, so that it never runs without one. status gets how it
// ended, if this process is there to see. One goroutine waits for that.
func (o Options) startKeeper() (conn net.Conn, status <-chan string, err error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	defer ours.Close() // FileConn has its own
	args := append(append([]string{}, o.Keeper[1:]...), "--dir", o.Dir, "--control", o.Control)
	cmd := exec.Command(o.Keeper[0], args...)
	cmd.Env = without(o.Environ, pipeVariable, logsVariable)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs} // inheritedFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if conn, err = net.FileConn(ours); err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil { // stdin, stdout and stderr are /dev/null
		conn.Close()
		return nil, nil, err
	}
	ends := make(chan string, 1)
	go func() { ends <- describe(cmd.Wait()) }()
	return conn, ends, nil
}

func describe(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// socketPair returns two connected Unix sockets that children do not inherit.
func socketPair() (a, b *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	return os.NewFile(uintptr(pair[0]), "gateway"), os.NewFile(uintptr(pair[1]), "keeper"), nil
}

// greet waits for the keeper's first message and makes a lease of the connection,
// which it closes if it returns an error.
func greet(ctx context.Context, conn net.Conn) (*Lease, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	messages := json.NewDecoder(bufio.NewReader(conn))
	var first message
	err := messages.Decode(&first)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	switch {
	case err == nil && first.Gone != "":
		err = errors.New(first.Gone)
	case err == nil && first.Pipe == "":
		err = errors.New("the keeper says nothing of a daemon")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		err = errEnding
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	leaving, leave := context.WithCancel(context.Background())
	l := &Lease{pipe: first.Pipe, logs: first.Logs, own: true, done: make(chan struct{})}
	l.release = func() { leave(); conn.Close() }
	go func() { l.finish(follow(leaving, conn, messages)) }()
	return l, nil
}

// follow blocks until the keeper says that the daemon is gone, or is gone itself, and
// returns why; nil if it was this side that left.
func follow(leaving context.Context, conn net.Conn, messages *json.Decoder) error {
	defer conn.Close()
	for {
		var m message
		err := messages.Decode(&m)
		switch {
		case leaving.Err() != nil:
			return nil
		case err != nil:
			return ended("its keeper is gone: %w", err)
		case m.Gone != "":
			return ended("%s", m.Gone)
		}
	}
}
