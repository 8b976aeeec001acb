package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/admincli"
	"github.com/loragate/loragate/internal/adminclient"
)

func workersCommand() *cobra.Command {
	return operators("workers", "Show and control a running gateway's workers",
		operated(&cobra.Command{Use: "ls", Short: "List the workers", Args: cobra.NoArgs},
			func(o *operator, _ []string) (any, error) {
				list, err := o.client.Workers(o.cmd.Context())
				return adminapi.Workers{Workers: list}, err
			},
			func(w io.Writer, answer any) error { return admincli.Workers(w, answer.(adminapi.Workers).Workers) }),
		workerCommand("drain", "Keep new requests from a worker, until resume",
			(*adminclient.Client).Drain, "until nothing runs on it", idle),
		workerCommand("resume", "Let a drained worker take requests again", (*adminclient.Client).Resume, "", nil),
		workerCommand("restart", "Replace a worker's process once its requests have ended",
			(*adminclient.Client).Restart, "until the new process serves", replaced),
	)
}

// idle reports whether nothing runs on a worker that is kept from requests.
func idle(_, now adminapi.Worker) (bool, error) {
	if !now.Drained {
		return false, fmt.Errorf("worker %d was resumed before nothing ran on it", now.ID)
	}
	return now.InFlight == 0, nil
}

// replaced reports whether a worker has another process, which serves: before
// that there is no PID. There is none to wait for if a spare took its place.
func replaced(then, now adminapi.Worker) (bool, error) {
	return now.PID != 0 && now.PID != then.PID || now.State == "spare", nil
}

// workerCommand makes a command that does something to one worker and, with
// --wait, blocks until done says so of what the API answered then, and what it
// answers now. until is "" if there is nothing to wait for.
func workerCommand(use, short string, do func(*adminclient.Client, context.Context, int) (adminapi.Worker, error),
	until string, done func(then, now adminapi.Worker) (bool, error)) *cobra.Command {
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
		then, err := do(o.client, cmd.Context(), id)
		if err != nil || !wait {
			return then, err
		}
		return o.awaitWorker(cmd.Context(), then, done)
	}, func(w io.Writer, answer any) error {
		return admincli.Workers(w, []adminapi.Worker{answer.(adminapi.Worker)})
	})
}

// worker returns a worker as it is now, and keeps only its part of the answer.
func (o *operator) worker(ctx context.Context, id int) (adminapi.Worker, error) {
	list, err := o.client.Workers(ctx)
	if err != nil {
		return adminapi.Worker{}, err
	}
	i := slices.IndexFunc(list, func(w adminapi.Worker) bool { return w.ID == id })
	if i < 0 {
		return adminapi.Worker{}, fmt.Errorf("there is no worker %d", id)
	}
	var parts struct{ Workers []json.RawMessage }
	if err := json.Unmarshal(o.answer, &parts); err != nil {
		return adminapi.Worker{}, err
	}
	o.answer = parts.Workers[i]
	return list[i], nil
}

// awaitWorker blocks until a worker is as it is to be.
func (o *operator) awaitWorker(ctx context.Context, then adminapi.Worker,
	done func(then, now adminapi.Worker) (bool, error)) (any, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		now, err := o.worker(ctx, then.ID)
		if err != nil {
			return nil, err
		}
		if ok, err := done(then, now); ok || err != nil {
			return now, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
