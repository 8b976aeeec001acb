package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/adminclient"
)

// What the commands read that call a running gateway.
const (
	tokenVariable   = "GATEWAY_ADMIN_TOKEN" // is also where serve reads admin.token from
	addressVariable = "GATEWAY_ADMIN_URL"
	defaultAddress  = "http://127.0.0.1:8081"
)

// accessHelp ends the help of a group of commands.
const accessHelp = "The address of the gateway's admin API, admin.listen in its configuration, is --admin,\n" +
	"else " + addressVariable + ", else " + defaultAddress + ". If it asks for a token, that is read\n" +
	"from --token-file, else from " + tokenVariable + ", else, on the same machine and account,\n" +
	"from where the gateway keeps the one that it made by itself."

// access says which gateway is called, and with what token. There is no flag for
// the token itself: others on the machine can read a command line.
type access struct{ address, tokenFile string }

// accessFlags adds --admin and --token-file to a command.
func accessFlags(cmd *cobra.Command) *access {
	var a access
	cmd.Flags().StringVar(&a.address, "admin", "",
		"the gateway's admin `address` (default $"+addressVariable+", else "+defaultAddress+")")
	cmd.Flags().StringVar(&a.tokenFile, "token-file", "",
		"a `file` with the admin token (default: the token in $"+tokenVariable+")")
	return &a
}

// where returns the admin address and what set it, for messages.
func (a *access) where() (address, setting string) {
	if a.address != "" {
		return a.address, "--admin"
	}
	if address := os.Getenv(addressVariable); address != "" {
		return address, addressVariable
	}
	return defaultAddress, "--admin"
}

// token returns the admin token, "" if there is none.
func (a *access) token() (string, error) {
	token, setting := os.Getenv(tokenVariable), tokenVariable
	if a.tokenFile != "" {
		text, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token, setting = strings.TrimSpace(string(text)), "--token-file: "+a.tokenFile
		if token == "" {
			return "", fmt.Errorf("%s is empty", setting)
		}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: a token has printable ASCII characters without spaces", setting)
	}
	return token, nil
}

// operators makes a group of commands that call a gateway's admin API.
func operators(use, short string, members ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  short + ", over its admin API.\n\n" + accessHelp,
		Args:  cobra.NoArgs, // with RunE it has an unknown member end with status 1
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(members...)
	return cmd
}

// operator is a command that calls a gateway's admin API.
type operator struct {
	access *access
	json   bool
	client *adminclient.Client
	cmd    *cobra.Command
	answer []byte // what the API answered last, as it came
}

// operated makes a command that calls the API. What run returns is printed: by
// print, or, with --json, as the API answered it; nil is nothing.
func operated(cmd *cobra.Command, run func(o *operator, args []string) (any, error),
	print func(w io.Writer, answer any) error) *cobra.Command {
	o := &operator{cmd: cmd, access: accessFlags(cmd)}
	cmd.Flags().BoolVar(&o.json, "json", false, "print what the admin API answers")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := o.connect(); err != nil {
			return err
		}
		defer o.client.Close()
		answer, err := run(o, args)
		switch {
		case err != nil:
			return o.explain(err)
		case answer == nil:
			return nil
		case o.json:
			return writeJSON(cmd.OutOrStdout(), o.answer)
		default:
			return print(cmd.OutOrStdout(), answer)
		}
	}
	return cmd
}

// connect makes the client. Nothing is sent yet.
func (o *operator) connect() error {
	token, err := o.access.token()
	if err != nil {
		return err
	}
	address, setting := o.access.where()
	if token == "" {
		token = FindToken(o.cmd.Context(), address)
	}
	if o.client, err = adminclient.New(address, token); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	o.client.OnAnswer(func(answer []byte) { o.answer = answer })
	return nil
}

// explain adds to an error what can be done about it here.
func (o *operator) explain(err error) error {
	var refusal *adminclient.Error
	switch {
	case errors.Is(err, adminclient.ErrUnreachable):
		return fmt.Errorf("%w\nIs it running, with that as its admin.listen? --admin or %s name another address", err,
			addressVariable)
	case errors.As(err, &refusal) && refusal.Code == "unauthorized":
		return fmt.Errorf("%w Here it is taken from --token-file, or else from %s", err, tokenVariable)
	default:
		return err
	}
}

// writeJSON writes an answer with nothing changed but the space between its words.
func writeJSON(w io.Writer, answer []byte) error {
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(answer), "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := text.WriteTo(w)
	return err
}

// pollInterval is how often the gateway is asked how far it is.
const pollInterval = 200 * time.Millisecond
