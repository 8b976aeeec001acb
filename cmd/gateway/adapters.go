package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/admincli"
	"github.com/loragate/loragate/internal/adminclient"
)

// tokenVariable is also where serve reads admin.token from.
const tokenVariable = "GATEWAY_ADMIN_TOKEN"

// adminFlag adds --admin to a command.
func adminFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "admin", "http://127.0.0.1:8081", "the gateway's admin `address`, admin.listen in its configuration")
}

// operator is a command that calls a gateway's admin API.
type operator struct {
	address string
	json    bool
	client  *adminclient.Client
	cmd     *cobra.Command
}

// operated makes a command that calls the API. What run returns is printed: by
// print, or as it is with --json; nil is nothing.
func operated(cmd *cobra.Command, run func(o *operator, args []string) (any, error), print func(w io.Writer, answer any) error) *cobra.Command {
	o := &operator{cmd: cmd}
	adminFlag(cmd, &o.address)
	cmd.Flags().BoolVar(&o.json, "json", false, "print what the admin API answers")
	cmd.RunE = func(_ *cobra.Command, args []string) (err error) {
		if o.client, err = adminclient.New(o.address, os.Getenv(tokenVariable)); err != nil {
			return fmt.Errorf("--admin: %w", err)
		}
		defer o.client.Close()
		answer, err := run(o, args)
		var refusal *adminclient.Error
		switch {
		case errors.As(err, &refusal) && refusal.Code == "unauthorized":
			return fmt.Errorf("%w Here it is taken from %s", err, tokenVariable)
		case err != nil || answer == nil:
			return err
		case o.json:
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(answer)
		default:
			return print(cmd.OutOrStdout(), answer)
		}
	}
	return cmd
}

func adaptersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adapters",
		Short: "Show and change a running gateway's adapters",
		Long: "Show and change a running gateway's adapters, over its admin API. The token, if it\n" +
			"asks for one, is read from " + tokenVariable + ".",
	}
	cmd.AddCommand(
		operated(&cobra.Command{Use: "ls", Short: "List all adapters and compositions", Args: cobra.NoArgs},
			func(o *operator, _ []string) (any, error) {
				list, err := o.client.Adapters(o.cmd.Context())
				return admin.Adapters{Adapters: list}, err
			},
			func(w io.Writer, answer any) error {
				return admincli.Adapters(w, answer.(admin.Adapters).Adapters, time.Now())
			}),
		operated(&cobra.Command{Use: "show NAME", Short: "Show one in full, with the versions that are kept", Args: cobra.ExactArgs(1)},
			func(o *operator, args []string) (any, error) { return o.client.Adapter(o.cmd.Context(), args[0]) },
			showAdapter),
		addCommand(),
		removeCommand(),
		pinCommand("pin", "Keep an adapter loaded on every worker", true),
		pinCommand("unpin", "Let an adapter be loaded when it is asked for", false),
		rollbackCommand(),
	)
	return cmd
}

func showAdapter(w io.Writer, answer any) error {
	return admincli.Adapter(w, answer.(admin.Adapter), time.Now())
}

