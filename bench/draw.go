package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/loragate/loragate/bench/plot"
	"github.com/loragate/loragate/bench/report"
)

// runPlot draws the tables in a file that -json wrote. The file's name may
// stand before the flags or after them.
func runPlot(args []string, errOut io.Writer) error {
	f := flag.NewFlagSet("bench plot FILE.json", flag.ContinueOnError)
	f.SetOutput(errOut)
	to := f.String("o", "", "write the picture to this `file`, as SVG")
	title := f.String("title", "Many adapters, asked for by Zipf's law",
		"the `text` above it, such as the device and the model")
	var files []string
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			return err
		}
		args = f.Args()
		if len(args) > 0 {
			files, args = append(files, args[0]), args[1:]
		}
	}
	if len(files) != 1 || *to == "" {
		return errors.New("plot needs one file with results, and -o")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	var tables []*report.Table
	if err := json.Unmarshal(text, &tables); err != nil {
		return fmt.Errorf("%s: %w", files[0], err)
	}
	picture, err := plot.SVG(tables, *title)
	if err != nil {
		return fmt.Errorf("%s: %w", files[0], err)
	}
	return os.WriteFile(*to, picture, 0o644)
}
