package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/front"
)

// predecessor is the gateway from which this one takes over.
type predecessor struct {
	conn    *net.UnixConn
	lines   *json.Decoder
	ports   []*front.Front // its own, the clients' first
	permits *permits
	known   chan struct{} // closed when the service manager knows this gateway, or the other is gone
	gone    chan struct{} // closed when its processes are gone

	// mu guards what follows. It is held while news are taken, so that they are in order.
	mu   sync.Mutex
	kept []notice // news that nobody has taken yet
	take func(notice)
}

// succeed connects to the gateway that serves from the same state, and takes its ports;
// one that takes over itself has that end first. It blocks until then, or until ctx ends.
// It returns nil if there is no gateway.
func succeed(ctx context.Context, stateDir string, log *slog.Logger) (*predecessor, error) {
	if stateDir == "" {
		return nil, nil
	}
	path := filepath.Join(stateDir, handoverName)
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--replace: %w", err)
	}
	log.Info("asking the gateway that serves for its ports")
	p := &predecessor{conn: conn, lines: json.NewDecoder(conn), permits: newPermits(), known: make(chan struct{}), gone: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err = json.NewEncoder(conn).Encode(introduction{PID: os.Getpid()}); err == nil {
		err = p.receivePorts()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("--replace: the ports were not handed over: %w", err)
	}
	return p, nil
}

func (p *predecessor) receivePorts() error {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(2*4))
	n, size, _, _, err := p.conn.ReadMsgUnix(data, control)
	if err != nil || n == 0 {
		return cmpError(err, io.ErrUnexpectedEOF)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) == 0 {
		return cmpError(err, errors.New("there are none"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "port")
		l, err := net.FileListener(file)
		file.Close() // the listener has its own
		if err != nil {
			return err
		}
		p.ports = append(p.ports, front.New(l.(*net.TCPListener)))
	}
	return nil
}

// cmpError is the first of two errors that there is.
func cmpError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// port returns the predecessor's port if it is one for an address, or opens another.
func (p *predecessor) port(number int, address string) (*front.Front, error) {
	if p != nil && number < len(p.ports) {
		_, wanted, _ := net.SplitHostPort(address)
		_, has, _ := net.SplitHostPort(p.ports[number].Addr().String())
		if wanted == has || wanted == "0" {
			return p.ports[number], nil
		}
		p.ports[number].Close()
	}
	return front.Listen(address)
}

// inherit blocks until the state is this gateway's, and returns what workers the
// predecessor has, nil if it has ended: or until ctx ends. From then on what it tells is
// followed.
func (p *predecessor) inherit(ctx context.Context, log *slog.Logger) (*crew, error) {
	crews := make(chan *crew, 1)
	go p.follow(crews, log)
	select {
	case c := <-crews:
		return c, nil
	case <-p.gone:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// follow takes in what the predecessor tells, until it has ended.
func (p *predecessor) follow(crews chan<- *crew, log *slog.Logger) {
	var pids []int
	ended, known := false, false
	for {
		var m notice
		if err := p.lines.Decode(&m); err != nil {
			break // until its end: the kernel has let go of its memory
		}
		ended = ended || m.End
		if m.PIDs != nil {
			pids = m.PIDs
		}
		if m.Limits != nil || m.Usage != nil {
			p.deliver(m)
		}
		if m.Crew != nil {
			crews <- m.Crew
		}
		if m.Freed != nil {
			p.permits.free(*m.Freed)
		}
		if m.Main && !known {
			known = true
			close(p.known)
		}
	}
	p.conn.Close()
	if !ended {
		awaitGone(pids)
	}
	p.deliver(notice{}) // nothing of its requests runs any more
	p.permits.freeAll()
	if !known {
		close(p.known)
	}
	close(p.gone)
	log.Info("the gateway before is gone", "ended", ended)
}

const (
	// lastBreath bounds the wait for processes whose parent was killed, which are killed
	// with it; they are asked for every breath.
	lastBreath = 10 * time.Second
	breath     = 10 * time.Millisecond
)

// awaitGone blocks until processes are gone, or for long enough.
func awaitGone(pids []int) {
	tick := time.NewTicker(breath)
	defer tick.Stop()
	for limit := time.Now().Add(lastBreath); time.Now().Before(limit); <-tick.C {
		if !slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil }) {
			return
		}
	}
}

// deliver has news taken, now or once there is somebody to take them.
func (p *predecessor) deliver(m notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take == nil {
		p.kept = append(p.kept, m)
		return
	}
	p.take(m)
}

// tellTo has take take all news, in order.
func (p *predecessor) tellTo(take func(notice)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.kept {
		take(m)
	}
	p.kept, p.take = nil, take
}

// await blocks until the predecessor is gone, if there is one, or ctx ends.
func (p *predecessor) await(ctx context.Context) {
	if p == nil {
		return
	}
	select {
	case <-p.gone:
	case <-ctx.Done():
	}
}

// lives reports whether there is one with processes.
func (p *predecessor) lives() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// tellReady says that this gateway serves, and blocks until the service manager knows it,
// or ctx ends.
func (p *predecessor) tellReady(ctx context.Context) {
	_ = json.NewEncoder(p.conn).Encode(progress{Ready: true}) // whoever is gone need not know
	select {
	case <-p.known:
	case <-ctx.Done():
	}
}

// credit counts and writes what the predecessor tells that was used there.
func (g *gateway) credit(m notice) {
	g.auth.Resume(m.Limits)
	for _, rec := range m.Usage {
		g.usage.Add(rec)
		g.auth.Spend(rec.Tenant, rec.At, rec.Tokens())
	}
}
