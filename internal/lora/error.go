package lora

import (
	"errors"
	"fmt"
)

// Code tells errors apart, for programs.
type Code string

const (
	NotFound Code = "not_found" // there is no such model
	Conflict Code = "conflict"  // the name is taken, or belongs to another origin
	Invalid  Code = "invalid"   // what was asked for makes no sense
	Refused  Code = "refused"   // the source was fetched and cannot be served
	TooLarge Code = "too_large" // the source is larger than what may be fetched or loaded
	Failed   Code = "failed"    // a source, the disk or the database failed
	Full     Code = "disk_full" // the disk has no room for it
	// InQuarantine is the code for a model whose only version makes llama-server end.
	InQuarantine Code = "quarantined"
)

// Error tells an operator or a client why an adapter or a composition was not added,
// changed or found. What answer it becomes is up to whoever speaks a protocol.
type Error struct {
	Code    Code
	Message string // for whoever asked
	cause   error  // for the log
}

// Errorf returns an error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns an error's code, "" if it has none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Because returns the error with a cause.
func (e *Error) Because(cause error) *Error {
	return &Error{Code: e.Code, Message: e.Message, cause: cause}
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the same may go well later, through nothing that whoever asked
// would do.
func (e *Error) Temporary() bool { return e.Code == Failed || e.Code == Full }

// Shorten keeps a client's words from filling a message.
func Shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
