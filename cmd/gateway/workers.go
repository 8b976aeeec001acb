package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/admincli"
	"github.com/loragate/loragate/internal/adminclient"
)

func workersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "Show and control a running gateway's workers",
		Long: "Show and control a running gateway's workers, over its admin API. The token, if it\n" +
			"asks for one, is read from " + tokenVariable + ".",
	}
	cmd.AddCommand(
		operated(&cobra.Command{Use: "ls", Short: "List the workers", Args: cobra.NoArgs},
			func(o *operator, _ []string) (any, error) {
				list, err := o.client.Workers(o.cmd.Context())
				return admin.Workers{Workers: list}, err
			},
			func(w io.Writer, answer any) error { return admincli.Workers(w, answer.(admin.Workers).Workers) }),
		workerCommand("drain", "Keep new requests from a worker, until resume",
			(*adminclient.Client).Drain, "until nothing runs on it",
			func(_, now admin.Worker) bool { return now.InFlight == 0 }),
		workerCommand("resume", "Let a drained worker take requests again", (*adminclient.Client).Resume, "", nil),
		workerCommand("restart", "Replace a worker's process once its requests have ended",
			(*adminclient.Client).Restart, "until the new process serves",
			func(before, now admin.Worker) bool { return now.PID != before.PID && now.PID != 0 }),
	)
	return cmd
}

// workerCommand makes a command that does something to one worker and, with
// --wait, blocks until it is done; until is "" if there is nothing to wait for.
func workerCommand(use, short string, do func(*adminclient.Client, context.Context, int) (admin.Worker, error),
	until string, done func(before, now admin.Worker) bool) *cobra.Command {
	cmd := &cobra.Command{Use: use + " ID", Short: short, Args: cobra.ExactArgs(1)}
	wait := false
	if until != "" {
		cmd.Flags().BoolVar(&wait, "wait", false, "wait "+until)
	}
	return operated(cmd, func(o *operator, args []string) (any, error) {
		id, err := strconv.Atoi(args[0])
		if err != nil {
			return nil, fmt.Errorf("%q is not a worker's number", args[0])
		}
		before, err := o.worker(cmd.Context(), id)
		if err != nil {
			return nil, err
		}
		now, err := do(o.client, cmd.Context(), id)
		if err != nil || !wait {
			return now, err
		}
		return o.awaitWorker(cmd.Context(), before, done)
	}, func(w io.Writer, answer any) error { return admincli.Workers(w, []admin.Worker{answer.(admin.Worker)}) })
}

// worker returns a worker as it is now.
func (o *operator) worker(ctx context.Context, id int) (admin.Worker, error) {
	list, err := o.client.Workers(ctx)
	if err != nil {
		return admin.Worker{}, err
	}
	i := slices.IndexFunc(list, func(w admin.Worker) bool { return w.ID == id })
	if i < 0 {
		return admin.Worker{}, fmt.Errorf("there is no worker %d", id)
	}
	return list[i], nil
}

// awaitWorker blocks until a worker is as it is to be.
func (o *operator) awaitWorker(ctx context.Context, before admin.Worker, done func(before, now admin.Worker) bool) (any, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		now, err := o.worker(ctx, before.ID)
		if err != nil || done(before, now) {
			return now, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
