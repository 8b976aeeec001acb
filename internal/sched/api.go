package sched

import (
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// The words of those who own a Scheduler; see package task.
type (
	Identity     = task.Identity
	Ticket       = task.Ticket
	Time         = task.Time
	Request      = task.Request
	Options      = task.Options
	Action       = task.Action
	Kind         = task.Kind
	Usage        = task.Usage
	Counts       = task.Counts
	PrefixHashes = task.PrefixHashes
	PrefixHash   = task.PrefixHash
)

// The words of those who care for what is loaded.
type (
	// File names an adapter's file; it is opaque here.
	File = stock.File
	// Stock is one file that workers may have loaded.
	Stock = stock.Entry
	// FileView is what is known of a file at one moment.
	FileView = residency.FileView
)

// See package task.
const (
	Base   = task.Base
	Never  = task.Never
	Auto   = task.Auto
	NoSlot = task.NoSlot

	Serve  = task.Serve
	Swap   = task.Swap
	Reload = task.Reload
	Start  = task.Start
	Retire = task.Retire
)
