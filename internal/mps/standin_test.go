//go:build linux

package mps

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is also the control program, the keeper, a gateway that holds a
// lease, and a daemon's server: behaviour names how the control program behaves, and
// that this process is not the one that tests.
const (
	behaviour = "LORAGATE_STANDIN"
	registry  = "LORAGATE_STANDIN_PIDS" // a directory where each of them leaves its number
)

func TestMain(m *testing.M) {
	if os.Getenv(behaviour) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	role := "control"
	if len(os.Args) > 1 {
		role = strings.TrimLeft(os.Args[1], "-")
	}
	name := fmt.Sprintf("%s.%d", role, os.Getpid())
	if err := os.WriteFile(filepath.Join(os.Getenv(registry), name), nil, 0o600); err != nil {
		fail(err)
	}
	switch role {
	case "f":
		controlDaemon()
	case "control":
		controlCommand()
	case "mps-keeper":
		keeperProcess()
	case "hold":
		holder()
	case "server":
		fmt.Println("there")
		select {}
	}
}

func behaves(how string) bool { return strings.Contains(os.Getenv(behaviour), how) }

func fail(err any) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// keeperProcess is `gateway mps-keeper`, with bounds that end only what is to run
// into them.
func keeperProcess() {
	bounds := Bounds{Grace: 20 * time.Millisecond, Start: time.Minute, Quit: time.Minute, Term: time.Minute,
		Kill: time.Minute}
	if behaves("mute") {
		bounds.Start = 200 * time.Millisecond
	}
	if behaves("no-quit") || behaves("mute") {
		bounds.Quit = 200 * time.Millisecond
	}
	if behaves("no-term") {
		bounds.Term = 200 * time.Millisecond
	}
	if len(os.Args) != 6 || os.Args[2] != "--dir" || os.Args[4] != "--control" {
		fail(os.Args)
	}
	if err := Keep(KeepOptions{Dir: os.Args[3], Control: os.Args[5], Bounds: bounds}); err != nil {
		fail(err)
	}
}

// holder is a gateway: it holds a lease until it is killed or its stdin ends.
func holder() {
	lease, err := Acquire(neverEnds(), Options{Dir: os.Args[2], Keeper: []string{os.Args[0], "mps-keeper"},
		Control: os.Args[0], Default: "/no/such"})
	if err != nil {
		fail(err)
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	lease.Close()
}

// controlCommand is the control program without arguments: it takes commands from its
// stdin and hands them to the daemon.
func controlCommand() {
	commands, _ := io.ReadAll(os.Stdin)
	conn, err := net.Dial("unix", filepath.Join(os.Getenv(pipeVariable), "control"))
	if err != nil {
		fmt.Println("Cannot find MPS control daemon process")
		os.Exit(1)
	}
	_, _ = conn.Write(commands)
	_, _ = io.Copy(os.Stdout, conn)
}

// controlDaemon is the control program with -f.
func controlDaemon() {
	if behaves("crash") {
		fail("no CUDA-capable device is detected")
	}
	if behaves("no-term") {
		signal.Ignore(syscall.SIGTERM)
	}
	pipe := os.Getenv(pipeVariable)
	listener, err := net.Listen("unix", filepath.Join(pipe, "control"))
	if err != nil {
		fail(err)
	}
	if behaves("server") { // one that has left the daemon's group
		server := exec.Command(os.Args[0], "server")
		server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := server.StdoutPipe()
		if err != nil {
			fail(err)
		}
		if err := server.Start(); err != nil {
			fail(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it is in the registry
			fail(err)
		}
	}
	put(pipe, "visible", os.Getenv(visibleVariable))
	put(pipe, "nvidia-cuda-mps-control.pid", fmt.Sprint(os.Getpid()))
	fmt.Println("Starting control daemon using socket " + filepath.Join(pipe, "control"))
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go obey(conn)
	}
}

func put(dir, name, text string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		fail(err)
	}
}

// obey answers one connection. One that is not answered stays open.
func obey(conn net.Conn) {
	command, _ := bufio.NewReader(conn).ReadString('\n')
	switch {
	case behaves("mute"), command == "quit\n" && behaves("no-quit"):
		return
	case command == "quit\n":
		os.Exit(0)
	case command == aliveQuestion+"\n":
		fmt.Fprintln(conn, "100.0")
	}
	conn.Close()
}
