package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/admincli"
	"github.com/loragate/loragate/internal/adminclient"
)

func adaptersCommand() *cobra.Command {
	return operators("adapters", "Show and change a running gateway's adapters",
		operated(&cobra.Command{Use: "ls", Short: "List all adapters and compositions", Args: cobra.NoArgs},
			func(o *operator, _ []string) (any, error) {
				list, err := o.client.Adapters(o.cmd.Context())
				return adminapi.Adapters{Adapters: list}, err
			},
			func(w io.Writer, answer any) error {
				return admincli.Adapters(w, answer.(adminapi.Adapters).Adapters, time.Now())
			}),
		operated(&cobra.Command{Use: "show NAME", Short: "Show one in full, with the versions that are kept",
			Args: cobra.ExactArgs(1)},
			func(o *operator, args []string) (any, error) { return o.client.Adapter(o.cmd.Context(), args[0]) },
			showAdapter),
		addCommand(),
		removeCommand(),
		pinCommand("pin", "Keep an adapter loaded on every worker", true),
		pinCommand("unpin", "Let an adapter be loaded when it is asked for", false),
		rollbackCommand(),
	)
}

func showAdapter(w io.Writer, answer any) error {
	return admincli.Adapter(w, answer.(adminapi.Adapter), time.Now())
}

// became prints a record's name and state after a change, and what is to be known of it.
func became(w io.Writer, answer any) error {
	a := answer.(adminapi.Adapter)
	text := a.Name + " is " + a.State
	if a.Version > 0 {
		text += fmt.Sprintf(", version %d, %.12s", a.Version, a.Digest)
	}
	_, err := fmt.Fprintln(w, text)
	return errors.Join(err, admincli.Warnings(w, a))
}

func removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove adapters or compositions that the API made",
		Long: "Remove adapters or compositions that the API made. Of several names, those that cannot\n" +
			"be removed do not keep the others.",
		Args: cobra.MinimumNArgs(1),
	}
	return operated(cmd, func(o *operator, args []string) (any, error) {
		var refusals []error
		for _, name := range args {
			err := o.client.Remove(cmd.Context(), name)
			var refusal *adminclient.Error
			switch {
			case err == nil:
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is removed\n", name)
			case errors.As(err, &refusal) && refusal.Code != "unauthorized":
				refusals = append(refusals, err)
			default: // so it would be with the others
				return nil, errors.Join(append(refusals, err)...)
			}
		}
		return nil, errors.Join(refusals...)
	}, nil)
}

func pinCommand(use, short string, pin bool) *cobra.Command {
	cmd := &cobra.Command{Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1)}
	return operated(cmd, func(o *operator, args []string) (any, error) {
		return o.client.Pin(cmd.Context(), args[0], pin)
	}, became)
}

func rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rollback NAME", Short: "Go back to the version before", Args: cobra.ExactArgs(1)}
	var from int
	return operated(cmd, func(o *operator, args []string) (any, error) {
		before, err := o.client.Adapter(cmd.Context(), args[0])
		if err != nil {
			return nil, err
		}
		from = before.Version
		if before.Staged != nil {
			from = before.Staged.Version
		}
		return o.client.Rollback(cmd.Context(), args[0])
	}, func(w io.Writer, answer any) error {
		a := answer.(adminapi.Adapter)
		to, digest, when := a.Version, a.Digest, ""
		if a.Staged != nil {
			to, digest, when = a.Staged.Version, a.Staged.Digest, ", which answers as soon as a worker has loaded it"
		}
		_, err := fmt.Fprintf(w, "%s goes back from version %d to version %d, %.12s%s\n", a.Name, from, to, digest, when)
		return err
	})
}

// addOptions are the flags of `adapters add`.
type addOptions struct {
	put    adminapi.PutRequest
	parts  []string
	upload bool
	noWait bool
}

