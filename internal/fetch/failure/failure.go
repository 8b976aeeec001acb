// Package failure has the one error of fetching adapters: why one could not be had, for
// operators, for the log, and for whoever may try again.
package failure

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"time"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// Code tells errors apart.
type Code string

const (
	BadSource      Code = "bad_source"      // the reference makes no sense, or names nothing that can be an adapter
	NotFound       Code = "not_found"       // there is no such file, repository, revision, bucket or key
	Unauthorized   Code = "unauthorized"    // credentials are missing, or do not suffice
	HTTPStatus     Code = "http_status"     // the server answered with another status than expected
	Unreachable    Code = "unreachable"     // there was no connection to the server
	Cut            Code = "cut"             // a connection broke, or brought other bytes than announced
	Timeout        Code = "timeout"         // no byte came for too long, or the caller's deadline passed
	TooLarge       Code = "too_large"       // more bytes than an adapter may have
	DiskFull       Code = "disk_full"       // no space left in the store
	Disk           Code = "disk"            // the local disk failed otherwise
	DigestMismatch Code = "digest_mismatch" // the bytes are not those that were asked for
	BadContent     Code = "bad_content"     // the bytes are neither a GGUF file nor an archive
	BadArchive     Code = "bad_archive"     // an archive is broken, dangerous, or holds not exactly one adapter
	Canceled       Code = "canceled"        // the caller gave up
)

// Error says why an adapter could not be had. Message is for users: it names
// the source without credentials or query, says what happened and what to do.
// It wraps a *lora.Error, which is what an operator is told.
type Error struct {
	Code       Code
	Message    string
	Temporary  bool          // the same call may succeed later
	Cause      error         // for the log; may be nil; holds no credentials either
	RetryAfter time.Duration // how long the server asked to be left alone; 0 is not said
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return lora.Errorf(e.broad(), "%s", e.Message).Because(e.Cause) }

// broad tells whose fault it is: the source's, as a rule.
func (e *Error) broad() lora.Code {
	switch {
	case e.Code == TooLarge:
		return lora.TooLarge
	case e.Code == BadSource:
		return lora.Invalid
	case e.Code == DiskFull:
		return lora.Full
	case e.Temporary, e.Code == Disk, e.Code == NotFound, e.Code == Unauthorized:
		return lora.Failed
	}
	return lora.Refused
}

// Is makes whatever is not there an fs.ErrNotExist, wherever it is not.
func (e *Error) Is(target error) bool { return target == fs.ErrNotExist && e.Code == NotFound }

// New returns an error that is not worth trying again.
func (c Code) New(format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Because adds the cause, without the URL that net/http puts into its errors:
// its query may be a credential.
func (e *Error) Because(err error) *Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e.Cause = err
	return e
}

// ForNow says that the same call may succeed later.
func (e *Error) ForNow() *Error {
	e.Temporary = true
	return e
}

// ErrStalled is the cause of a context that was canceled because nothing came.
var ErrStalled = errors.New("no byte came for too long")

// GivenUp is the error of a caller's context that has ended.
func GivenUp(ctx context.Context, what string) *Error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout.New("%s: the time allowed for it is over", what).ForNow().Because(err)
	}
	return Canceled.New("%s: given up before it was complete", what).Because(err)
}

// Transfer explains what broke a transfer of what. ctx is the attempt's.
func Transfer(ctx context.Context, what string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(context.Cause(ctx), ErrStalled) {
		return Timeout.New("%s: the server sent nothing for too long; it may be overloaded, try again later",
			what).ForNow().Because(ErrStalled)
	}
	if ctx.Err() != nil {
		return GivenUp(ctx, what)
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return Unreachable.New(
			"%s: the server's certificate is not trusted (%v); check the address and this machine's CA certificates",
			what, cert.Err).Because(err)
	}
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" {
		return Unreachable.New("%s: no connection to the server; check the address and the network",
			what).ForNow().Because(err)
	}
	return Cut.New("%s: the connection broke before the transfer was complete", what).ForNow().Because(err)
}

// OnDisk explains a failed operation on the local disk.
func OnDisk(what string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if store.IsFull(err) {
		return DiskFull.New("%s: no space left where state.dir is; free some, or remove adapters", what).Because(err)
	}
	return Disk.New("%s: the disk where state.dir is failed: %v", what, err).Because(err)
}

// Mismatch says that bytes have another digest than the one that was asked for.
func Mismatch(what, got, want string) *Error {
	return DigestMismatch.New(
		"%s: its SHA-256 is %s, but %s was asked for; the file was changed, or the digest is another file's",
		what, got, want)
}
