package gateway

import (
	"crypto/rand"
	"log/slog"
	"sync/atomic"

	"github.com/loragate/loragate/internal/state"
)

// adminToken is what those who change something must show: the configuration's token,
// or, where there are tenants and it has none, one that was made. It is safe for
// concurrent use.
type adminToken struct {
	configured string
	made       atomic.Pointer[madeToken] // nil until one is needed
}

// madeToken is a token, and the file that the command line reads it from.
type madeToken struct{ token, file string }

// value returns the token that is asked for, "" for none.
func (a *adminToken) value() string {
	if made := a.made.Load(); a.configured == "" && made != nil {
		return made.token
	}
	return a.configured
}

// file returns the path of the file with the token that was made, "" if there is none.
func (a *adminToken) file() string {
	if made := a.made.Load(); a.configured == "" && made != nil {
		return made.file
	}
	return ""
}

// need sees to it that there is a token, from now until the end: tenants must not pass
// for operators. If it can be neither read nor stored, there is one that nobody knows,
// until the next call. It waits for the disk.
func (a *adminToken) need(db *state.DB, log *slog.Logger) {
	if made := a.made.Load(); a.configured != "" || made != nil && made.file != "" {
		return
	}
	token, file, err := db.Token()
	if err != nil {
		log.Error("the admin API is closed: there are tenants, admin.token is not set, and no token could be kept in "+
			"state.dir", "error", err)
		token, file = rand.Text(), ""
	} else {
		log.Info("there are tenants and admin.token is not set: the admin API asks for the token in this file, which the "+
			"command line reads by itself", "file", file)
	}
	a.made.Store(&madeToken{token, file})
}