func addCommand() *cobra.Command {
	opts := new(addOptions)
	cmd := &cobra.Command{
		Use:   "add NAME [SOURCE]",
		Short: "Add or replace an adapter, or a composition with --part",
		Long: "Add or replace an adapter, or a composition with --part. SOURCE is a GGUF file, a folder\n" +
			"with a PEFT adapter or an archive of one; or https://, hf://owner/repo[/file][@revision],\n" +
			"s3://bucket/key.\n\n" +
			"A gateway at a loopback address is taken to be on this machine and gets the path alone;\n" +
			"to one elsewhere, or behind a tunnel with --upload, the file is sent. It waits until the\n" +
			"model can be asked for; if that is refused, it says why and ends with status 1.\n\n" + accessHelp,
		Args: cobra.RangeArgs(1, 2),
	}
	f := cmd.Flags()
	f.StringVar(&opts.put.Digest, "digest", "", "the SHA-256 that the source must have, in `hex`")
	f.Var((*factor)(&opts.put.Scale), "scale", "how strongly it is applied (default 1)")
	f.StringVar(&opts.put.Description, "description", "", "what it is good for, in one line of `text`")
	f.StringArrayVar(&opts.put.Aliases, "alias", nil, "a further `name`; may be given several times")
	f.Var((*factor)(&opts.put.Weight), "weight", "its share of busy workers, 0.1 to 10 (default 1)")
	f.IntVar(&opts.put.MaxConcurrency, "max-concurrency", 0, "how many of its requests run at once (default: no bound)")
	f.BoolVar(&opts.put.Pin, "pin", false, "keep it loaded on every worker")
	f.BoolVar(&opts.put.Preload, "preload", false, "keep it loaded on one worker at least")
	f.StringArrayVar(&opts.parts, "part", nil, "an adapter of a composition, as `name[=scale]`; may be given several "+
		"times")
	f.BoolVar(&opts.upload, "upload", false, "upload the file even if the gateway is on this machine")
	f.BoolVar(&opts.noWait, "no-wait", false, "do not wait until it can be asked for; uploads are checked all the same")
	return operated(cmd, func(o *operator, args []string) (any, error) {
		source := ""
		if len(args) > 1 {
			source = args[1]
		}
		return o.add(args[0], source, opts)
	}, became)
}

// factor is a flag whose zero means that it was not given: the API takes no 0.
type factor float64

func (f *factor) Set(text string) error {
	value, err := parseFactor(text)
	*f = factor(value)
	return err
}

func (f *factor) String() string { return "" } // which has the help show no default
func (f *factor) Type() string   { return "number" }

func parseFactor(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil, math.IsNaN(value), math.IsInf(value, 0):
		return 0, fmt.Errorf("%q is not a number", text)
	case value == 0:
		return 0, errors.New("it must not be 0")
	default:
		return value, nil
	}
}

// add blocks until the model is served or refused, unless it is not to wait.
func (o *operator) add(name, source string, opts *addOptions) (any, error) {
	remote := strings.Contains(source, "://")
	if err := opts.check(source, remote); err != nil {
		return nil, err
	}
	ctx := o.cmd.Context()
	progress := admincli.NewProgress(o.cmd.ErrOrStderr(), name)
	defer progress.Close()
	put := opts.put
	var a adminapi.Adapter
	var err error
	if local := source != "" && !remote; local && (opts.upload || !o.client.Loopback()) {
		a, err = o.sendFile(ctx, name, source, put, progress)
	} else {
		if put.Source = source; local {
			if put.Source, err = filepath.Abs(source); err != nil {
				return nil, err
			}
		}
		a, err = o.client.Put(ctx, name, put, false)
	}
	if err != nil || opts.noWait {
		return a, err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	return o.client.Follow(ctx, name, ticker.C, progress.State)
}

// check refuses what does not go together, and reads the parts.
func (opts *addOptions) check(source string, remote bool) (err error) {
	switch composed := len(opts.parts) > 0; {
	case composed && source != "":
		return errors.New("an adapter has a SOURCE, a composition has --part: give one of them")
	case composed && opts.upload:
		return errors.New("--upload is for files: a composition has none")
	case !composed && source == "":
		return errors.New("SOURCE is missing; for a composition give --part")
	case remote && opts.upload:
		return errors.New("--upload is for files: the gateway fetches other sources itself")
	}
	opts.put.Parts, err = parseParts(opts.parts)
	return err
}

// parseParts reads name=scale.
func parseParts(list []string) ([]adminapi.Part, error) {
	parts := make([]adminapi.Part, len(list))
	for i, text := range list {
		name, scale, given := strings.Cut(text, "=")
		parts[i].Adapter = name
		if !given {
			continue
		}
		value, err := parseFactor(scale)
		if err != nil {
			return nil, fmt.Errorf("--part %s: %w", text, err)
		}
		parts[i].Scale = &value
	}
	return parts, nil
}

// sendFile uploads and shows how far that is.
func (o *operator) sendFile(ctx context.Context, name, path string, put adminapi.PutRequest,
	progress *admincli.Progress) (adminapi.Adapter, error) {
	up, err := adminclient.Open(path, progress.Sent)
	if err != nil {
		return adminapi.Adapter{}, err
	}
	up.Put = put
	return o.client.Upload(ctx, name, up)
}
