// Command randgguf writes a base model of random weights and adapters for it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/loragate/loragate/internal/randgguf"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintf(os.Stderr, "randgguf: %v\n", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	shape    randgguf.Shape
	dir      string
	adapters int
	rank     int
	alpha    float64
	seed     uint64
	modules  []string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("randgguf", flag.ContinueOnError)
	flags.SetOutput(out)
	shape := flags.String("shape", randgguf.Tiny.Name, "tiny, 3b, 8b, or gemma-tiny, which has a sliding window")
	modules := flags.String("modules", "", "which modules adapters change: qv, attention or all; "+
		"qv if left out, of 8b all")
	flags.StringVar(&o.dir, "dir", ".", "where base.gguf, adapter-00.gguf and so on go")
	flags.IntVar(&o.adapters, "adapters", 0, "how many adapters")
	flags.IntVar(&o.rank, "rank", 0, "of the adapters; 0 is 8, of 8b 16")
	flags.Float64Var(&o.alpha, "alpha", 0, "of the adapters; 0 is twice the rank")
	flags.Uint64Var(&o.seed, "seed", 1, "of the base; adapters have the next ones")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	var err error
	if o.shape, err = randgguf.Preset(*shape); err != nil {
		return o, fmt.Errorf("-shape: %w", err)
	}
	rank, usual := o.shape.Usual()
	if o.rank == 0 {
		o.rank = rank
	}
	switch *modules {
	case "":
		o.modules = usual
	case "all":
		o.modules = randgguf.Modules
	case "attention":
		o.modules = randgguf.Attention
	case "qv":
		o.modules = randgguf.QueryValue
	default:
		return o, fmt.Errorf("-modules %q: it is qv, attention or all", *modules)
	}
	if o.alpha == 0 {
		o.alpha = 2 * float64(o.rank)
	}
	return o, nil
}

// run writes the files and a line for each to out.
func run(args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	err = progress(out, filepath.Join(o.dir, "base.gguf"), func(path string) error {
		return randgguf.WriteBase(path, o.shape, o.seed)
	})
	for i := 0; i < o.adapters && err == nil; i++ {
		name := fmt.Sprintf("adapter-%02d.gguf", i)
		err = progress(out, filepath.Join(o.dir, name), func(path string) error {
			return randgguf.WriteAdapter(path, o.shape, o.rank, o.alpha, o.seed+uint64(i)+1, o.modules...)
		})
	}
	return err
}

// progress writes one file and tells its size and how long that took.
func progress(out io.Writer, path string, write func(path string) error) error {
	start := time.Now()
	if err := write(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %.1f MB in %s\n", path, float64(info.Size())/1e6, time.Since(start).Round(time.Millisecond))
	return nil
}
