// Command gateway serves many LoRA adapters of one base model, over OpenAI's
// API, from a pool of llama-server processes.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/loragate/loragate/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := cli.Command(version, os.Stdout, os.Stderr).ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
		os.Exit(1)
	}
}
