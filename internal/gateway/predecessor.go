package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/state"
)

// predecessor is the gateway from which this one takes over.
type predecessor struct {
	conn    *net.UnixConn
	lines   *json.Decoder
	pids    []int // its processes; follow's, once that runs
	permits *permits
	known   chan struct{} // closed when the service manager knows this gateway, or the other is gone
	gone    chan struct{} // closed when its processes are gone

	// mu guards what follows. It is held while news are taken, so that they are in order.
	mu   sync.Mutex
	kept []Notice // news that nobody has taken yet
	take func(Notice)
	deaf bool // nothing is taken any more
}

const (
	// awaitTurn is how long is waited for a gateway that starts, takes over or ends, beyond
	// limits.drain, and turnInterval how often it is asked for; it is said every so often.
	awaitTurn    = 30 * time.Second
	turnInterval = 100 * time.Millisecond
	sayInterval  = 5 * time.Second
)

// succeed takes over from the gateway that serves from the same state, if there is one, and
// returns that and the ports. It blocks while that takes over itself, or starts, for there
// is nothing to ask then; of one that ends, and whose end it awaits, it takes nothing. It
// returns when ctx ends. After an error the other serves on.
func succeed(ctx context.Context, cfg *config.Config, log *slog.Logger) (p *predecessor, open ports, err error) {
	limit := time.Now().Add(awaitTurn + cfg.Limits.Drain)
	said := time.Time{}
	for {
		p, open, err = approach(ctx, cfg, log)
		var later *laterError
		if !errors.As(err, &later) || ctx.Err() != nil || time.Now().After(limit) {
			return p, open, err
		}
		if time.Since(said) > sayInterval {
			said = time.Now()
			log.Info("waiting for the gateway that starts, takes over or ends", "reason", later.cause, "limit",
				time.Until(limit).Round(time.Second))
		}
		select {
		case <-time.After(turnInterval):
		case <-ctx.Done():
		}
	}
}

// laterError is why it is not the moment to take over.
type laterError struct{ cause error }

func (e *laterError) Error() string { return e.cause.Error() }
func (e *laterError) Unwrap() error { return e.cause }

// approach tries once to take over, or to open the ports if there is nobody. A *laterError
// says that there is somebody who is not to be asked yet.
func approach(ctx context.Context, cfg *config.Config, log *slog.Logger) (*predecessor, ports, error) {
	if cfg.State.Dir == "" { // the state is a temporary one, and nobody else's
		open, err := openPorts(cfg, nil)
		return nil, open, err
	}
	path := filepath.Join(cfg.State.Dir, HandoverName)
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		if state.InUse(cfg.State.Dir) {
			return nil, ports{}, &laterError{&state.LockedError{Dir: cfg.State.Dir}}
		}
		open, err := openPorts(cfg, nil)
		if errors.Is(err, syscall.EADDRINUSE) { // the state's lock may be on its way from one to the other
			err = &laterError{err}
		}
		return nil, open, err
	case err != nil:
		return nil, ports{}, fmt.Errorf("--replace: %w", err)
	}
	log.Info("asking the gateway that serves for its ports")
	p := &predecessor{conn: conn, lines: json.NewDecoder(conn), permits: newPermits(), known: make(chan struct{}),
		gone: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	open, err := p.takePorts(cfg)
	if err != nil {
		open.close()
		conn.Close()
		return nil, ports{}, fmt.Errorf("--replace: the gateway that serves goes on: %w", err)
	}
	return p, open, nil
}

// takePorts receives the ports, opens what is to be another one, says that this gateway can
// serve now, and returns once the predecessor lets it.
func (p *predecessor) takePorts(cfg *config.Config) (open ports, err error) {
	lines := json.NewEncoder(p.conn)
	if err := lines.Encode(introduction{PID: os.Getpid()}); err != nil {
		return open, &laterError{err}
	}
	handed, err := ReceivePorts(p.conn)
	if err != nil {
		for _, l := range handed {
			l.Close()
		}
		return open, &laterError{fmt.Errorf("the ports were not handed over: %w", err)}
	}
	if open, err = openPorts(cfg, handed); err != nil {
		return open, err
	}
	if err := lines.Encode(progress{Holds: true}); err != nil {
		return open, &laterError{err}
	}
	var m Notice // without it whoever is asked serves on, and this one must accept nothing
	if err := p.lines.Decode(&m); err != nil {
		return open, &laterError{fmt.Errorf("it did not leave its ports: %w", err)}
	}
	p.pids = m.PIDs
	return open, nil
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
	ended, known := false, false
	for {
		var m Notice
		if err := p.lines.Decode(&m); err != nil {
			break // until its end: the kernel has let go of its memory
		}
		ended = ended || m.End
		if m.PIDs != nil {
			p.pids = m.PIDs
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
		awaitGone(p.pids)
	}
	p.deliver(Notice{}) // nothing of its requests runs any more
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
		if !slices.ContainsFunc(pids, Runs) {
			return
		}
	}
}

// Runs reports whether a process exists and has not ended: one whose parent has not asked
// for its status, as in a container without an init, has let go of its memory all the same.
// The state in /proc is that of the first thread alone, which can be over, "Z", while others
// still hold memory and files: a process has ended once no other thread is left. The fields
// are those of proc_pid_stat(5), where the state is the third and the threads the twentieth; the
// second is the process's name in parentheses, which may have some in it.
func Runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || runtime.GOOS != "linux"
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 18 {
		return true
	}
	state, threads := fields[0], fields[17] // the third and the twentieth of the whole line
	over := state == "Z" || state == "X"
	return !over || threads != "0" && threads != "1"
}

// deliver has news taken, now or once there is somebody to take them.
func (p *predecessor) deliver(m Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take == nil {
		p.kept = append(p.kept, m)
		return
	}
	p.pass(m)
}

// pass has news taken, and tells the predecessor of usage that it need not keep that. The
// caller holds the lock.
func (p *predecessor) pass(m Notice) {
	if p.deaf {
		return
	}
	p.take(m)
	if m.Number > 0 {
		_ = json.NewEncoder(p.conn).Encode(progress{Took: m.Number}) // whoever is gone keeps nothing
	}
}

// tellTo has take take all news, in order.
func (p *predecessor) tellTo(take func(Notice)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take = take
	for _, m := range p.kept {
		p.pass(m)
	}
	p.kept = nil
}

// ignore has news be taken no more, before who took them ends: usage stays with the
// predecessor. A nil one tells none.
func (p *predecessor) ignore() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
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
func (g *gateway) credit(m Notice) {
	g.auth.Resume(m.Limits)
	for _, rec := range m.Usage {
		g.usage.Add(rec)
		g.auth.Spend(rec.Tenant, rec.At, rec.Tokens())
	}
	if len(m.Usage) > 0 {
		_ = g.usage.Flush() // what cannot be written is tried again, by the recorder, which says so
	}
}
