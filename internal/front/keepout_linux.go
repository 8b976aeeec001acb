package front

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// noInterface is the number of a network interface that no machine has.
const noInterface = 0x7ffffffe

// keepOut has the kernel refuse new connections to a listener while those that wait in
// its queue, or are in the middle of the handshake, stay: closing the socket, or shutting
// it down, would reset them. A socket that is bound to an interface is not found by what
// comes through others. It needs Linux 5.7 to be allowed to everybody; where it fails,
// new connections come until the socket is closed, and one of that very moment is lost.
func keepOut(l *net.TCPListener) {
	raw, err := l.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, noInterface)
	})
}

// pending accepts a connection that waits already, nil for none.
func pending(l *net.TCPListener) *net.TCPConn {
	raw, err := l.SyscallConn()
	if err != nil || l.SetDeadline(time.Time{}) != nil {
		return nil
	}
	defer l.SetDeadline(time.Now()) // as it was: over
	accepted := -1
	_ = raw.Read(func(fd uintptr) bool {
		if n, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
			accepted = n
		}
		return true
	})
	if accepted < 0 {
		return nil
	}
	file := os.NewFile(uintptr(accepted), "connection")
	defer file.Close() // the connection has its own
	c, err := net.FileConn(file)
	if err != nil {
		return nil
	}
	return c.(*net.TCPConn)
}
