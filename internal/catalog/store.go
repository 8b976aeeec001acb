package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/store"
)

// database keeps entries over restarts.
type database struct {
	*state.DB
	log *slog.Logger
}

// stored is an entry as it is kept. A version that waits for a worker is kept as the one
// that answers: after a restart nothing is loaded yet.
func stored(e *records.Entry) state.Adapter {
	a := state.Adapter{Record: e.Record, Pinned: e.Pinned, Seen: e.Seen, Print: e.Print}
	if v := e.Latest(); v != nil {
		a.Answering = v.Number
	}
	return a
}

// restored is an entry as it was kept, with the versions whose files are there.
func restored(a state.Adapter, blobs *store.Blobs) *records.Entry {
	e := &records.Entry{Record: a.Record, Pinned: a.Pinned, Seen: a.Seen, Print: a.Print}
	e.Versions = nil
	for _, v := range a.Versions {
		if !blobs.Has(v.Digest, v.Bytes) {
			continue
		}
		v.Path = blobs.Path(v.Digest)
		e.Versions = append(e.Versions, v)
		if v.Number == a.Answering {
			e.Active = v
		}
	}
	if e.Active == nil && a.Answering != 0 {
		e.Reason = fmt.Sprintf("the file of version %d is not in the state directory any more", a.Answering)
	}
	e.Unfinished = e.State == lora.Downloading && e.Source != ""
	e.Settle()
	return e
}

// put keeps an entry.
func (d database) put(e *records.Entry) error {
	return d.commit(state.Update{Put: []state.Adapter{stored(e)}})
}

// commit keeps a change, in whole or not at all.
func (d database) commit(u state.Update) error {
	err := d.Apply(u)
	switch {
	case err == nil:
		return nil
	case state.IsFull(err):
		return asError(err)
	}
	return lora.Errorf(lora.Failed, "the change could not be stored").Because(err)
}

// complain logs that something could not be stored. That the disk is full is said once,
// by whoever watches the state.
func (d database) complain(what string, err error, about ...any) {
	if !state.IsFull(err) {
		d.log.Error(what, append(about, "error", errors.Unwrap(err))...)
	}
}

// unlessFull is an error of the store while the catalog opens, but nil for a full disk,
// which keeps nothing that is stored from being served: what could not be stored follows
// from what is configured, and is done again at the next start.
func unlessFull(err error) error {
	if state.IsFull(err) {
		return nil
	}
	return err
}

// full has the text of a full disk, which is the same for every file and every try.
var full state.FullError

// asError gives every error a code.
func asError(err error) *lora.Error {
	var e *lora.Error
	switch {
	case errors.As(err, &e):
		return e
	case state.IsFull(err):
		return lora.Errorf(lora.Full, "%s", full.Error()).Because(err)
	case errors.Is(err, context.Canceled):
		return lora.Errorf(lora.Failed, "it was given up before its end").Because(err)
	}
	return lora.Errorf(lora.Failed, "%s", err).Because(err)
}
