package catalog

import (
	"errors"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Origin says who put a model into the catalog, and so who may change it.
type Origin string

const (
	FromDirectory Origin = "directory" // a file in the watched directory
	FromConfig    Origin = "config"    // an entry of the configuration
	FromAPI       Origin = "api"       // the admin API
)

// State is what became of a model's source.
type State string

const (
	Ready       State = "ready"       // it can be asked for
	Loading     State = "loading"     // a version waits to be loaded before it is served
	Downloading State = "downloading" // its source is being fetched, converted or checked
	Rejected    State = "rejected"    // the source cannot be served; Reason says why
	Quarantined State = "quarantined" // it made llama-server end while it was loaded
)

// Part is a version's share in a model.
type Part struct {
	Version *lora.Version
	Scale   float64
}

// Spec is a model as a user describes it: an adapter with a Source, or a
// composition with Shares.
type Spec struct {
	Name   string
	Source string // a path, https://, hf:// or s3://; "" for an upload
	Digest string // the SHA-256 that the source must have, in hex; "" takes any
	Shares []lora.Share
	// Scale is how strongly an adapter is applied; 0 stands for 1. A composition has
	// none.
	Scale float64
	lora.Settings
	Pin     bool // every worker has it loaded at all times
	Preload bool // one worker has it loaded at all times
}

// Progress is how far a download is, in bytes; a Total of 0 is not known.
type Progress struct{ Done, Total int64 }

// Record is all that the catalog knows of one model of its own: an adapter or a
// composition. It is a copy.
type Record struct {
	Spec
	Kind     Kind
	Origin   Origin
	State    State
	Reason   string // why it was rejected or quarantined, else ""
	Progress Progress
	Active   *lora.Version   // that answers; nil if none does
	Staged   *lora.Version   // that takes over when the first worker has loaded it; nil if none
	Versions []*lora.Version // those that are kept, oldest first
	Updated  time.Time
}

// Stock is one file that workers may be asked to load.
type Stock struct {
	Path    string
	Bytes   int64
	Pin     bool // on every worker
	Preload bool // on one worker at least, soon and always
}

// Code tells refusals of the catalog apart.
type Code string

const (
	NotFound Code = "not_found" // there is no such model
	Conflict Code = "conflict"  // the name is taken, or belongs to another origin
	Invalid  Code = "invalid"   // what was asked for makes no sense
	Refused  Code = "refused"   // the source was fetched and cannot be served
	TooLarge Code = "too_large" // the source is larger than what may be fetched or loaded
	Failed   Code = "failed"    // a source, the disk or the database failed
	Full     Code = "disk_full" // the disk has no room for it
)

// Error is a refusal. Message is for whoever asked; Cause, if any, for the log.
type Error struct {
	Code    Code
	Message string
	Cause   error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Cause }

// temporary reports whether the same may go well later, through nothing that whoever asked
// would do.
func (e *Error) temporary() bool { return e.Code == Failed || e.Code == Full }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrUnknown is what an *UnknownError is.
var ErrUnknown = errors.New("no such model")

// UnknownError is returned for a name that no model has.
type UnknownError struct {
	Name  string
	State State // of the record of that name, "" if there is none
}

func (e *UnknownError) Error() string { return fmt.Sprintf("there is no model %q", shorten(e.Name)) }

// Is makes it an ErrUnknown.
func (e *UnknownError) Is(target error) bool { return target == ErrUnknown }

// QuarantinedError is returned for a model whose only version makes llama-server
// end.
type QuarantinedError struct {
	Name   string
	Reason string // for operators
}

func (e *QuarantinedError) Error() string { return fmt.Sprintf("the model %q is quarantined", e.Name) }
