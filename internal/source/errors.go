package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"syscall"
	"time"
)

// The codes of an Error.
const (
	BadSource      = "bad_source"      // the reference makes no sense, or names nothing that can be an adapter
	NotFound       = "not_found"       // there is no such file, repository, revision, bucket or key
	Unauthorized   = "unauthorized"    // credentials are missing, or do not suffice
	HTTPStatus     = "http_status"     // the server answered with another status than expected
	Unreachable    = "unreachable"     // there was no connection to the server
	Cut            = "cut"             // a connection broke, or brought other bytes than announced
	Timeout        = "timeout"         // no byte came for too long, or the caller's deadline passed
	TooLarge       = "too_large"       // more bytes than Options.MaxBytes
	DiskFull       = "disk_full"       // no space left for the cache
	Disk           = "disk"            // the local disk failed otherwise
	DigestMismatch = "digest_mismatch" // the bytes are not those that were asked for
	BadContent     = "bad_content"     // the bytes are neither a GGUF file nor an archive
	BadArchive     = "bad_archive"     // an archive is broken, dangerous, or holds not exactly one adapter
	Canceled       = "canceled"        // the caller gave up
)

// Error says why an adapter could not be had. Message is for users: it names
// the source without credentials or query, says what happened and what to do.
type Error struct {
	Code      string
	Message   string
	Temporary bool  // the same call may succeed later
	Cause     error // for the log; may be nil; holds no credentials either

	retryAfter time.Duration // how long the server asked to be left alone
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Cause }

// Is makes whatever is not there an fs.ErrNotExist, wherever it is not.
func (e *Error) Is(target error) bool { return target == fs.ErrNotExist && e.Code == NotFound }

func fail(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// because adds the cause, without the URL that net/http puts into its errors:
// its query may be a credential.
func (e *Error) because(err error) *Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e.Cause = err
	return e
}

func (e *Error) temporary() *Error {
	e.Temporary = true
	return e
}

// errStalled is the cause of a context that was canceled because nothing came.
var errStalled = errors.New("no byte came for too long")

// canceled is the error of a caller's context that has ended.
func canceled(ctx context.Context, what string) *Error {
	err := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(Timeout, "%s: the time allowed for it is over", what).temporary().because(err)
	}
	return fail(Canceled, "%s: given up before it was complete", what).because(err)
}

// transferError explains what broke a transfer of what. ctx is the attempt's.
func transferError(ctx context.Context, what string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return fail(Timeout, "%s: the server sent nothing for too long; it may be overloaded, try again later", what).temporary().because(errStalled)
	}
	if ctx.Err() != nil {
		return canceled(ctx, what)
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return fail(Unreachable, "%s: the server's certificate is not trusted (%v); check the address and this machine's CA certificates", what, cert.Err).because(err)
	}
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" {
		return fail(Unreachable, "%s: no connection to the server; check the address and the network", what).temporary().because(err)
	}
	return fail(Cut, "%s: the connection broke before the transfer was complete", what).temporary().because(err)
}

// diskError explains a failed operation on the local disk.
func diskError(what string, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fail(DiskFull, "%s: no space left on the cache's disk; free some, or make the cache smaller", what).because(err)
	}
	return fail(Disk, "%s: the cache's disk failed: %v", what, err).because(err)
}
