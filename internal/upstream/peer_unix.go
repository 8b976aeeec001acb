//go:build linux || darwin

package upstream

import "syscall"

// peer looks at an idle connection's other end.
type peer struct {
	raw   syscall.RawConn // nil before the first look
	look  func(fd uintptr) bool
	quiet bool // look's answer
}

// alive reports whether the server has neither closed an idle connection nor
// sent anything on it. It does not block. The server may still close it right
// afterwards. The look costs half a microsecond and saves sending a request, which
// may be large, in vain.
func (c *conn) alive() bool {
	p := &c.peer
	if p.raw == nil {
		raw, err := c.SyscallConn()
		if err != nil {
			return false
		}
		p.raw = raw
		p.look = func(fd uintptr) bool {
			var b [1]byte
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			p.quiet = err == syscall.EAGAIN
			return true // do not wait for more
		}
	}
	p.quiet = false
	return p.raw.Read(p.look) == nil && p.quiet
}
