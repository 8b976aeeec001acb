package mps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// inheritedFD is the connection that the gateway that started a keeper gives it.
const inheritedFD = 3

// KeepOptions says how to keep a daemon.
type KeepOptions struct {
	Dir     string // as in Options, made by the gateway
	Control string // the control program
	Bounds  Bounds
}

// keeper is what Keep does it with. All fields belong to the goroutine of Keep, but for
// the channels; the goroutines that accept and watch connections send there.
type keeper struct {
	opts     KeepOptions
	log      *slog.Logger
	lock     *os.File
	listener *net.UnixListener
	daemon   *daemon
	answers  bool // the daemon does, so newcomers are told at once
	clients  map[net.Conn]bool

	joined  chan net.Conn
	left    chan net.Conn
	started chan error // what became of the daemon's start
	told    chan os.Signal
	closing chan struct{} // closed when nothing is received any more
}

// Keep runs the control daemon until the last gateway that holds a connection is gone,
// or the daemon is. It is the keeper process, which Acquire starts: it takes over that
// process's signals, output and children. It blocks for as long as that takes.
func Keep(o KeepOptions) error {
	first, err := inherited()
	if err != nil {
		return err
	}
	o.Bounds = o.Bounds.complete()
	k := &keeper{
		opts: o, log: slog.New(slog.DiscardHandler), clients: map[net.Conn]bool{},
		joined: make(chan net.Conn), left: make(chan net.Conn), started: make(chan error, 1),
		told: make(chan os.Signal, 1), closing: make(chan struct{}),
	}
	// Not ignored, which the daemon would inherit, but of no effect.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	signal.Notify(k.told, syscall.SIGTERM)
	k.add(first)
	err = k.keep()
	k.tell(err) // before the daemon's end, which may take a while
	err = errors.Join(err, k.end(err != nil))
	k.log.Info("the keeper ends", "error", err)
	return err
}

// inherited returns the connection that this process was started with.
func inherited() (net.Conn, error) {
	file := os.NewFile(inheritedFD, "gateway")
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, errors.New("gateway serve starts this where it is needed; it is not for use by hand")
	}
	file.Close() // conn has its own
	return conn, nil
}

// keep returns nil when nobody needs the daemon any more, else why it is not there.
func (k *keeper) keep() error {
	if err := k.takeOver(); err != nil || len(k.clients) == 0 {
		return err
	}
	if err := k.listen(); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var err error
	if k.daemon, err = startDaemon(k.opts.Control, os.Environ(), k.opts.Dir); err != nil {
		k.daemon = nil
		return fmt.Errorf("start %s: %w", k.opts.Control, err)
	}
	k.log.Info("started the control daemon", "program", k.opts.Control, "pid", k.daemon.pid)
	ctx, cancel := context.WithTimeout(context.Background(), k.opts.Bounds.Start)
	go func() {
		k.started <- k.daemon.ready(ctx)
		close(k.started)
	}()
	err = k.serve()
	cancel()
	for range k.started { // it has a child of its own until it returns
	}
	return err
}

// takeOver gets the directory to this keeper alone. It blocks while an earlier one
// ends, until the gateway that started this one is gone.
func (k *keeper) takeOver() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		lock *os.File
		err  error
	}
	taken := make(chan result, 1)
	go func() {
		lock, err := waitForLock(ctx, func() (*os.File, error) {
			return os.OpenFile(filepath.Join(k.opts.Dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
		})
		taken <- result{lock, err}
	}()
	select {
	case conn := <-k.left:
		k.remove(conn)
		cancel()
		k.lock = (<-taken).lock
		return nil
	case r := <-taken:
		if k.lock = r.lock; r.err != nil {
			return fmt.Errorf("lock: %w", r.err)
		}
	}
	if err := adopt(); err != nil {
		return err
	}
	return k.openLog()
}

// openLog starts the log, where a crash of this process ends up as well.
func (k *keeper) openLog() error {
	file, err := os.OpenFile(filepath.Join(k.opts.Dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	k.log = slog.New(slog.NewTextHandler(file, nil)) // open until this process ends
	return logTo(file)
}

// listen opens the socket. It gets its name once it listens, in the place of one that
// a killed keeper left.
func (k *keeper) listen() error {
	path := filepath.Join(k.opts.Dir, socketName)
	early := path + ".new"
	_ = os.Remove(early)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: early, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	k.listener = listener
	if err := os.Chmod(early, 0o600); err != nil {
		return err
	}
	if err := os.Rename(early, path); err != nil {
		return err
	}
	go k.accept(listener)
	return nil
}

// accept hands connections on until the listener is closed.
func (k *keeper) accept(listener *net.UnixListener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		select {
		case k.joined <- conn:
		case <-k.closing:
			conn.Close()
		}
	}
}

// add takes a gateway in. A goroutine waits for it to go.
func (k *keeper) add(conn net.Conn) {
	k.clients[conn] = true
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		select {
		case k.left <- conn:
		case <-k.closing:
		}
	}()
	if k.answers {
		k.greet(conn)
	}
}

func (k *keeper) remove(conn net.Conn) {
	delete(k.clients, conn)
	conn.Close()
}

// greet tells a gateway where the daemon is.
func (k *keeper) greet(conn net.Conn) {
	send(conn, message{Pipe: k.daemon.pipe, Logs: k.daemon.logs})
}

// send writes a message. A gateway that does not read does not hold the others up.
func send(conn net.Conn, m message) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_ = json.NewEncoder(conn).Encode(m) // one that is gone is noticed by its watcher
}

// serve takes gateways in until none has been there for a while or the daemon is gone.
func (k *keeper) serve() error {
	alone := time.NewTimer(k.opts.Bounds.Grace)
	alone.Stop()
	defer alone.Stop()
	started := k.started
	for {
		select {
		case conn := <-k.joined:
			alone.Stop()
			k.add(conn)
		case conn := <-k.left:
			k.remove(conn)
			if len(k.clients) == 0 {
				alone.Reset(k.opts.Bounds.Grace)
			}
		case err := <-started:
			if err != nil {
				return err
			}
			started, k.answers = nil, true
			for conn := range k.clients {
				k.greet(conn)
			}
		case <-k.daemon.exited:
			return k.daemon.ended()
		case <-alone.C:
			return nil
		case <-k.told:
			// A system that stops ends everybody: those who use the daemon end first.
			if len(k.clients) == 0 {
				return nil
			}
			k.log.Warn("not ending: the daemon is in use", "gateways", len(k.clients))
		}
	}
}

// tell sends all gateways away, with the reason if there is one. Those that come now
// find no socket, those that just came a connection that ends.
func (k *keeper) tell(reason error) {
	if k.listener != nil {
		_ = os.Remove(filepath.Join(k.opts.Dir, socketName))
		k.listener.Close()
	}
	close(k.closing)
	for conn := range k.clients {
		if reason != nil {
			send(conn, message{Gone: reason.Error()})
		}
		k.remove(conn)
	}
}

// end ends the daemon and removes the files, but for the logs after a failure.
func (k *keeper) end(failed bool) error {
	if k.lock == nil {
		return nil
	}
	defer k.lock.Close()
	if k.daemon != nil {
		if err := k.daemon.end(k.opts.Bounds); err != nil {
			return err
		}
	}
	names := []string{socketName + ".new", pipeName}
	if !failed {
		names = append(names, logsName, logName)
	}
	for _, name := range append(names, lockName) {
		if err := os.RemoveAll(filepath.Join(k.opts.Dir, name)); err != nil {
			k.log.Warn("left behind", "error", err)
		}
	}
	return nil
}
