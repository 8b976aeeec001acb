package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/front"
)

// ports are what a gateway listens on.
type ports struct {
	clients *front.Front
	admin   *front.Front // nil for none
}

// openPorts opens what a configuration says. Of what a gateway before has handed over, the
// clients' first, it takes what is the same address, and closes the rest.
func openPorts(cfg *config.Config, handed []*net.TCPListener) (p ports, err error) {
	var taken []*net.TCPListener
	defer func() {
		for _, l := range handed {
			if err != nil || !slices.Contains(taken, l) {
				l.Close() // or it would be open, and nobody would answer
			}
		}
	}()
	open := func(number int, address string) (*front.Front, error) {
		if number < len(handed) && sameAddress(address, handed[number].Addr()) {
			taken = append(taken, handed[number])
			return front.New(handed[number]), nil
		}
		f, err := front.Listen(address)
		if errors.Is(err, syscall.EADDRINUSE) {
			for _, l := range handed {
				if samePort(address, l.Addr()) {
					return nil, fmt.Errorf("%w: the gateway that serves has %s, and another address with its port cannot be opened "+
						"meanwhile: stop it first, and start this one then", err, l.Addr())
				}
			}
		}
		return f, err
	}
	if p.clients, err = open(0, cfg.Listen); err != nil {
		return ports{}, fmt.Errorf("listen: %w", err)
	}
	if cfg.Admin.Listen == "" {
		return p, nil
	}
	if p.admin, err = open(1, cfg.Admin.Listen); err != nil {
		p.close()
		return ports{}, without(cfg, "GATEWAY_ADMIN_LISTEN", fmt.Errorf("admin.listen: %w", err))
	}
	return p, nil
}

// without has an error of a gateway that has no configuration, and so none to mend, name the variable
// for the key at fault.
func without(cfg *config.Config, variable string, err error) error {
	if cfg.File != "" {
		return err
	}
	return fmt.Errorf("%w: set %s to another one", err, variable)
}

func (p ports) close() {
	for _, f := range []*front.Front{p.clients, p.admin} {
		if f != nil {
			f.Close()
		}
	}
}

// sameAddress reports whether a socket is one that would be opened for an address: for
// those that it can be reached by, and no others. Port 0 is any.
func sameAddress(wanted string, has net.Addr) bool {
	socket, isTCP := has.(*net.TCPAddr)
	address, err := net.ResolveTCPAddr("tcp", wanted)
	if err != nil || !isTCP || address.Port != 0 && address.Port != socket.Port {
		return false
	}
	if everywhere(address.IP) || everywhere(socket.IP) {
		return everywhere(address.IP) && everywhere(socket.IP)
	}
	return address.IP.Equal(socket.IP) && address.Zone == socket.Zone
}

// everywhere reports whether all of the machine's addresses are meant.
func everywhere(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

func samePort(wanted string, has net.Addr) bool {
	_, port, _ := net.SplitHostPort(wanted)
	_, other, _ := net.SplitHostPort(has.String())
	return port == other
}

// ReceivePorts takes the copies of listening sockets that come through a connection.
func ReceivePorts(conn *net.UnixConn) (handed []*net.TCPListener, err error) {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(2*4))
	n, size, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil || n == 0 {
		return nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) == 0 {
		return nil, cmp.Or(err, errors.New("there are none"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "port")
		l, lerr := net.FileListener(file)
		file.Close() // the listener has its own
		tcp, isTCP := l.(*net.TCPListener)
		if err = cmp.Or(err, lerr); isTCP {
			handed = append(handed, tcp)
		}
	}
	return handed, err
}
