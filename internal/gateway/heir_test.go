package gateway

import (
	"net"
	"os/exec"
	"testing"
	"time"
)

// TestSameAddress tells sockets apart that others can reach.
func TestSameAddress(t *testing.T) {
	all, local, six := &net.TCPAddr{IP: net.IPv6unspecified, Port: 80},
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, &net.TCPAddr{IP: net.IPv6loopback, Port: 80}
	for _, c := range []struct {
		wanted string
		has    net.Addr
		same   bool
	}{
		{"0.0.0.0:80", all, true},
		{"[::]:80", all, true},
		{":80", all, true},
		{"0.0.0.0:81", all, false},
		{"127.0.0.1:80", all, false},
		{"localhost:80", all, false},
		{"0.0.0.0:80", local, false},
		{"127.0.0.1:80", local, true},
		{"localhost:80", local, true},
		{"127.0.0.2:80", local, false},
		{"127.0.0.1:0", local, true},
		{"0.0.0.0:0", local, false},
		{"[::1]:80", six, true},
		{"[::1]:80", local, false},
		{"nowhere", local, false},
		{"127.0.0.1:80", &net.UnixAddr{Name: "x"}, false},
	} {
		if same := sameAddress(c.wanted, c.has); same != c.same {
			t.Errorf("%s and a socket on %s: same is %v", c.wanted, c.has, same)
		}
	}
}

// TestZombiesAreGone: a process that has ended counts as gone before its parent knows.
func TestZombiesAreGone(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	pid := cmd.Process.Pid
	if !Runs(pid) {
		t.Error("one that runs does not count")
	}
	cmd.Process.Kill()
	for limit := time.Now().Add(10 * time.Second); Runs(pid); {
		if time.Now().After(limit) {
			t.Fatal("one that was killed, and for which nobody has waited, counts")
		}
	}
}
