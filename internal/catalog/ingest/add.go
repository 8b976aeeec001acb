package ingest

import (
	"context"
	"io"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
)

// Put adds an adapter (from Spec.Source) or a composition (of Spec.Shares), or
// replaces the one of that name, which must be the API's own. It returns when
// the change is stored. Without wait that is before the source was fetched: the
// record is then Downloading, and what it replaces goes on serving; a
// replacement that is under way when the gateway is killed is forgotten.
//
// On a full disk it is refused with Full, and nothing is changed.
//
// With wait it returns when the new version answers; the error is then of code
// Refused or TooLarge if the source cannot be served, Failed if it could not be
// got, Full if there was no room for it, Conflict if another change took its
// place. If ctx ends meanwhile, the version is got all the same.
//
// A source that cannot be served leaves what it would have replaced as it was;
// if the name is new, a rejected record is left.
func (in *Ingest) Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error) {
	if err := spec.Validate(); err != nil {
		return lora.Record{}, err
	}
	if len(spec.Shares) > 0 {
		return in.catalog.Compose(spec)
	}
	if spec.Source == "" {
		return lora.Record{}, lora.Errorf(lora.Invalid, "%s: an adapter needs a source", spec.Name)
	}
	r, p, err := in.catalog.Begin(spec)
	if err != nil {
		return r, err
	}
	j := in.jobs.fetch(p)
	if !wait {
		return r, nil
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		r, _ := in.catalog.Get(spec.Name)
		return r, context.Cause(ctx)
	}
	if j.err != nil {
		r, _ := in.catalog.Get(spec.Name)
		return r, j.err
	}
	return in.catalog.Answers(ctx, spec.Name, j.digest)
}

// Upload is Put with the bytes of a GGUF or an archive read from r; filename
// tells which. Spec.Source must be empty. It returns when the version is stored
// and published: the record is Ready, or Loading if an older version serves
// until a worker has loaded it. r is not read after it returns. When ctx ends
// the upload is given up.
func (in *Ingest) Upload(ctx context.Context, spec lora.Spec, r io.Reader, filename string) (lora.Record, error) {
	if err := spec.Validate(); err != nil {
		return lora.Record{}, err
	}
	if spec.Source != "" || len(spec.Shares) > 0 {
		return lora.Record{}, lora.Errorf(lora.Invalid, "%s: an upload has no source and no parts", spec.Name)
	}
	_, p, err := in.catalog.Begin(spec)
	if err != nil {
		return lora.Record{}, err
	}
	j := in.jobs.receive(ctx, p, r, filename)
	<-j.done
	record, ok := in.catalog.Get(spec.Name)
	if j.err == nil && !ok {
		return lora.Record{}, catalog.Removed(spec.Name)
	}
	return record, j.err
}
