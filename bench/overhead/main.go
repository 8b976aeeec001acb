package overhead

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// The names under which the benchmark starts its own program again.
const (
	upstreamName     = "overhead-upstream"
	reverseProxyName = "overhead-reverse-proxy"
)

// MaybeMain takes over and exits if the program was started under one of the
// names of the benchmark's helpers. It is the first thing that main calls.
func MaybeMain() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case upstreamName:
		err = upstreamMain(os.Args[1:])
	case reverseProxyName:
		err = reverseProxyMain(os.Args[1:])
	default:
		return
	}
	fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
	os.Exit(1)
}

// about is what the fake upstream says when it is asked what it is: a build that no
// gateway takes for too old, on a machine without a GPU.
const about = "version: 99999 (fake)\nAvailable devices:\n  (none)"

// upstreamMain serves the fake upstream until listening fails. It takes
// llama-server's flags as the gateway gives them; those that change nothing here
// are ignored, whatever they are: the gateway may learn new ones.
func upstreamMain(args []string) error {
	if len(args) == 1 && slices.Contains([]string{"--version", "--help", "--list-devices"}, args[0]) {
		fmt.Println(about)
		os.Exit(0)
	}
	port, err := strconv.Atoi(valueOf(args, "--port", "0"))
	if err != nil {
		return fmt.Errorf("--port: %w", err)
	}
	slots, err := strconv.Atoi(valueOf(args, "--parallel", "1"))
	if err != nil {
		return fmt.Errorf("--parallel: %w", err)
	}
	// A Unix socket's path if it ends in .sock.
	listener, err := listen(valueOf(args, "--host", "127.0.0.1"), port)
	if err != nil {
		return err
	}
	go exitWithParent()
	return newUpstream(valueOf(args, "--lora", ""), slots).serve(listener)
}

// valueOf returns the argument after a flag, or otherwise if it is not there.
func valueOf(args []string, flag, otherwise string) string {
	if at := slices.Index(args, flag); at >= 0 && at+1 < len(args) {
		return args[at+1]
	}
	return otherwise
}

func reverseProxyMain(args []string) error {
	flags := flag.NewFlagSet(reverseProxyName, flag.ContinueOnError)
	address := flags.String("listen", "", "host:port")
	upstream := flags.String("upstream", "", "host:port")
	if err := flags.Parse(args); err != nil {
		return err
	}
	go exitWithParent()
	return serveReverseProxy(*address, *upstream)
}

// listen follows llama-server: a host that ends in .sock is a Unix socket.
func listen(host string, port int) (net.Listener, error) {
	if filepath.Ext(host) == ".sock" {
		return net.Listen("unix", host)
	}
	return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

// exitWithParent ends the process when the one that started it is gone, so that
// a benchmark or proxy that was killed leaves nothing running.
func exitWithParent() {
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}
