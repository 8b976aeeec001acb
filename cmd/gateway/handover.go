package main

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
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/front"
)

// A gateway hands over to another, its heir, through a socket in the state directory:
//
//  1. The heir, which has read its configuration, connects and says who it is.
//  2. The gateway sends copies of its ports. The heir accepts from now on, and keeps the
//     requests waiting; the gateway serves those that it has.
//  3. When they have ended, the gateway stops its workers, writes the account, closes the
//     state, and sends what its tenants have used of their limits.
//  4. It ends. The heir opens the state, starts its workers and serves what waits.
//
// The listening sockets are passed on rather than opened twice: with SO_REUSEPORT each
// has a queue of its own, and what waits in the older one is reset when it closes.

// handoverName is the socket's name in the state directory.
const handoverName = "handover"

// introduction is what an heir says.
type introduction struct {
	PID int `json:"pid"`
}

// inheritance is what a gateway says when it has ended.
type inheritance struct {
	Limits auth.Counts `json:"limits"`
}

// heir is a gateway that takes over from this one.
type heir struct {
	conn *net.UnixConn
	pid  int
}

// handovers listens for heirs until ctx ends. There is none if the state is a temporary
// one, or its directory has too long a name for a socket.
func (g *gateway) handovers(ctx context.Context, heirs chan<- heir) {
	if g.cfg.State.Dir == "" {
		return
	}
	path := filepath.Join(g.cfg.State.Dir, handoverName)
	_ = os.Remove(path) // a killed gateway's: whoever holds the state's lock is alone here
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		g.log.Warn("this gateway cannot be replaced while it serves", "error", err)
		return
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			g.greet(ctx, conn, heirs)
		}
	}()
}

// greet hears who connects, and passes heirs on.
func (g *gateway) greet(ctx context.Context, conn *net.UnixConn, heirs chan<- heir) {
	var who introduction
	_ = conn.SetReadDeadline(time.Now().Add(farewell))
	if err := json.NewDecoder(conn).Decode(&who); err != nil {
		conn.Close()
		return
	}
	select {
	case heirs <- heir{conn, who.PID}:
	case <-ctx.Done():
		conn.Close()
	}
}

// handOver has an heir serve, and returns when this gateway has ended.
func (g *gateway) handOver(h heir, signals <-chan os.Signal, cut context.CancelCauseFunc) {
	defer h.conn.Close()
	if err := g.sendPorts(h.conn); err != nil {
		g.log.Error("the ports could not be handed over: this gateway stops", "error", err)
	}
	g.log.Info("another gateway takes over, running requests may end", "pid", h.pid, "limit", g.cfg.Limits.Drain)
	g.proxy.Leave()
	for _, e := range g.entrances() {
		e.front.Leave()
	}
	g.drain(signals, cut, func(context.Context) {})
	text, err := json.Marshal(inheritance{Limits: g.auth.Counts()})
	if err == nil {
		g.tellSystemd(fmt.Sprintf("MAINPID=%d", h.pid))
		_, err = h.conn.Write(append(text, '\n'))
	}
	if err != nil {
		g.log.Warn("what tenants have used of their limits could not be handed over", "error", err)
	}
}

// sendPorts sends copies of the listening sockets, the clients' first.
func (g *gateway) sendPorts(conn *net.UnixConn) error {
	var fds []int
	for _, e := range g.entrances() {
		file, err := e.front.File()
		if err != nil {
			return err
		}
		defer file.Close()
		raw, err := file.SyscallConn() // Fd would have both copies block
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	_, _, err := conn.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil)
	return err
}

// predecessor is the gateway from which this one takes over.
type predecessor struct {
	conn  *net.UnixConn
	ports []*front.Front // its own, the clients' first
}

// succeed connects to the gateway that serves from the same state, and takes its ports.
// It returns nil if there is none.
func succeed(stateDir string) (*predecessor, error) {
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
	p := &predecessor{conn: conn}
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

// await blocks until the predecessor has ended, or ctx ends, and returns what it left. One
// that ended otherwise left nothing.
func (p *predecessor) await(ctx context.Context) (left inheritance, err error) {
	defer context.AfterFunc(ctx, func() { p.conn.Close() })()
	line, err := bufio.NewReader(p.conn).ReadBytes('\n')
	if ctx.Err() != nil {
		return left, context.Cause(ctx)
	}
	if err == nil {
		err = json.Unmarshal(line, &left)
	}
	if err != nil {
		return left, nil
	}
	_, _ = io.Copy(io.Discard, p.conn) // until its end, when the kernel has let go of its memory
	return left, nil
}

// entrances are the ports that there are.
func (g *gateway) entrances() []*entrance {
	return slices.DeleteFunc([]*entrance{g.clients, g.admin}, func(e *entrance) bool { return e == nil })
}

// replaceSelf starts the program again, as it is on the disk now, to take over.
func (g *gateway) replaceSelf() {
	if os.Getpid() == 1 {
		g.log.Error("the first process of a container cannot be replaced: the container would end with it")
		return
	}
	program, err := exec.LookPath(os.Args[0])
	if err != nil {
		g.log.Error("this gateway cannot be replaced", "error", err)
		return
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return arg == replaceFlag })
	cmd := exec.Command(program, append(args, replaceFlag)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The watchdog's time is another process's then.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WATCHDOG_PID=") })
	if err := cmd.Start(); err != nil {
		g.log.Error("the gateway that was to take over could not be started", "error", err)
		return
	}
	g.log.Info("started a gateway that is to take over", "pid", cmd.Process.Pid)
	go func() {
		if err := cmd.Wait(); err != nil {
			g.log.Error("the gateway that was to take over ended", "error", err)
		}
	}()
}

// replaceFlag is the flag of serve that has it take over.
const replaceFlag = "--replace"
