package cli

import (
	"context"
	"time"

	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/state"
)

// FindToken returns the token of a gateway on this machine that made one, "" if it has
// none or this account may not read it. The gateway says where the file is, and
// state.ReadToken takes no other than such a file. It blocks for up to five seconds.
func FindToken(ctx context.Context, address string) string {
	client, err := adminclient.New(address, "")
	if err != nil || !client.Loopback() {
		return ""
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	file, err := client.TokenFile(ctx)
	if err != nil || file == "" {
		return "" // the call itself will say what is wrong
	}
	token, err := state.ReadToken(file)
	if err != nil {
		return ""
	}
	return token
}

// findTimeout bounds how long a gateway may take to say where its token is.
const findTimeout = 5 * time.Second
