package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/admincli"
)

func keysCommand() *cobra.Command {
	return operators("keys", "Make, list and revoke a running gateway's API keys",
		createKeyCommand(),
		operated(&cobra.Command{Use: "ls", Short: "List the keys that were made, without what they are", Args: cobra.NoArgs},
			func(o *operator, _ []string) (any, error) {
				list, err := o.client.Keys(o.cmd.Context())
				return adminapi.KeyList{Keys: list}, err
			},
			func(w io.Writer, answer any) error {
				return admincli.Keys(w, answer.(adminapi.KeyList).Keys, time.Now())
			}),
		revokeKeyCommand(),
		rotateKeyCommand(),
	)
}

func createKeyCommand() *cobra.Command {
	var label string
	var lasts time.Duration
	cmd := &cobra.Command{Use: "create TENANT", Short: "Make a key; it is printed once, and only its hash is kept",
		Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&label, "label", "", "what it is for, for people")
	cmd.Flags().DurationVar(&lasts, "expires", 0, "how long it is valid (default: for ever)")
	return operated(cmd, func(o *operator, args []string) (any, error) {
		create := adminapi.CreateKeyRequest{Tenant: args[0], Label: label}
		switch {
		case !cmd.Flags().Changed("expires"):
		case lasts < time.Second: // the API counts in seconds
			return nil, fmt.Errorf("--expires %s: a key must be valid for a second at least", lasts)
		default:
			create.Expires = time.Now().Add(lasts).UTC().Format(time.RFC3339)
		}
		return o.client.CreateKey(cmd.Context(), create)
	}, printKey(cmd))
}

func printKey(cmd *cobra.Command) func(w io.Writer, answer any) error {
	return func(w io.Writer, answer any) error {
		return admincli.NewKey(w, cmd.ErrOrStderr(), answer.(adminapi.NewKey))
	}
}

func revokeKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID...", Short: "End keys at once", Args: cobra.MinimumNArgs(1)}
	return operated(cmd, func(o *operator, args []string) (any, error) {
		for _, id := range args {
			if err := o.client.RevokeKey(cmd.Context(), id); err != nil {
				return nil, err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is revoked\n", id)
		}
		return nil, nil
	}, nil)
}

func rotateKeyCommand() *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{Use: "rotate ID", Short: "Make a key in another's place", Args: cobra.ExactArgs(1)}
	cmd.Flags().DurationVar(&grace, "grace", time.Hour, "how long the old key stays valid")
	return operated(cmd, func(o *operator, args []string) (any, error) {
		if grace < 0 {
			return nil, fmt.Errorf("--grace %s: must not be negative", grace)
		}
		return o.client.RotateKey(cmd.Context(), args[0], grace)
	}, printKey(cmd))
}

func usageCommand() *cobra.Command {
	var from, to string
	by := []string{"day", "tenant", "model"}
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what requests took",
		Long: "Show what requests took, from a running gateway's admin API: requests, tokens, and the\n" +
			"time that they waited and ran.",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the first `day`, as 2030-01-31, UTC (default: all)")
	f.StringVar(&to, "to", "", "the `day` after the last (default: all)")
	f.StringSliceVar(&by, "by", by, "what to group by: day, tenant, key, model, outcome")
	return operated(cmd, func(o *operator, _ []string) (any, error) {
		query := url.Values{"by": {strings.Join(by, ",")}}
		for name, value := range map[string]string{"from": from, "to": to} {
			if value != "" {
				query.Set(name, value)
			}
		}
		return o.client.Usage(cmd.Context(), query)
	}, func(w io.Writer, answer any) error { return admincli.Usage(w, answer.(adminapi.UsageAnswer)) })
}
