package overhead

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
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

// upstreamMain serves the fake upstream until listening fails. It takes
// llama-server's flags as the gateway gives them; those that change nothing here
// are ignored.
func upstreamMain(args []string) error {
	flags := flag.NewFlagSet(upstreamName, flag.ContinueOnError)
	host := flags.String("host", "127.0.0.1", "address, or a Unix socket's path if it ends in .sock")
	port := flags.Int("port", 0, "TCP port")
	lora := flags.String("lora", "", "adapters' paths, separated by commas")
	slots := flags.Int("parallel", 1, "slots to tell of")
	for _, ignored := range []string{"model", "alias", "ctx-size", "cache-ram", "slot-save-path", "threads", "device"} {
		flags.String(ignored, "", "")
	}
	flags.Bool("no-webui", false, "")
	flags.Bool("metrics", false, "")
	flags.Bool("lora-init-without-apply", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := listen(*host, *port)
	if err != nil {
		return err
	}
	go exitWithParent()
	return newUpstream(*lora, *slots).serve(listener)
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
