package gateway

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/usage"
)

// A gateway hands over to another, its heir, through a socket in the state directory, in
// this order:
//
//  1. The heir, which has read its configuration and found nothing that would keep it from
//     serving, connects and says who it is.
//  2. The gateway sends copies of its ports, and serves on. The heir takes those that it is
//     to have, opens what is to be another one, and says that it holds its ports. The
//     gateway leaves its own then, says so, and what processes its workers are. The heir
//     accepts from now on, and keeps the requests waiting; the gateway serves those that
//     it has, and those that come on its connections. Whatever fails before that, or takes
//     longer than heirPatience, leaves the gateway as it was.
//  3. The heir takes its share in CUDA's multi-process service, which so goes on.
//  4. The gateway gives the state away: it stops following the configuration, the adapters'
//     folder and the state; the admin API answers 503, and what it does has ended; so
//     does getting adapters; usage is written; the database is closed, and its lock let go of.
//     The catalog in memory serves what requests there are.
//  5. It tells what its workers are, what its tenants have used of their limits, and what
//     usage could not be written. The heir opens the state, and counts and writes that.
//  6. The gateway ends its workers one after the other, each as soon as nothing runs on it,
//     nothing waits and another serves, and tells when a process is gone. The heir starts
//     one for each. So there are never more than one of the two would have alone.
//  7. Meanwhile, every second, it tells what its tenants have used since and the usage of
//     what has ended. The heir says of each notice with usage that it has written that, or
//     will, once it has the state: until then the gateway keeps the records.
//  8. The heir says when its first worker is ready. The gateway has the service manager know
//     it, and says so; the heir tells the service manager that it is ready.
//  9. When its last request has ended the gateway ends its last worker, tells what is left,
//     and ends when the heir has taken that. The heir starts the workers that it lacks, and
//     lets bytes of adapters be deleted that a worker of the other might have opened.
//
// A gateway that is killed meanwhile tells no end: the heir waits until its processes are
// gone, for lastBreath at most, and starts all workers. If the heir ends first, nobody has the ports any more: the
// gateway ends what it has, writes by itself into the state what usage the heir has not
// taken, if no other gateway has that, and ends with an error. An heir that is killed loses
// what it has taken and not written, on a full disk alone; one that is killed between
// writing and saying so, which is one message, has that written twice.
//
// The listening sockets are passed on rather than opened twice: with SO_REUSEPORT each
// has a queue of its own, and what waits in the older one is reset when it closes.

// HandoverName is the socket's name in the state directory.
const HandoverName = "handover"

// introduction is what an heir says first.
type introduction struct {
	PID int `json:"pid"`
}

// progress is what an heir says then.
type progress struct {
	Holds bool `json:"holds,omitempty"` // it has all its ports, and can serve
	Ready bool `json:"ready,omitempty"` // its first worker is
	Took  int  `json:"took,omitempty"`  // it writes the usage of the notice with that number
}

// Notice is what a gateway tells its heir after the ports, one in a line. The first leaves
// the ports to the heir, the first with a crew gives the state away.
type Notice struct {
	Crew   *crew          `json:"crew,omitempty"`
	Limits auth.Counts    `json:"limits,omitempty"` // used and not told before; nil tells nothing
	Usage  []usage.Record `json:"usage,omitempty"`  // neither written nor told before
	Number int            `json:"number,omitempty"` // of a notice with usage, from 1
	PIDs   []int          `json:"pids,omitempty"`   // of processes that must be gone if the gateway is killed
	Freed  *string        `json:"freed,omitempty"`  // the device of a worker whose process is gone
	Main   bool           `json:"main,omitempty"`   // the service manager knows the heir
	End    bool           `json:"end,omitempty"`    // nothing more comes
}

// heir is a gateway that takes over from this one.
type heir struct {
	conn  *net.UnixConn
	lines *json.Decoder // what it says
	pid   int
}

// heirPatience is how long an heir has to say that it holds its ports.
const heirPatience = 10 * time.Second

// handovers listens for heirs until ctx ends, and takes them once this gateway is alone.
// closed is closed when the socket is. There is none if the state is a temporary one, or
// its directory has too long a name for a socket.
func (g *gateway) handovers(ctx context.Context, heirs chan<- heir) (closed <-chan struct{}) {
	done := make(chan struct{})
	if g.cfg.State.Dir == "" {
		close(done)
		return done
	}
	path := filepath.Join(g.cfg.State.Dir, HandoverName)
	_ = os.Remove(path) // a killed gateway's: whoever holds the state's lock is alone here
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		g.log.Warn("this gateway cannot be replaced while it serves", "error", err)
		close(done)
		return done
	}
	go func() {
		defer close(done)
		<-ctx.Done()
		l.Close() // which takes the name away, before an heir has its own there
	}()
	go func() {
		g.before.await(ctx) // one at a time: two would have to be told of
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			g.greet(ctx, conn, heirs)
		}
	}()
	return done
}

// greet hears who connects, and passes heirs on that hold their ports. This gateway serves
// on meanwhile, and if that comes to nothing.
func (g *gateway) greet(ctx context.Context, conn *net.UnixConn, heirs chan<- heir) {
	interrupt := context.AfterFunc(ctx, func() { conn.Close() })
	h := heir{conn: conn, lines: json.NewDecoder(conn)}
	_ = conn.SetDeadline(time.Now().Add(heirPatience))
	if err := g.offer(&h); err != nil {
		interrupt()
		conn.Close()
		if ctx.Err() == nil && h.pid != 0 {
			g.log.Warn(ServesOn, "pid", h.pid, "error", err)
		}
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if !interrupt() {
		return // this gateway ends
	}
	select {
	case heirs <- h:
	case <-ctx.Done():
		conn.Close()
	}
}

// ServesOn is what is said of an heir that came to nothing.
const ServesOn = "another gateway that was to take over has gone: this one serves on"

// offer hears who an heir is, sends it copies of the ports, and returns when it has said
// that it holds what it needs.
func (g *gateway) offer(h *heir) error {
	var who introduction
	if err := h.lines.Decode(&who); err != nil {
		return err
	}
	h.pid = who.PID
	if err := g.sendPorts(h.conn); err != nil {
		return err
	}
	for {
		var p progress
		if err := h.lines.Decode(&p); err != nil || p.Holds {
			return err
		}
	}
}

// leavePorts tells an heir that the ports are its own from now on.
func (g *gateway) leavePorts(h heir) error {
	_ = h.conn.SetWriteDeadline(time.Now().Add(heirPatience))
	return json.NewEncoder(h.conn).Encode(Notice{PIDs: g.pids()})
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

// entrances are the ports that there are.
func (g *gateway) entrances() []*entrance {
	return slices.DeleteFunc([]*entrance{g.clients, g.admin}, func(e *entrance) bool { return e == nil })
}