// became prints a record's name and state after a change.
func became(w io.Writer, answer any) error {
	a := answer.(admin.Adapter)
	text := a.Name + " is " + a.State
	if a.Version > 0 {
		text += fmt.Sprintf(", version %d, %.12s", a.Version, a.Digest)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func removeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rm NAME...", Short: "Remove adapters or compositions that the API made", Args: cobra.MinimumNArgs(1)}
	return operated(cmd, func(o *operator, args []string) (any, error) {
		for _, name := range args {
			if err := o.client.Remove(cmd.Context(), name); err != nil {
				return nil, err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is removed\n", name)
		}
		return nil, nil
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
	return operated(cmd, func(o *operator, args []string) (any, error) {
		return o.client.Rollback(cmd.Context(), args[0])
	}, func(w io.Writer, answer any) error {
		a := answer.(admin.Adapter)
		if a.Staged != nil {
			_, err := fmt.Fprintf(w, "%s goes back to version %d as soon as a worker has loaded it\n", a.Name, a.Staged.Version)
			return err
		}
		return became(w, answer)
	})
}

// addOptions are the flags of `adapters add`.
type addOptions struct {
	put    admin.PutRequest
	parts  []string
	upload bool
	noWait bool
}

func addCommand() *cobra.Command {
	var opts addOptions
	cmd := &cobra.Command{
		Use:   "add NAME [SOURCE]",
		Short: "Add or replace an adapter, or a composition with --part",
		Long: "Add or replace an adapter, or a composition with --part. SOURCE is a GGUF file, a folder\n" +
			"with a PEFT adapter or an archive of one; or https://, hf://owner/repo[/file][@revision],\n" +
			"s3://bucket/key. A file is uploaded if the gateway is on another machine.",
		Args: cobra.RangeArgs(1, 2),
	}
	f := cmd.Flags()
	f.StringVar(&opts.put.Digest, "digest", "", "the SHA-256 that the source must have, in `hex`")
	f.Float64Var(&opts.put.Scale, "scale", 0, "how strongly it is applied (default 1)")
	f.StringArrayVar(&opts.put.Aliases, "alias", nil, "a further `name`; may be given several times")
	f.Float64Var(&opts.put.Weight, "weight", 0, "its share of busy workers, 0.1 to 10 (default 1)")
	f.IntVar(&opts.put.MaxConcurrency, "max-concurrency", 0, "how many of its requests run at once (default: no bound)")
	f.BoolVar(&opts.put.Pin, "pin", false, "keep it loaded on every worker")
	f.BoolVar(&opts.put.Preload, "preload", false, "keep it loaded on one worker at least")
	f.StringArrayVar(&opts.parts, "part", nil, "an adapter of a composition, as `name[=scale]`; may be given several times")
	f.BoolVar(&opts.upload, "upload", false, "upload the file even if the gateway is on this machine")
	f.BoolVar(&opts.noWait, "no-wait", false, "do not wait until the source was fetched and checked")
	return operated(cmd, func(o *operator, args []string) (any, error) {
		name, source := args[0], ""
		if len(args) > 1 {
			source = args[1]
		}
		return o.add(name, source, opts)
	}, became)
}

// add blocks until the model is served or refused, unless it is not to wait.
func (o *operator) add(name, source string, opts addOptions) (any, error) {
	ctx := o.cmd.Context()
	switch remote := strings.Contains(source, "://"); {
	case len(opts.parts) > 0 && source != "":
		return nil, errors.New("an adapter has a SOURCE, a composition has --part: give one of them")
	case len(opts.parts) > 0:
		var err error
		if opts.put.Parts, err = parseParts(opts.parts); err != nil {
			return nil, err
		}
		return o.client.Put(ctx, name, opts.put, false)
	case source == "":
		return nil, errors.New("SOURCE is missing; for a composition give --part")
	case remote && opts.upload:
		return nil, errors.New("--upload is for files: the gateway fetches other sources itself")
	case !remote && (opts.upload || !o.client.Loopback()):
		return o.sendFile(ctx, name, source, opts.put)
	case !remote:
		path, err := filepath.Abs(source)
		if err != nil {
			return nil, err
		}
		source = path
	}
	opts.put.Source = source
	a, err := o.client.Put(ctx, name, opts.put, false)
	if err != nil || opts.noWait {
		return a, err
	}
	return o.follow(ctx, name)
}

// parseParts reads name=scale.
func parseParts(list []string) ([]admin.Part, error) {
	parts := make([]admin.Part, len(list))
	for i, text := range list {
		name, scale, given := strings.Cut(text, "=")
		parts[i].Adapter = name
		if !given {
			continue
		}
		value, err := strconv.ParseFloat(scale, 64)
		if err != nil {
			return nil, fmt.Errorf("--part %s: %q is not a number", text, scale)
		}
		parts[i].Scale = &value
	}
	return parts, nil
}

// sendFile uploads and shows how far that is.
func (o *operator) sendFile(ctx context.Context, name, path string, put admin.PutRequest) (any, error) {
	progress := admincli.NewProgress(o.cmd.ErrOrStderr(), name)
	defer progress.Close()
	up, err := adminclient.Open(path, progress.Sent)
	if err != nil {
		return nil, err
	}
	up.Put = put
	return o.client.Upload(ctx, name, up)
}

// pollInterval is how often the gateway is asked how far it is.
const pollInterval = 200 * time.Millisecond

// follow waits for the gateway's intake of a source.
func (o *operator) follow(ctx context.Context, name string) (any, error) {
	progress := admincli.NewProgress(o.cmd.ErrOrStderr(), name)
	defer progress.Close()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	return o.client.Follow(ctx, name, ticker.C, progress.State)
}
