package lora

import (
	"slices"
	"time"
)

// Kind says what a model is.
type Kind string

const (
	KindBase        Kind = "base"
	KindAdapter     Kind = "adapter"
	KindComposition Kind = "composition"
	KindAlias       Kind = "alias"
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

// Progress is how far a download is, in bytes; a Total of 0 is not known.
type Progress struct{ Done, Total int64 }

// Record is all that is known of an adapter or a composition. What is not kept over a
// restart is not in its JSON.
type Record struct {
	Spec
	Kind     Kind
	Origin   Origin
	State    State
	Reason   string     // why it was rejected or quarantined, else ""
	Progress Progress   `json:"-"`
	Active   *Version   `json:"-"` // that answers; nil if none does
	Staged   *Version   `json:"-"` // that takes over when the first worker has loaded it; nil if none
	Versions []*Version // those that are kept, oldest first
	Updated  time.Time
}

// Latest is the version that answers, or will.
func (r *Record) Latest() *Version {
	if r.Staged != nil {
		return r.Staged
	}
	return r.Active
}

// Has reports whether there is a version of those bytes.
func (r *Record) Has(digest string) bool {
	return slices.ContainsFunc(r.Versions, func(v *Version) bool { return v.Digest == digest })
}

// Part is a version's share in a model.
type Part struct {
	Version *Version
	Scale   float64
}
